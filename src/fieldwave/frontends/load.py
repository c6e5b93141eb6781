"""A trained network, whatever framework it comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.errors import InputError, ModelError, NotFoundError
from fieldwave.frontends.pixels import Pixels
from fieldwave.model import FloatModel
from fieldwave.preprocess import Preprocessing

if TYPE_CHECKING:
    from fieldwave.frontends.finish import Exported

__all__ = ["load"]


def load(
    source: Any,
    *,
    input: str | None = None,
    outputs: Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | Pixels | None = None,
    labels: Sequence[str] = (),
    name: str | None = None,
) -> FloatModel:
    """Read a network, find its preprocessing, and bring it into the form that the quantizer takes.

    Args:
        source: a TensorFlow SavedModel folder, a frozen graph (.pb), an ONNX file (.onnx), a program of
            ``torch.export.save`` (.pt2), or a ``torch.nn.Module``.
        input: the tensor at which the network begins; found where it is not given.
        outputs: the tensors that clients will see; the model's own where they are not given.
        size: of the input image, height and width or one number for both, where the model leaves it open.
        preprocessing: how an image file becomes the model's input, or the part of it that the model does not
            hold itself.
        labels: of the classes, in order.
        name: of the network; the file's where it is not given.

    Raises:
        NotFoundError: there is no such file or folder.
        ModelError: it holds no network that can be quantized; the message names the node or the tensor.
        InputError: the source is nothing of the kind, or the preprocessing does not fit it.
        MissingExtraError: the framework that the source needs is not installed.
    """
    pixels = _pixels(preprocessing, size)
    exported = _export(source, input, tuple(outputs or ()), pixels, name)
    from fieldwave.frontends.finish import finish

    return finish(exported, pixels, tuple(labels))


def _export(
    source: Any, input: str | None, outputs: tuple[str, ...], pixels: Pixels, name: str | None
) -> Exported:
    if not isinstance(source, (str, os.PathLike)):
        return _module(source, input, outputs, pixels, name)
    path = Path(source)
    name = name or path.stem
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelError(f"folder {path} is no SavedModel: it holds no saved_model.pb")
        from fieldwave.frontends.tensorflow_model import export_saved_model

        return export_saved_model(path, input, outputs, pixels, name)
    if not path.exists():
        raise NotFoundError(f"no model {path}; check the path")
    if path.suffix == ".pb":
        from fieldwave.frontends.tensorflow_model import export_frozen_graph

        return export_frozen_graph(path, input, outputs, pixels, name)
    if path.suffix == ".pt2":
        from fieldwave.frontends.torch_model import export_program_file

        return export_program_file(path, outputs, name)
    if path.suffix == ".onnx":
        from fieldwave.frontends.onnx_file import export_onnx

        return export_onnx(path, input, outputs, name)
    raise InputError(f"{path}: {_advice(path.suffix)}")


def _module(
    source: Any, input: str | None, outputs: tuple[str, ...], pixels: Pixels, name: str | None
) -> Exported:
    if type(source).__module__.startswith("onnx") and hasattr(source, "graph"):
        from fieldwave.frontends.onnx_file import export_model

        return export_model(source, input, outputs, name or source.graph.name or "model")
    if not any(base.__module__.startswith("torch.") for base in type(source).__mro__):
        raise InputError(f"a {type(source).__name__} is no model: give a path, a torch.nn.Module or a FloatModel")
    if input:
        raise InputError(f"a {type(source).__name__} begins at its image; leave the input {input!r} out")
    from fieldwave.frontends.torch_model import export_module

    return export_module(source, outputs, pixels, name or type(source).__name__.lower())


def _pixels(preprocessing: Preprocessing | Pixels | None, size: int | tuple[int, int] | None) -> Pixels:
    area = (size, size) if isinstance(size, int) else size
    if preprocessing is None:
        return Pixels(size=area)
    if isinstance(preprocessing, Pixels):
        from dataclasses import replace

        return replace(preprocessing, size=area or preprocessing.size)
    return Pixels(
        size=area or (preprocessing.height, preprocessing.width),
        order=preprocessing.order,
        resize=preprocessing.resize,
        shortest_side=preprocessing.shortest_side,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
    )


def _advice(suffix: str) -> str:
    if suffix in (".pt", ".pth", ".ckpt", ".bin"):
        return (
            "PyTorch's own files are pickles or weights without a network: give the torch.nn.Module in Python, "
            "or save it with torch.export.save (.pt2) or torch.onnx.export (.onnx)"
        )
    if suffix in (".h5", ".keras", ".hdf5"):
        return "a Keras file: load it in Python and write a SavedModel with model.export('folder')"
    if suffix == ".tflite":
        return "a TensorFlow Lite model: give the SavedModel that it was made of"
    return "no kind of model that is known: a SavedModel folder, .pb, .onnx or .pt2"
