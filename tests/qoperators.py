"""Small quantized models for tests: one QOperator node each, with random constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node, Value, to_onnx


@dataclass(frozen=True)
class Case:
    """A graph with one quantized operator and values for its inputs."""

    graph: Graph
    inputs: dict[str, NDArray[Any]]

    def by_onnxruntime(self) -> NDArray[Any]:
        session = ort.InferenceSession(to_onnx(self.graph).SerializeToString(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, self.inputs)[0])


def case(op: str, inputs: dict[str, Any], order: list[str], domain: str = "", **attributes: Any) -> Case:
    """``inputs`` by name; those of uint8 rank 2 and more are fed, the others are constants."""
    fed = {name: value for name, value in inputs.items() if value.dtype == np.uint8 and value.ndim > 1}
    graph = Graph(
        name=op,
        inputs=tuple(Value(name, "uint8", value.shape) for name, value in fed.items()),
        outputs=(Value("y", "uint8", tuple(None for _ in next(iter(fed.values())).shape)),),
        nodes=(Node(op, op, tuple(order), ("y",), attributes, domain),),
        constants={name: value for name, value in inputs.items() if name not in fed},
    )
    return Case(graph, fed)


def scale(exponent: int) -> NDArray[np.float32]:
    return np.asarray(2.0**exponent, np.float32)


def zero(value: int) -> NDArray[np.uint8]:
    return np.asarray(value, np.uint8)


def activations(rng: np.random.Generator, *shape: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, shape).astype(np.uint8)
