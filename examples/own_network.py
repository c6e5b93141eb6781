"""A network that nobody has prepared: what of it runs on the NPU, whether the answer is right, and how fast.

    pip install '.[convert,gateware]'
    python examples/own_network.py

The ONNX file has odd channel counts, branches that join, a depthwise and a grouped convolution, a gate that
multiplies two activations, and activations of four kinds. Everything is computed twice, by ONNX Runtime and by the
gateware in simulation, and compared byte by byte. The same in the shell::

    fieldwave convert own.onnx --mean 128 --scale 0.0078125 --calibration photos --npu tiny --output own.zip
    fieldwave compile own.zip --npu tiny
    fieldwave verify own.zip photos/0.png --device rtl:tiny
    fieldwave bench own.zip --device rtl:tiny
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fieldwave
from fieldwave.compiler import compile_network, summarize
from fieldwave.devices import lease_device
from fieldwave.frontends import Pixels
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.package import read_package
from fieldwave.verify import verify

SIZE = 63


class Builder:
    """Writes an ONNX file operator by operator; every method returns the name of its result."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, f"constant_{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        """A convolution with bias, at the scale of He et al., 2015."""
        shape = (outputs, inputs // group, kernel, kernel)
        weights = self.rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        bias = self.rng.normal(size=outputs) * 0.1
        return self.op(
            "Conv",
            x,
            self.constant(weights.astype(np.float32)),
            self.constant(bias.astype(np.float32)),
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
            group=group,
        )


def network() -> onnx.ModelProto:
    """A float network for RGB images of 63 x 63 pixels and 11 classes."""
    b = Builder()
    x = b.op("Relu", b.conv("image", 3, 21, kernel=5, stride=2))  # [1, 21, 32, 32]
    depthwise = b.op("HardSwish", b.conv(x, 21, 21, kernel=3, group=21))
    left = b.conv(depthwise, 21, 35, kernel=1)
    right = b.conv(b.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 21, 17, kernel=1)
    x = b.op("Relu", b.op("Concat", left, right, axis=1))  # 52 channels
    x = b.op("LeakyRelu", b.conv(x, 52, 60, kernel=3, stride=2, group=4), alpha=0.1)  # [1, 60, 16, 16]
    gate = b.op("Relu", b.conv(b.op("GlobalAveragePool", x), 60, 15, kernel=1))
    gate = b.op("Sigmoid", b.conv(gate, 15, 60, kernel=1))
    x = b.op("Mul", x, gate)
    x = b.op("Relu", b.op("Add", b.conv(x, 60, 60, kernel=3), x))
    small = b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Concat", small, b.op("Relu", b.conv(small, 60, 13, kernel=3)), axis=1)  # [1, 73, 8, 8]
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv(x, 73, 91, kernel=3))))
    last = b.constant((b.rng.normal(size=(11, 91)) / 9).astype(np.float32))
    b.op("Softmax", b.op("Gemm", x, last, transB=1), axis=1)
    b.nodes[-1].output[0] = "scores"
    graph = helper.make_graph(
        b.nodes,
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 11])],
        b.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(npu: str = "tiny") -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, photos, path = (Path(folder) / name for name in ("own.onnx", "photos", "own.zip"))
        photos.mkdir()
        rng = np.random.default_rng(1)
        for index in range(8):
            soft = Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8))
            soft.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(photos / f"{index}.png")
        onnx.save(network(), model)
        made = fieldwave.convert(
            model, preprocessing=Pixels(mean=(128,), scale=1 / 128), calibration=photos, npu=[npu], output=path
        )
        print(*(f"note: {line}" for line in made.notes), sep="\n")

        compiled = compile_network(from_onnx(made.package.model), configuration(npu))
        summary = summarize(compiled)
        print(f"sections: {', '.join(summary.sections)}")
        print(
            f"NPU: {summary.npu_nodes} of {summary.nodes} nodes, {summary.npu_share:.2%} of {summary.macs:,} "
            "multiply-accumulates"
        )
        for section in compiled.sections:
            convolutions = [node for node in section.nodes if node.op == "QLinearConv"]
            groups = sorted(int(node.attributes.get("group", 1)) for node in convolutions)
            if groups:
                print(f"on the {section.side}: {len(groups)} convolutions, groups {groups}")

        package = read_package(path)
        inputs = [package.image_input((photos / "0.png").read_bytes())]
        with lease_device("cpu", "example") as cpu, lease_device(f"rtl:{npu}", "example") as rtl:
            (comparison,) = verify(package, rtl, inputs)
            print(f"gateware: {comparison.differing} of {comparison.size:,} bytes differ from the golden model")
            cpu.load(package)
            ours, theirs = rtl.run(inputs[0])["scores"], cpu.run(inputs[0])["scores"]
            print(f"scores equal ONNX Runtime's: {np.array_equal(ours, theirs)}")
            before = rtl.counters().cycles or 0
            rtl.run(inputs[0])
            cycles = (rtl.counters().cycles or 0) - before
        busy = summary.npu_macs / (cycles * summary.multipliers)
        print(f"{cycles:,} cycles, {busy:.1%} of the array; at least {summary.array_cycles:,}")


if __name__ == "__main__":
    main(*sys.argv[1:])
