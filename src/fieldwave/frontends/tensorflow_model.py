"""TensorFlow models: the image part found and cut off, the network converted by tf2onnx."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.frontends.finish import Exported
from fieldwave.frontends.pixels import Pixels
from fieldwave.frontends.tensorflow_cut import cut_point, network_alone, training_switches
from fieldwave.frontends.tensorflow_graph import Frozen, read_frozen_graph, read_saved_model
from fieldwave.frontends.tensorflow_onnx import to_onnx
from fieldwave.frontends.tensorflow_pixels import Recognised, recognise
from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow

__all__ = ["export_frozen_graph", "export_saved_model"]

Shape = tuple[int | None, ...]


def export_saved_model(
    path: Path, input: str | None, outputs: tuple[str, ...], pixels: Pixels, name: str
) -> Exported:
    """A SavedModel, of TensorFlow 1 or 2.

    Raises:
        ModelError: it has no image input, or a node that tf2onnx cannot take; the message names it.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
    """
    return _export(read_saved_model(path, input, outputs), input, pixels, name)


def export_frozen_graph(
    path: Path, input: str | None, outputs: tuple[str, ...], pixels: Pixels, name: str
) -> Exported:
    """A frozen graph; its last nodes are the outputs where none are named.

    Raises:
        ModelError: it has no image input, or a node that tf2onnx cannot take; the message names it.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
    """
    return _export(read_frozen_graph(path, input, outputs), input, pixels, name)


def _export(frozen: Frozen, input: str | None, pixels: Pixels, name: str) -> Exported:
    with quiet_tensorflow() as tf:
        with tf.Graph().as_default() as graph:
            try:
                tf.import_graph_def(frozen.graph_def, name="")
            except Exception as error:
                raise ModelError(f"the graph cannot be imported: {' '.join(str(error).split())}") from error
            switches = training_switches(frozen.graph_def)
            notes = [f"input {switch + ':0'!r} is set to {value}" for switch, value in sorted(switches.items())]
            _tensors(graph, frozen.outputs.values())
            key, source = _image(frozen, switches, input)
            (image,) = _tensors(graph, [source])
            recognised = None
            if image.dtype == tf.string:
                cut = _cut(frozen, source, input)
                recognised = _recognised(tf, graph, source, cut, notes)
                shape = _shape(graph, cut, recognised, pixels)
            else:
                cut = _tensor_name(input) if input else source
                shape = _shape(graph, cut, None, pixels)
        outputs = dict(frozen.outputs)
        graph_def, placeholder = network_alone(tf, frozen.graph_def, cut, shape, outputs.values())
        del graph, frozen, image
        gc.collect()  # what TensorFlow leaves holds the weights several times, in cycles
        model = to_onnx(tf, graph_def, placeholder, list(outputs.values()), source)
        gc.collect()
    aliases = {source: tuple(one for one in dict.fromkeys((key, cut)) if one != source)}
    aliases |= {tensor: (alias,) if alias != tensor else () for alias, tensor in outputs.items()}
    return Exported(
        model,
        name,
        aliases,
        affine=recognised.affine if recognised else None,
        geometry=recognised.geometry if recognised else None,
        notes=tuple(notes),
    )


def _image(frozen: Frozen, switches: dict[str, Any], input: str | None) -> tuple[str, str]:
    """The signature's input that is the image: its name there, and the tensor's."""
    found = {key: name for key, name in frozen.inputs.items() if name.split(":")[0] not in switches}
    for key, name in found.items():
        if input in (key, name, name.split(":")[0]):
            return key, name
    if len(found) != 1:
        names = ", ".join(repr(name) for name in found.values()) or "none"
        raise ModelError(f"the model has {len(found)} inputs ({names}); say which is the image (--input TENSOR)")
    return next(iter(found.items()))


def _cut(frozen: Frozen, source: str, input: str | None) -> str:
    if input and _tensor_name(input) != source and input not in frozen.inputs:
        return _tensor_name(input)
    cut = cut_point(frozen.graph_def, source, frozen.outputs.values())
    if cut is None:
        raise ModelError(
            f"input {source!r} is encoded images, and no tensor is all that the network takes of them; "
            "say where the network begins (--input TENSOR)"
        )
    return cut


def _recognised(tf: Any, graph: Any, source: str, cut: str, notes: list[str]) -> Recognised | None:
    """Show the image part some images, and see what it makes of them."""
    with tf.compat.v1.Session(graph=graph) as session:
        (tensor,) = _tensors(graph, [cut])
        (encoded,) = _tensors(graph, [source])

        def apply(data: bytes) -> NDArray[Any]:
            feed: Any = data if encoded.shape.rank == 0 else [data]
            result = np.asarray(session.run(tensor, {encoded: feed}))
            return result[0] if result.ndim == 4 else result

        try:
            found = recognise(apply)
        except Exception as error:
            line = " ".join(str(error).split())[:200]
            notes.append(f"the image part before {cut!r} cannot be run alone: {line}")
            return None
    if found is None:
        notes.append(
            f"the image part before {cut!r} is no resize, crop, mean and scale that Fieldwave knows: "
            "say what it does (--size, --resize, --order, --mean, --scale)"
        )
        return None
    notes.append(f"the image part before {cut!r} became the preprocessing")
    if found.difference:
        notes.append(
            f"the model resizes with another kernel than Fieldwave: pixels of smooth images differ by "
            f"{found.difference:.1f} levels of 255 on average"
        )
    return found


def _shape(graph: Any, cut: str, recognised: Recognised | None, pixels: Pixels) -> Shape:
    (tensor,) = _tensors(graph, [cut])
    known: Shape = tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else (None,) * 4
    if recognised is not None:
        return (None, *recognised.size, len(recognised.affine.source))
    if len(known) != 4:
        shown = ", ".join("?" if size is None else str(size) for size in known)
        raise ModelError(f"input {cut!r} is [{shown}]; one image [N, height, width, channels] is supported")
    height, width = pixels.size or (known[1], known[2])
    return (None, height, width, known[3] or (1 if pixels.order == "GRAY" else 3))


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _tensors(graph: Any, names: Any) -> list[Any]:
    found = []
    for name in names:
        try:
            found.append(graph.get_tensor_by_name(_tensor_name(name)))
        except (KeyError, ValueError):
            raise ModelError(f"the model has no tensor {name!r}; check the name") from None
    return found
