"""A small quantized network, and a package of it, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import CONTRIB_DOMAIN, Graph, Node, Value, to_onnx
from fieldwave.package import Package, TensorSpec, write_package

INPUT, OUTPUT = "images:0", "probabilities:0"
SIZE, CHANNELS, CLASSES = 8, 12, 10


def network(seed: int = 0) -> Graph:
    """Two convolutions, a shortcut, an average, a fully connected layer, Softmax."""
    rng = np.random.default_rng(seed)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.asarray(0.5, np.float32),
        "fine": np.asarray(0.25, np.float32),
        "middle": np.asarray(128, np.uint8),
    }

    def weights(name: str, shape: tuple[int, ...], channel: int) -> tuple[str, str, str]:
        taps = int(np.prod(shape)) // shape[channel]
        constants[f"{name}_w"] = rng.integers(-127, 128, shape).astype(np.int8)
        constants[f"{name}_ws"] = (rng.uniform(0.5, 1.5, shape[channel]) / (80 * np.sqrt(taps))).astype(np.float32)
        constants[f"{name}_wz"] = np.zeros(shape[channel], np.int8)
        constants[f"{name}_b"] = rng.integers(-3000, 3000, shape[channel]).astype(np.int32)
        return f"{name}_w", f"{name}_ws", f"{name}_wz"

    def conv(x: str, name: str, shape: tuple[int, ...]) -> Node:
        inputs = (x, "scale", "middle", *weights(name, shape, 0), "fine", "middle", f"{name}_b")
        attributes = {"kernel_shape": list(shape[2:]), "pads": [shape[2] // 2] * 4}
        return Node("QLinearConv", name, inputs, (name,), attributes)

    fine, scale, contrib = ("fine", "middle"), ("scale", "middle"), CONTRIB_DOMAIN
    nodes = (
        Node("QuantizeLinear", "quantize", (INPUT, *scale), ("pixels",)),
        Node("Transpose", "transpose", ("pixels",), ("maps",), {"perm": [0, 3, 1, 2]}),
        conv("maps", "conv1", (CHANNELS, 3, 3, 3)),
        conv("conv1", "conv2", (CHANNELS, CHANNELS, 1, 1)),
        Node("QLinearAdd", "add", ("conv1", *fine, "conv2", *fine, *scale), ("add",), {}, contrib),
        Node("QLinearGlobalAveragePool", "mean", ("add", *scale, *fine), ("mean",), {}, contrib),
        Node("Flatten", "flatten", ("mean",), ("features",), {"axis": 1}),
        Node(
            "QGemm",
            "classes",
            ("features", *fine, *weights("classes", (CHANNELS, CLASSES), 1), "classes_b", *fine),
            ("classes",),
            {},
            contrib,
        ),
        Node("DequantizeLinear", "logits", ("classes", *fine), ("logits",)),
        Node("Softmax", "softmax", ("logits",), (OUTPUT,), {"axis": -1}),
    )
    return Graph(
        "small",
        (Value(INPUT, "float32", (None, SIZE, SIZE, 3)),),
        (Value(OUTPUT, "float32", (None, CLASSES)),),
        nodes,
        constants,
    )


def inputs() -> tuple[TensorSpec, ...]:
    return (TensorSpec(name=INPUT, aliases=("pictures",), shape=(None, SIZE, SIZE, 3)),)


def outputs() -> tuple[TensorSpec, ...]:
    return (TensorSpec(name=OUTPUT, aliases=("output_alias",), shape=(None, CLASSES)),)


def package(folder: Path, seed: int = 0) -> Package:
    model = to_onnx(network(seed)).SerializeToString()
    return write_package(folder / "small.zip", network="small", model=model, inputs=inputs(), outputs=outputs())


def images(count: int = 1, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 30, (count, SIZE, SIZE, 3)).astype(np.float32)
