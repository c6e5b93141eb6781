"""Where a TensorFlow graph stops preparing the image and starts to be a network, and the network alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["cut_point", "network_alone", "training_switches"]

_LAYERS = {
    "AvgPool", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "FusedBatchNorm", "FusedBatchNormV2",
    "FusedBatchNormV3", "MatMul", "MaxPool",
}  # fmt: skip
_PADS = {"Identity", "MirrorPad", "Pad", "PadV2", "SpaceToBatchND"}
_TRAINING = ("train", "learning_phase", "is_training")


def cut_point(graph_def: Any, source: str, outputs: Iterable[str]) -> str | None:
    """The tensor at which the network begins: all of it is computed from this tensor, and this from the image.

    Args:
        source: the tensor that clients send, such as the encoded images.
        outputs: tensors.

    Returns:
        None where the first layer is not fed by the image alone.
    """
    nodes = {node.name: node for node in graph_def.node}
    needed = _ancestors(nodes, outputs, None)
    behind = _descendants(graph_def, _node(source)) & needed
    first = next((node for node in _ordered(nodes, outputs) if node.op in _LAYERS and node.name in behind), None)
    while first is not None:
        fed = [name for name in _inputs(first) if _node(name) in behind or _node(name) == _node(source)]
        if len(fed) != 1:
            return None
        tensor = fed[0] if ":" in fed[0] else f"{fed[0]}:0"
        before = nodes[_node(tensor)]
        if before.op not in _PADS or before.name == _node(source):
            reached = _ancestors(nodes, outputs, before.name)
            return None if _node(source) in reached else tensor
        first = before
    return None


def network_alone(
    tf: Any, graph_def: Any, tensor: str, shape: tuple[int | None, ...], outputs: Iterable[str]
) -> Any:
    """The part of the graph that computes the outputs from ``tensor``, which becomes a placeholder.

    Returns:
        The graph and the placeholder's name.
    """
    outputs = list(outputs)
    nodes = {node.name: node for node in graph_def.node}
    cut = _node(tensor)
    kept = _ancestors(nodes, outputs, cut)
    name = cut if cut not in kept else f"{cut}/image"
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(graph_def.versions)
    result.library.CopyFrom(graph_def.library)
    placeholder = result.node.add(name=name, op="Placeholder")
    placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
    placeholder.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    switches = training_switches(graph_def)
    for node in graph_def.node:
        if node.name not in kept or node.name == cut:
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(name if _node(one) == cut else one for one in _inputs(node))
        if node.name in switches:
            _set(tf, copy, switches[node.name])
        elif node.op == "PlaceholderWithDefault":
            copy.op = "Identity"
            copy.ClearField("attr")
            copy.attr["T"].type = node.attr["dtype"].type
    _choose(tf, result)
    kept = _ancestors({node.name: node for node in result.node}, outputs, None) | {name}
    for node in [node for node in result.node if node.name not in kept]:
        result.node.remove(node)
    return result, f"{name}:0"


def training_switches(graph_def: Any) -> dict[str, bool | float]:
    """Inputs that say whether the network learns, and what they are when it does not."""
    found: dict[str, bool | float] = {}
    for node in graph_def.node:
        if node.op not in ("Placeholder", "PlaceholderWithDefault"):
            continue
        kind, name = node.attr["dtype"].type, node.name.lower()
        if kind == _BOOL and any(part in name for part in _TRAINING):
            found[node.name] = False
        elif kind == _FLOAT and "keep_prob" in name:
            found[node.name] = 1.0
    return found


_FLOAT, _BOOL = 1, 10  # of TensorFlow's DataType


def _choose(tf: Any, graph_def: Any) -> None:
    """A Select whose condition is a constant is what it selects."""
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        if node.op not in ("Select", "SelectV2"):
            continue
        condition = nodes.get(_node(node.input[0]))
        while condition is not None and condition.op == "Identity":
            condition = nodes.get(_node(condition.input[0]))
        if condition is None or condition.op != "Const":
            continue
        value = tf.make_ndarray(condition.attr["value"].tensor)
        if value.size == 1:
            chosen, kind = node.input[1 if value.item() else 2], node.attr["T"].type
            node.op = "Identity"
            node.ClearField("attr")
            node.attr["T"].type = kind
            del node.input[:]
            node.input.append(chosen)


def _set(tf: Any, node: Any, value: bool | float) -> None:
    kind = node.attr["dtype"].type
    node.op = "Const"
    del node.input[:]
    node.ClearField("attr")
    node.attr["dtype"].type = kind
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=kind))


def _node(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _inputs(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]


def _ancestors(nodes: dict[str, Any], outputs: Iterable[str], stop: str | None) -> set[str]:
    """Names of the nodes that the outputs are computed from, the stop excluded and what only it needs."""
    found: set[str] = set()
    stack = [_node(name) for name in outputs]
    while stack:
        name = stack.pop()
        if name in found or name == stop or name not in nodes:
            continue
        found.add(name)
        stack.extend(_node(one) for one in _inputs(nodes[name]))
    return found


def _descendants(graph_def: Any, source: str) -> set[str]:
    readers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for name in _inputs(node):
            readers.setdefault(_node(name), []).append(node.name)
    found: set[str] = set()
    stack = [source]
    while stack:
        for name in readers.get(stack.pop(), []):
            if name not in found:
                found.add(name)
                stack.append(name)
    return found


def _ordered(nodes: dict[str, Any], outputs: Iterable[str]) -> list[Any]:
    """The nodes behind the outputs, inputs first; loops of TensorFlow 1 are entered once."""
    done: set[str] = set()
    order = []
    stack = [(_node(name), False) for name in outputs]
    while stack:
        name, ready = stack.pop()
        if ready:
            order.append(nodes[name])
        elif name not in done and name in nodes:
            done.add(name)
            stack.append((name, True))
            stack.extend((_node(one), False) for one in reversed(_inputs(nodes[name])))
    return order
