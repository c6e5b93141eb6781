"""From an exported ONNX model to a network that the quantizer takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.frontends import passes
from fieldwave.frontends.affine import Affine
from fieldwave.frontends.image_input import ImageTensor, fix_image
from fieldwave.frontends.measure import run, shapes
from fieldwave.frontends.naming import canonical
from fieldwave.frontends.normalisation import Front, find_front, with_nhwc_input
from fieldwave.frontends.opset import at_our_opset
from fieldwave.frontends.pixels import Pixels
from fieldwave.frontends.preprocessing import Geometry, Prepared, prepare
from fieldwave.frontends.prune import live
from fieldwave.frontends.simplify import simplify
from fieldwave.frontends.static import free_batch, static_shapes
from fieldwave.frontends.twins import twin
from fieldwave.graph import Graph, Value, from_onnx
from fieldwave.model import FloatModel
from fieldwave.quantize import is_quantized

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Exported", "finish"]

_SAME = 1e-2
"""How far an output may move, relative to the largest: float32 sums in another order, seen through a Softmax."""


@dataclass(frozen=True)
class Exported:
    """What a framework's part hands over.

    Attributes:
        model: of any opset, with one image input.
        name: of the network.
        aliases: other names of inputs and outputs.
        affine: from pixels, in the order R, G, B, to the model's input, where the framework's part found it.
        geometry: how an image comes to the model's size, where that was found.
        notes: for the user.
    """

    model: ModelProto
    name: str
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    affine: Affine | None = None
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()


def finish(exported: Exported, pixels: Pixels, labels: tuple[str, ...] = ()) -> FloatModel:
    """Clean the network up, take the normalisation out of it, and check that it still computes the same.

    Raises:
        ModelError: the network has no image input of a known size, an operator that cannot be run, or control
            flow; the message names the node.
    """
    _check_operators(exported.model)
    model = at_our_opset(exported.model)
    image = fix_image(model, pixels.size)
    # Joining what lies between the scales of a network that is quantized already would lose them.
    quantized = _seems_quantized(model) and is_quantized(from_onnx(model))
    source = static_shapes(from_onnx(model if quantized else simplify(model)))
    graph = free_batch(source, image.batch) if image.batch else source
    front = find_front(graph, image)
    size = (image.height, image.width)
    prepared = prepare(front.affine, exported.affine, exported.geometry, pixels, size)
    graph = with_nhwc_input(graph, front, image, prepared.gain)
    graph = _measured(live(graph)) if quantized else _cleaned(graph)
    _check(source, graph, image, front, prepared)
    notes = (*exported.notes, *prepared.notes)
    return FloatModel(exported.name, graph, prepared.spec, labels, _aliases(exported, graph), notes)


def _aliases(exported: Exported, graph: Graph) -> dict[str, tuple[str, ...]]:
    """The names that were found, and those that clients use when they are told none."""
    aliases = {name: tuple(others) for name, others in exported.aliases.items()}
    for values, usual in ((graph.inputs, "images"), (graph.outputs, "output_alias")):
        if len(values) == 1 and usual != values[0].name:
            found = aliases.get(values[0].name, ())
            aliases[values[0].name] = (*found, *((usual,) if usual not in found else ()))
    for value in graph.outputs:
        if other := twin(value.name):
            aliases[value.name] = (*aliases.get(value.name, ()), other)
    return aliases


def _check_operators(model: ModelProto) -> None:
    """Raise where a node is no operator of ONNX."""
    import onnx

    functions = {(function.domain, function.name) for function in model.functions}
    for index, node in enumerate(model.graph.node):
        ours = node.domain in ("", "ai.onnx")
        if ours and not onnx.defs.has(node.op_type) and (node.domain, node.op_type) not in functions:
            raise ModelError(
                f"node {node.name or index!r} ({node.op_type}) is no operator of ONNX; end the network before it "
                "(--output-tensor TENSOR), or write it with other operators"
            )


def _cleaned(graph: Graph) -> Graph:
    graph = live(graph)
    known = _shapes(graph)
    steps: tuple[Callable[[Graph], Graph], ...] = (
        passes.upper_bounds_into_clips,
        passes.gains_last,
        lambda graph: passes.drop_idle_reshapes(graph, known),
        lambda graph: passes.flatten_heads(graph, known),
        canonical,
    )
    for step in steps:
        graph = step(graph)
    return _measured(graph, known)


def _measured(graph: Graph, known: Mapping[str, tuple[int | None, ...]] | None = None) -> Graph:
    """The graph with the shapes of its outputs, which exporters leave open, or fix to one image."""
    known = known or _shapes(graph)
    outputs = tuple(Value(value.name, value.dtype, known[value.name]) for value in graph.outputs)
    return replace(graph, outputs=outputs)


def _seems_quantized(model: ModelProto) -> bool:
    """Whether it is worth a look, which control flow that is about to be folded would not survive."""
    return any("Quantize" in node.op_type or node.op_type.startswith("Q") for node in model.graph.node)


def _shapes(graph: Graph) -> Mapping[str, tuple[int | None, ...]]:
    known = shapes(graph)
    for value in graph.outputs:
        if not known[value.name] or known[value.name][0] is not None:
            raise ModelError(
                f"output {value.name!r} does not grow with the number of images; "
                "export the model with a dynamic batch dimension"
            )
    return known


def _check(source: Graph, graph: Graph, image: ImageTensor, front: Front, prepared: Prepared) -> None:
    """Raise where the network does not compute what it did before, on noise, alone or beside a second image."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 255, (2, image.height, image.width, image.channels))
    before = _applied(prepared.base, noise)
    inputs = _applied(front.affine, before)
    if prepared.gain is not None:
        inputs = inputs / prepared.gain
    before = before if image.layout == "NHWC" else before.transpose(0, 3, 1, 2)
    batch = np.repeat(before[:1], max(image.batch, 1), 0).astype(np.float32)
    names = [value.name for value in graph.outputs]
    expected = run(source, np.ascontiguousarray(batch), names)
    found = run(graph, inputs.astype(np.float32), names)
    for name in names:
        if not _close(expected[name][:1], found[name][:1]):
            way = " for any number of images; export it with a dynamic batch" if image.batch else ""
            raise ModelError(f"output {name!r} of the network cannot be kept{way}")


def _applied(affine: Affine, images: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(images[..., list(affine.source)] * np.asarray(affine.gain) + np.asarray(affine.offset))


def _close(expected: NDArray[Any], found: NDArray[Any]) -> bool:
    if expected.shape != found.shape:
        return False
    bound = _SAME * float(np.max(np.abs(np.nan_to_num(expected)), initial=1e-6))
    return bool(np.allclose(expected, found, rtol=0, atol=bound, equal_nan=True))
