"""One spelling for what ONNX writers spell in several ways: padding, means over maps, L2 normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.shapes import Shapes

__all__ = ["canonical", "without_idle"]

Rewrite = Callable[[Node, dict[str, Node], dict[str, NDArray[Any]], Shapes], "list[Node] | None"]


def canonical(graph: Graph, shapes: Shapes) -> Graph:
    """Rewrite node by node; nodes that nothing reads any more are dropped.

    * ``auto_pad`` and Pad nodes before convolutions become pads;
    * a ReduceMean over the two axes of maps becomes a GlobalAveragePool;
    * the division of a tensor by its own L2 norm along one axis becomes an LpNormalization.
    """
    producers = graph.producers()
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        made = [node]
        for rewrite in _REWRITES.get(node.op, ()):
            made = rewrite(made[-1], producers, constants, shapes) or made
        nodes += made
        producers.update({name: one for one in made for name in one.outputs})
    return without_idle(graph.with_nodes(nodes, constants))


def without_idle(graph: Graph) -> Graph:
    """The graph without the nodes whose results nothing reads."""
    read = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if read & set(node.outputs):
            kept.append(node)
            read.update(node.inputs)
    return graph.with_nodes(kept[::-1], graph.constants)


def _explicit_pads(
    node: Node, producers: dict[str, Node], constants: dict[str, NDArray[Any]], shapes: Shapes
) -> list[Node] | None:
    """``auto_pad`` SAME_UPPER, SAME_LOWER and VALID, as the operator's definition resolves them."""
    kind = str(node.attributes.get("auto_pad", "NOTSET"))
    if kind == "NOTSET":
        return None
    attributes = {name: value for name, value in node.attributes.items() if name != "auto_pad"}
    if node.op == "Conv" and "kernel_shape" not in attributes:
        attributes["kernel_shape"] = list(shapes[node.inputs[1]][2:])
    if kind != "VALID":
        pads = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, kernel, stride, dilation in zip(
                shapes[node.inputs[0]][2:],
                attributes["kernel_shape"],
                attributes.get("strides", (1, 1)),
                attributes.get("dilations", (1, 1)),
                strict=True,
            )
        ]
        less, more = [pad // 2 for pad in pads], [pad - pad // 2 for pad in pads]
        attributes["pads"] = less + more if kind == "SAME_UPPER" else more + less
    return [Node(node.op, node.name, node.inputs, node.outputs, attributes, node.domain)]


def _padded(
    node: Node, producers: dict[str, Node], constants: dict[str, NDArray[Any]], shapes: Shapes
) -> list[Node] | None:
    """A Pad with zeros before a convolution, or after a Relu before a MaxPool, becomes pads of the window."""
    pad = producers.get(node.inputs[0])
    if pad is None or pad.op != "Pad" or str(node.attributes.get("auto_pad", "NOTSET")) != "NOTSET":
        return None
    if len(pad.inputs) < 2 or pad.inputs[1] not in constants or any(pad.inputs[3:]):
        return None
    fill = pad.inputs[2] if len(pad.inputs) > 2 else ""
    if str(pad.attributes.get("mode", "constant")) != "constant" or (fill and fill not in constants):
        return None
    amounts = constants[pad.inputs[1]].astype(int).tolist()
    before, after = amounts[: len(amounts) // 2], amounts[len(amounts) // 2 :]
    if len(before) != 4 or any(before[:2] + after[:2]) or min(amounts) < 0 or (fill and constants[fill].any()):
        return None
    own = node.ints("pads", (0, 0, 0, 0))
    if node.op == "MaxPool":
        source = producers.get(pad.inputs[0])
        kernel = node.ints("kernel_shape", ())
        inside = all(amount < size for amount, size in zip(before[2:] + after[2:], kernel * 2, strict=True))
        if source is None or source.op != "Relu" or not inside or any(own) or node.attributes.get("ceil_mode", 0):
            return None
    pads = [one + other for one, other in zip(own, before[2:] + after[2:], strict=True)]
    inputs = (pad.inputs[0], *node.inputs[1:])
    return [Node(node.op, node.name, inputs, node.outputs, {**node.attributes, "pads": pads}, node.domain)]


def _global_mean(
    node: Node, producers: dict[str, Node], constants: dict[str, NDArray[Any]], shapes: Shapes
) -> list[Node] | None:
    axes = _axes(node, constants)
    if axes is None or len(shapes[node.inputs[0]]) != 4:
        return None
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    if node.attributes.get("keepdims", 1):
        return [Node("GlobalAveragePool", node.name, node.inputs[:1], node.outputs)]
    kept = f"{node.output}/maps"
    shapes.add(kept, (*shapes[node.inputs[0]][:2], 1, 1))
    return [
        Node("GlobalAveragePool", node.name, node.inputs[:1], (kept,)),
        Node("Flatten", f"{node.name}/flatten", (kept,), node.outputs, {"axis": 1}),
    ]


def _normalisation(
    node: Node, producers: dict[str, Node], constants: dict[str, NDArray[Any]], shapes: Shapes
) -> list[Node] | None:
    """``x / norm(x)`` (Div), or ``x * (1 / norm(x))`` (Mul), with any bound that keeps the norm from zero."""
    if len(node.inputs) != 2:
        return None
    for tensor, divisor in (node.inputs, node.inputs[::-1])[: 1 if node.op == "Div" else 2]:
        if node.op == "Mul":
            inverse = producers.get(divisor)
            if inverse is None or inverse.op != "Reciprocal":
                continue
            divisor = inverse.inputs[0]
        axis = _norm_axis(tensor, divisor, producers, constants)
        if axis is not None:
            attributes = {"axis": axis, "p": 2}
            return [Node("LpNormalization", node.name, (tensor,), node.outputs, attributes)]
    return None


def _norm_axis(
    tensor: str, norm: str, producers: dict[str, Node], constants: dict[str, NDArray[Any]]
) -> int | None:
    """The one axis along which ``norm`` is the L2 norm of ``tensor``, bounds and small additions aside."""
    root = False
    while (node := producers.get(norm)) is not None:
        if node.op in ("Max", "Add", "Clip", "Expand", "Identity"):
            computed = [name for name in node.inputs if name and name not in constants]
            bounds = [
                constants[name] for name in node.inputs if name in constants and constants[name].dtype.kind == "f"
            ]
            small = node.op == "Clip" or all(np.all(np.abs(bound) < 1e-3) for bound in bounds)
            if node.inputs[0] in computed:
                norm = node.inputs[0]
            elif len(computed) == 1:
                norm = computed[0]
            if not small or (node.op != "Expand" and len(computed) != 1):
                return None
        elif node.op == "Sqrt" and not root:
            norm, root = node.inputs[0], True
        elif node.op == ("ReduceSumSquare" if root else "ReduceL2"):
            return _single(_axes(node, constants)) if node.inputs[0] == tensor and _keeps(node) else None
        elif node.op == "ReduceSum" and root:
            square = producers.get(node.inputs[0])
            of_it = square is not None and _is_square(square, tensor, constants)
            return _single(_axes(node, constants)) if of_it and _keeps(node) else None
        else:
            return None
    return None


def _is_square(node: Node, tensor: str, constants: dict[str, NDArray[Any]]) -> bool:
    if node.op == "Mul":
        return node.inputs == (tensor, tensor)
    exponent = constants.get(node.inputs[1]) if node.op == "Pow" else None
    return exponent is not None and bool(np.all(exponent == 2)) and node.inputs[0] == tensor


def _axes(node: Node, constants: dict[str, NDArray[Any]]) -> list[int] | None:
    """Axes of a reduction: an attribute until opset 12 or 17, a constant input after."""
    if "axes" in node.attributes:
        return list(node.ints("axes", ()))
    if len(node.inputs) > 1 and node.inputs[1] in constants:
        return [int(axis) for axis in constants[node.inputs[1]].reshape(-1)]
    return None


def _keeps(node: Node) -> bool:
    return bool(node.attributes.get("keepdims", 1))


def _single(axes: list[int] | None) -> int | None:
    return axes[0] if axes is not None and len(axes) == 1 else None


_REWRITES: dict[str, tuple[Rewrite, ...]] = {
    "AveragePool": (_explicit_pads,),
    "Conv": (_explicit_pads, _padded),
    "Div": (_normalisation,),
    "MaxPool": (_explicit_pads, _padded),
    "Mul": (_normalisation,),
    "ReduceMean": (_global_mean,),
}
