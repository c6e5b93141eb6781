"""Write the quantized network: QOperator nodes where the plan says so, float nodes elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.graph import CONTRIB_DOMAIN, Graph, Node
from fieldwave.quantize.calibrate import Scale
from fieldwave.quantize.canonical import without_idle
from fieldwave.quantize.plan import CLAMPS, MOVES, Plan, clamp_limits, is_scale_shift
from fieldwave.quantize.scale_shift import is_binary, split

__all__ = ["emit", "integer_weights", "quantized_name"]

_FINEST = 2.0**-40
"""A product of one activation step and one weight step, in steps of the output: far below anything that rounds."""
_DEAD = 2.0**-10
"""Steps of the output for a step of the input below which a channel is a constant."""
_INT32, _FLOAT = 6, 1  # onnx.TensorProto.INT32, FLOAT


def quantized_name(tensor: str) -> str:
    """The name of the uint8 form of a float tensor."""
    return f"{tensor}_quantized"


def emit(graph: Graph, plan: Plan, scales: Mapping[str, Scale]) -> Graph:
    """The quantized graph, with the inputs and outputs of the float one.

    Raises:
        ModelError: a layer that sums more products than int32 can hold; the message names the node.
    """
    return _Emitter(graph, plan, scales).graph()


def integer_weights(
    graph: Graph, plan: Plan, scales: Mapping[str, Scale], node: Node
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The int8 weights of a layer, and one step for each output channel.

    As fine as int8 weights allow, but no finer than the bias allows: a trained network has channels that are all
    but dead, weights near zero beside a bias that is not. There the step is the one at which the bias, and with
    it every sum, still fits int32.
    """
    if node.inputs[1] in plan.weights:
        return plan.weights[node.inputs[1]]
    real = graph.constants[node.inputs[1]]
    axis = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
    others = tuple(other for other in range(real.ndim) if other != axis)
    taps = math.prod(real.shape[index] for index in others)
    room = 2**31 - 1 - 255 * 127 * taps
    if room <= 0:
        raise ModelError(
            f"node {node.name!r}: {taps} products are summed for one output, which int32 cannot hold for int8"
        )
    bias = np.zeros(())
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.abs(graph.constants[node.inputs[2]].astype(np.float64).reshape(-1))
    x, y = scales[node.inputs[0]].value, scales[plan.result(node)].value
    finest = np.maximum(bias / (0.999 * room * x), _FINEST * y / x)
    scale = np.maximum(np.abs(real).max(others).astype(np.float64) / 127, finest).astype(np.float32)
    steps = real / scale.reshape([-1 if index == axis else 1 for index in range(real.ndim)])
    np.rint(steps, out=steps)
    np.clip(steps, -127, 127, out=steps)
    return steps.astype(np.int8), scale


class _Emitter:
    """Each float tensor is asked for in one of two forms; a conversion is written where the form is missing."""

    def __init__(self, graph: Graph, plan: Plan, scales: Mapping[str, Scale]) -> None:
        self.source, self.plan, self.scales = graph, plan, scales
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self.floats = {value.name for value in graph.inputs} | set(graph.constants)
        self.bytes: set[str] = set()

    def graph(self) -> Graph:
        absorbed = self.plan.absorbed()
        for node in self.source.nodes:
            if node.name in absorbed:
                continue
            if node.name in self.plan.integer:
                write = _Emitter.look_up if node.name in self.plan.functions else _WRITERS[node.op]
                write(self, node)
                self.bytes.add(self.plan.result(node))
            else:
                for name in node.inputs:
                    self.as_float(name)
                self.nodes.append(node)
                self.floats.update(node.outputs)
        for value in self.source.outputs:
            self.as_float(value.name)
        return without_idle(self.source.with_nodes(self.nodes, self.constants))

    def as_float(self, name: str) -> str:
        if name and name not in self.floats:
            inputs = (quantized_name(name), *self.parameters(name))
            self.nodes.append(Node("DequantizeLinear", f"{name}/dequantize", inputs, (name,)))
            self.floats.add(name)
        return name

    def as_bytes(self, name: str) -> str:
        if name not in self.bytes:
            inputs = (self.as_float(name), *self.parameters(name))
            self.nodes.append(Node("QuantizeLinear", f"{name}/quantize", inputs, (quantized_name(name),)))
            self.bytes.add(name)
        return quantized_name(name)

    def parameters(self, name: str) -> tuple[str, str]:
        """Names of the scale and the zero point of a tensor."""
        scale = self.scales[name]
        power = f"scale_2e{scale.exponent}" if scale.mantissa == 1 else f"scale_{scale.value:.9g}"
        return (
            self.constant(power, np.asarray(scale.value, np.float32)),
            self.constant(f"zero_point_{scale.zero_point}", np.asarray(scale.zero_point, np.uint8)),
        )

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def write(self, op: str, node: Node, inputs: tuple[str, ...], domain: str = "", **attributes: Any) -> None:
        result = self.plan.result(node)
        if result != node.output and self.bounds(self.plan.activation[node.name]) != (0, 255):
            result = node.output  # saturation alone is not the clamp: a Clip of the bytes follows
        self.nodes.append(Node(op, node.name, inputs, (quantized_name(result),), attributes, domain))
        if result != self.plan.result(node):
            self.clamp(self.plan.activation[node.name])

    def bounds(self, clamp: Node) -> tuple[int, int]:
        """The smallest and the largest byte that a Relu or Clip lets through."""
        scale, limits = self.scales[clamp.output], clamp_limits(clamp, self.source)
        assert limits is not None
        low, high = (np.clip(np.rint(edge / scale.value) + scale.zero_point, 0, 255) for edge in limits)
        return int(low), int(high)

    def clamp(self, node: Node) -> None:
        """Clip the bytes of a clamp's input."""
        edges = [self.constant(f"byte_{edge}", np.asarray(edge, np.uint8)) for edge in self.bounds(node)]
        inputs = (quantized_name(node.inputs[0]), *edges)
        self.nodes.append(Node("Clip", node.name, inputs, (quantized_name(node.output),)))

    def input(self, node: Node, index: int = 0) -> tuple[str, str, str]:
        return (self.as_bytes(node.inputs[index]), *self.parameters(self.first_slice(node.inputs[index])))

    def weights(self, node: Node, axis: int) -> tuple[tuple[str, str, str], tuple[str, ...]]:
        """int8 weights, one scale for each output channel along ``axis``, and the int32 bias."""
        count = self.source.constants[node.inputs[1]].shape[axis]
        bias = np.zeros(count)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = np.broadcast_to(self.source.constants[node.inputs[2]].astype(np.float64).reshape(-1), count)
        if is_scale_shift(node, self.source):
            gain = self.source.constants[node.inputs[1]].astype(np.float64).reshape(-1)
            return self.scale_shift(node, gain, bias)
        bias = bias - self.plan.shifts.get(node.name, 0.0)
        weights, scale = integer_weights(self.source, self.plan, self.scales, node)
        step = (np.float32(self.scales[node.inputs[0]].value) * scale).astype(np.float64)
        names = (
            self.constant(f"{node.name}/weights_int8", weights),
            self.constant(f"{node.name}/weights_scale", scale),
            self.constant(f"{node.name}/weights_zero_point", np.zeros(scale.shape, np.int8)),
        )
        whole = np.clip(np.rint(bias / step), -(2**31), 2**31 - 1).astype(np.int32)
        given = self.plan.biases.get(node.inputs[2]) if len(node.inputs) > 2 else None
        if given is not None and np.array_equal(np.broadcast_to(given[1], count), step.astype(np.float32)):
            whole = given[0].astype(np.int32)
        return names, (self.constant(f"{node.name}/bias_int32", whole),)

    def scale_shift(
        self, node: Node, gain: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> tuple[tuple[str, str, str], tuple[str, ...]]:
        """Weights of a gain and a shift for each channel, whose inputs may have a scale and zero point each.

        Where the gains are integers of seven bits times powers of two (`scale_shifts` makes them so), the
        multiplier is a power of two and no sum reaches 2**24: every step of it is exact.
        """
        own, y = self.scales[self.first_slice(node.inputs[0])], self.scales[self.plan.result(node)].value
        slices = self.plan.joined.get(node.inputs[0], ((node.inputs[0], len(gain)),))
        step = np.concatenate([np.full(count, self.scales[name].value) for name, count in slices])
        zero = np.concatenate([np.full(count, self.scales[name].zero_point) for name, count in slices])
        steps = gain * step / y  # steps of the output for a step of the input
        most = 512 + 256 * np.abs(steps)
        offset = np.clip(shift / y, -most, most)  # beyond that, all is saturated anyway
        if is_binary(gain):
            steps[np.abs(steps) < _DEAD] = 0
            # The finest power of two that keeps weights below 128, and sums below 2**24.
            finest = np.where(steps == 0, 2.0**-8, np.ldexp(1.0, split(steps)[1]))
            unit = np.maximum(finest, np.exp2(np.ceil(np.log2((np.abs(offset) + 1) / (2.0**24 - 2**16)))))
        else:
            unit = np.maximum(np.abs(steps) / 127, np.maximum(np.abs(offset) / 2**30, _FINEST))
        scale = (unit * y / own.value).astype(np.float32)
        unit = scale.astype(np.float64) * own.value / y
        weights = np.clip(np.rint(steps / unit), -127, 127)
        bias = np.rint(offset / unit) + (own.zero_point - zero) * weights
        names = (
            self.constant(f"{node.name}/weights_int8", weights.astype(np.int8).reshape(-1, 1, 1, 1)),
            self.constant(f"{node.name}/weights_scale", scale),
            self.constant(f"{node.name}/weights_zero_point", np.zeros(scale.shape, np.int8)),
        )
        return names, (self.constant(f"{node.name}/bias_int32", bias.astype(np.int32)),)

    def first_slice(self, name: str) -> str:
        """The tensor whose scale a reader names: where slices have their own, that of the first."""
        return self.plan.joined[name][0][0] if name in self.plan.joined else name

    def conv(self, node: Node) -> None:
        x, (weights, bias) = self.input(node), self.weights(node, 0)
        shape = list(self.source.constants[node.inputs[1]].shape[2:])
        attributes = {"kernel_shape": shape, **node.attributes}
        self.write(
            "QLinearConv", node, (*x, *weights, *self.parameters(self.plan.result(node)), *bias), **attributes
        )

    def gemm(self, node: Node) -> None:
        transposed = int(node.attributes.get("transB", 0)) if node.op == "Gemm" else 0
        x, (weights, bias) = self.input(node), self.weights(node, 0 if transposed else 1)
        inputs = (*x, *weights, *bias, *self.parameters(self.plan.result(node)))
        self.write("QGemm", node, inputs, CONTRIB_DOMAIN, transB=transposed)

    def add(self, node: Node) -> None:
        inputs = (*self.input(node, 0), *self.input(node, 1), *self.parameters(self.plan.result(node)))
        self.write("QLinearAdd", node, inputs, CONTRIB_DOMAIN)

    def average(self, node: Node) -> None:
        inputs = (*self.input(node), *self.parameters(self.plan.result(node)))
        self.write(f"QLinear{node.op}", node, inputs, CONTRIB_DOMAIN, **node.attributes)

    def clip(self, node: Node) -> None:
        self.as_bytes(node.inputs[0])
        self.clamp(node)

    def move(self, node: Node) -> None:
        inputs = tuple(name if name in self.source.constants else self.as_bytes(name) for name in node.inputs)
        self.write(node.op, node, inputs, **node.attributes)

    def look_up(self, node: Node) -> None:
        """A table of 256 bytes, computed in float64."""
        function = self.plan.functions[node.name]
        x, y = self.scales[function.argument], self.scales[node.output]
        real = function((np.arange(256.0) - x.zero_point) * x.value)
        table = np.clip(np.rint(np.nan_to_num(real / y.value)) + y.zero_point, 0, 255).astype(np.uint8)
        index = f"{quantized_name(node.output)}/index"
        inputs = (self.constant(f"{node.name}/table", table), index)
        cast = {"to": _INT32}
        self.nodes += (
            Node("Cast", f"{node.name}/index", (self.as_bytes(function.argument),), (index,), cast),
            Node("Gather", node.name, inputs, (quantized_name(node.output),), {"axis": 0}),
        )

    def normalise(self, node: Node) -> None:
        """L2 normalisation: int32 up to the sum of squares, then one float32 operation after the other.

        The input's scale cancels. A norm below one step counts as one step, which keeps it from zero.
        """
        x, name = node.inputs[0], node.name
        zero = np.asarray(self.scales[x].zero_point, np.int32)
        axis = np.asarray([int(node.attributes.get("axis", -1))], np.int64)
        one = self.constant(f"{name}/one", np.asarray(1, np.float32))
        steps = [
            ("Cast", "integer", (self.as_bytes(x),), {"to": _INT32}),
            ("Sub", "centred", (f"{name}/integer", self.constant(f"{name}/zero", zero)), {}),
            ("Mul", "squares", (f"{name}/centred", f"{name}/centred"), {}),
            ("ReduceSum", "sum", (f"{name}/squares", self.constant(f"{name}/axis", axis)), {"keepdims": 1}),
            ("Cast", "sum_float", (f"{name}/sum",), {"to": _FLOAT}),
            ("Max", "bounded", (f"{name}/sum_float", one), {}),
            ("Sqrt", "norm", (f"{name}/bounded",), {}),
            ("Cast", "centred_float", (f"{name}/centred",), {"to": _FLOAT}),
            ("Div", "normalised", (f"{name}/centred_float", f"{name}/norm"), {}),
        ]
        if name in self.plan.gains:
            (gamma,) = (part for part in self.plan.gains[name].inputs if part in self.source.constants)
            steps.append(("Mul", "scaled", (f"{name}/normalised", gamma), {}))
        for op, part, inputs, attributes in steps:
            self.nodes.append(Node(op, f"{name}/{part}", inputs, (f"{name}/{part}",), attributes))
        result = self.plan.result(node)
        inputs = (f"{name}/{steps[-1][1]}", *self.parameters(result))
        self.nodes.append(Node("QuantizeLinear", name, inputs, (quantized_name(result),)))


_WRITERS = {
    "Add": _Emitter.add,
    "AveragePool": _Emitter.average,
    "Conv": _Emitter.conv,
    "Gemm": _Emitter.gemm,
    "GlobalAveragePool": _Emitter.average,
    "LpNormalization": _Emitter.normalise,
    "MatMul": _Emitter.gemm,
    **dict.fromkeys(CLAMPS, _Emitter.clip),
    **dict.fromkeys(MOVES, _Emitter.move),
}
