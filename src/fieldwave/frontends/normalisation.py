"""The normalisation of pixels inside a network: found, taken out, and put into preprocessing and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.frontends.affine import Affine, fit_affine
from fieldwave.frontends.image_input import ImageTensor
from fieldwave.frontends.measure import run
from fieldwave.graph import Graph, Node, Value

__all__ = ["Front", "find_front", "with_nhwc_input"]

_POINTWISE = {
    "Add", "BatchNormalization", "Cast", "Concat", "Div", "Gather", "Identity", "Mul", "Neg", "Slice", "Split",
    "Sub", "Transpose",
}  # fmt: skip


@dataclass(frozen=True)
class Front:
    """Where a network's own work begins.

    Attributes:
        tensor: the last one that is the image with a gain and an offset for each channel.
        layout: of that tensor, ``NHWC`` or ``NCHW``.
        affine: from the model's input to that tensor.
    """

    tensor: str
    layout: str
    affine: Affine


def find_front(graph: Graph, image: ImageTensor) -> Front:
    """Find the normalisation in front of the network, if there is one, by looking at what it does to pixels."""
    for tensor in reversed(_candidates(graph)):
        for layout in ("NCHW", "NHWC"):
            affine = _fit(graph, image, tensor, layout)
            if affine is not None:
                return Front(tensor, layout, affine)
    return Front(image.name, image.layout, Affine.identity(image.channels))


def with_nhwc_input(graph: Graph, front: Front, image: ImageTensor, gain: NDArray[np.float32] | None) -> Graph:
    """The network from ``front`` on, with an input [None, height, width, channels] under the model's name for it.

    Args:
        gain: what is left to multiply each channel by; into the weights of the convolutions that read it.

    Raises:
        ModelError: the network reads its input, with a gain, in other ways than by convolutions.
    """
    name = image.name
    inside = f"{name}/nchw" if front.layout == "NCHW" else name
    nodes = [
        replace(node, inputs=tuple(inside if tensor == front.tensor else tensor for tensor in node.inputs))
        for node in graph.nodes
        if front.tensor not in node.outputs
    ]
    transpose = Node("Transpose", f"{name}/to_nchw", (name,), (inside,), {"perm": [0, 3, 1, 2]})
    source = Value(name, "float32", (None, image.height, image.width, len(front.affine.source)))
    outputs = tuple(value for value in graph.outputs)
    changed = replace(graph, inputs=(source,), outputs=outputs)
    changed = changed.with_nodes([transpose, *nodes] if inside != name else nodes, graph.constants)
    return changed if gain is None else _scaled(changed, inside, gain)


def _candidates(graph: Graph) -> list[str]:
    """Tensors that are made from the image by pointwise operators, and that all of the network passes through."""
    cone = {graph.inputs[0].name}
    found = []
    for node in graph.nodes:
        activations = {name for name in node.inputs if name and name not in graph.constants}
        if node.op in _POINTWISE and activations and activations <= cone:
            cone.update(node.outputs)
            found.append(node.output)
    return [name for name in found if _passes_all(graph, name)]


def _passes_all(graph: Graph, tensor: str) -> bool:
    """Whether no output can be computed from the image without this tensor."""
    reached = {graph.inputs[0].name}
    for node in graph.nodes:
        if reached & set(node.inputs):
            reached.update(name for name in node.outputs if name != tensor)
    return not any(value.name in reached for value in graph.outputs)


def _fit(graph: Graph, image: ImageTensor, tensor: str, layout: str) -> Affine | None:
    def apply(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = pixels[np.newaxis] if image.layout == "NHWC" else pixels.transpose(2, 0, 1)[np.newaxis]
        result = run(graph, np.ascontiguousarray(batch), [tensor])[tensor]
        if result.ndim != 4 or result.shape[0] != 1:
            return np.zeros(0, np.float32)
        return np.asarray((result if layout == "NHWC" else result.transpose(0, 2, 3, 1))[0], np.float32)

    return fit_affine(apply, (image.height, image.width, image.channels))


def _scaled(graph: Graph, tensor: str, gain: NDArray[np.float32]) -> Graph:
    constants = dict(graph.constants)
    readers = {tensor}
    nodes = []
    for node in graph.nodes:
        if node.inputs and node.inputs[0] in readers:
            if node.op == "Pad" and _pads_zeros(node, graph):
                readers.add(node.output)
            elif node.op == "Conv" and node.inputs[1] in graph.constants and node.attributes.get("group", 1) == 1:
                name = f"{node.inputs[1]}/scaled"
                weights = graph.constants[node.inputs[1]].astype(np.float64)
                constants[name] = (weights * gain.reshape(1, -1, 1, 1)).astype(np.float32)
                node = replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))
            else:
                raise ModelError(
                    f"node {node.name!r} ({node.op}) reads pixels with a scale of their own for each channel, "
                    "which only a convolution can take over; give one scale for all channels"
                )
        nodes.append(node)
    return graph.with_nodes(nodes, constants)


def _pads_zeros(node: Node, graph: Graph) -> bool:
    if str(node.attributes.get("mode", "constant")) != "constant":
        return True
    value = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
    return value is not None and float(value.reshape(-1)[0]) == 0
