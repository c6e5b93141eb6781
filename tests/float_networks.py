"""Small float networks for tests of the quantizer, written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.graph import Graph, Node, Value, to_onnx


class Floats:
    """Adds nodes to a network with one input ``x`` [N, channels, size, size]; methods return tensor names."""

    def __init__(self, seed: int, channels: int = 3, size: int = 10) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = (channels, size, size)
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(op, name, inputs, (f"{name}:0",), attributes))
        return f"{name}:0"

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def conv(
        self, x: str, channels: int, maps: int, kernel: int = 3, *, bias: bool = True, **attributes: Any
    ) -> str:
        share = channels // int(attributes.get("group", 1))
        weights = self.rng.normal(size=(maps, share, kernel, kernel)) * np.sqrt(2 / (share * kernel * kernel))
        inputs = [x, self.constant(weights)]
        if bias:
            inputs.append(self.constant(self.rng.normal(size=maps)))
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [kernel // 2] * 4)
        return self.op("Conv", *inputs, **attributes)

    def batch_norm(self, x: str, channels: int, *, negative: float = 0.0) -> str:
        """Gains of either sign, and some channels that are dead."""
        gamma = self.rng.uniform(0.2, 2, channels) * np.where(self.rng.uniform(size=channels) < negative, -1, 1)
        gamma[:: max(channels // 2, 2)] *= self.rng.choice(
            [0, 1e-38, 1e-6, 1], len(gamma[:: max(channels // 2, 2)])
        )
        parameters = (
            gamma, self.rng.normal(size=channels), self.rng.normal(size=channels),
            self.rng.uniform(0.5, 2, channels),
        )  # fmt: skip
        return self.op("BatchNormalization", x, *map(self.constant, parameters), epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def graph(self, *outputs: str) -> Graph:
        values = tuple(Value(name, "float32", ()) for name in outputs)
        return Graph(
            "floats", (Value("x", "float32", (None, *self.shape)),), values, tuple(self.nodes), self.constants
        )

    def images(self, count: int = 6, scale: float = 2.0) -> list[NDArray[np.float32]]:
        return [self.rng.normal(0, scale, (1, *self.shape)).astype(np.float32) for _ in range(count)]


def run(graph: Graph, image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Every tensor, by ONNX Runtime."""
    names = [name for name in graph.activations() if name != "x"]
    model = to_onnx(graph)
    del model.graph.output[:]
    model.graph.output.extend(type(model.graph.input[0])(name=name) for name in names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"x": image}), strict=True))


def assert_exact(graph: Graph, images: list[NDArray[np.float32]]) -> None:
    """Every tensor of a quantized network is the same in ONNX Runtime and in the golden model, to the bit."""
    for image in images:
        theirs, ours = run(graph, image), golden.run(graph, {"x": image})
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value, err_msg=name)
