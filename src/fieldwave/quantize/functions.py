"""Functions of one byte: any chain of elementwise operators over one tensor becomes a table of 256 entries.

Sigmoid and Tanh, LeakyRelu and HardSwish, but also what frameworks write in pieces, ``x * sigmoid(x)`` or GELU
by its error function. A table is computed once, in float64, and looked up on every device: no device computes
the function itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node

__all__ = ["Function", "find_functions"]

Array = NDArray[np.float64]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function of one real number.

    Attributes:
        argument: the tensor that it is computed of.
        nodes: what computes it, in order; the last node's output is the function's value.
        constants: single numbers, by name.
    """

    argument: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, float]

    def __call__(self, x: Array) -> Array:
        """Its values, in float64."""
        values: dict[str, Array] = {self.argument: x}
        for node in self.nodes:
            inputs = [
                None if not name else values.get(name, np.float64(self.constants.get(name, math.nan)))
                for name in node.inputs
            ]
            with np.errstate(all="ignore"):
                values[node.output] = np.asarray(_ELEMENTWISE[node.op](inputs, node.attributes), np.float64)
        return values[self.nodes[-1].output]


def find_functions(graph: Graph, bases: Collection[str]) -> dict[str, Function]:
    """Every tensor that is an elementwise function of one other tensor alone, and which.

    Args:
        bases: tensors that functions begin at and never look behind; a tensor that is no function itself is one
            as well.
    """
    found: dict[str, Function] = {}
    numbers = {name: float(value.reshape(())) for name, value in graph.constants.items() if _is_number(value)}
    for node in graph.nodes:
        if node.op not in _ELEMENTWISE or len(node.outputs) != 1 or node.domain:
            continue
        names = [name for name in node.inputs if name and name not in numbers]
        if any(name in graph.constants for name in names):
            continue
        behind = {name: found[name] for name in names if name in found and name not in bases}
        arguments = {behind[name].argument if name in behind else name for name in names}
        if len(arguments) != 1:
            continue
        parts = {part.name: part for function in behind.values() for part in function.nodes}
        nodes = (*(one for one in graph.nodes if one.name in parts), node)
        used = {name: numbers[name] for one in nodes for name in one.inputs if name in numbers}
        found[node.output] = Function(arguments.pop(), nodes, used)
    return found


def _is_number(value: NDArray[Any]) -> bool:
    return value.size == 1 and value.ndim <= 4 and value.dtype.kind == "f"


def _clip(v: list[Any], a: Attributes) -> Any:
    low, high = (v[index] if len(v) > index and v[index] is not None else None for index in (1, 2))
    low, high = a.get("min", low), a.get("max", high)
    value = v[0] if low is None else np.maximum(v[0], low)
    return value if high is None else np.minimum(value, high)


def _elu(x: Array, alpha: float, gamma: float = 1.0) -> Array:
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(x: Array, kind: str) -> Array:
    cubic = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    inner = np.tanh(cubic) if kind == "tanh" else _erf(x / math.sqrt(2))
    return np.asarray(0.5 * x * (1 + inner))


_ELEMENTWISE: dict[str, Callable[[list[Any], Attributes], Any]] = {
    "Abs": lambda v, a: np.abs(v[0]),
    "Add": lambda v, a: v[0] + v[1],
    "Celu": lambda v, a: (
        np.maximum(v[0], 0) + np.minimum(0, a.get("alpha", 1) * np.expm1(v[0] / a.get("alpha", 1)))
    ),
    "Clip": _clip,
    "Div": lambda v, a: v[0] / v[1],
    "Elu": lambda v, a: _elu(v[0], a.get("alpha", 1.0)),
    "Erf": lambda v, a: _erf(v[0]),
    "Exp": lambda v, a: np.exp(v[0]),
    "Gelu": lambda v, a: _gelu(v[0], a.get("approximate", "none")),
    "HardSigmoid": lambda v, a: np.clip(a.get("alpha", 0.2) * v[0] + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda v, a: v[0] * np.clip(v[0] / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda v, a: np.where(v[0] < 0, a.get("alpha", 0.01) * v[0], v[0]),
    "Max": lambda v, a: np.maximum.reduce(np.broadcast_arrays(*v)),
    "Min": lambda v, a: np.minimum.reduce(np.broadcast_arrays(*v)),
    "Mish": lambda v, a: v[0] * np.tanh(_softplus(v[0])),
    "Mul": lambda v, a: v[0] * v[1],
    "Neg": lambda v, a: -v[0],
    "PRelu": lambda v, a: np.where(v[0] < 0, v[1] * v[0], v[0]),
    "Pow": lambda v, a: np.power(v[0], v[1]),
    "Reciprocal": lambda v, a: 1 / v[0],
    "Relu": lambda v, a: np.maximum(v[0], 0),
    "Selu": lambda v, a: _elu(v[0], a.get("alpha", 1.6732631921768188), a.get("gamma", 1.0507010221481323)),
    "Sigmoid": lambda v, a: np.exp(-_softplus(-v[0])),
    "Softplus": lambda v, a: _softplus(v[0]),
    "Softsign": lambda v, a: v[0] / (1 + np.abs(v[0])),
    "Sqrt": lambda v, a: np.sqrt(v[0]),
    "Sub": lambda v, a: v[0] - v[1],
    "Tanh": lambda v, a: np.tanh(v[0]),
    "ThresholdedRelu": lambda v, a: np.where(v[0] > a.get("alpha", 1.0), v[0], 0),
}
"""Operators of one number, as ONNX defines them."""
