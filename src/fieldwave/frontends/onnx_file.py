"""An ``.onnx`` file, with its weights, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import MissingExtraError, ModelError, NotFoundError, StorageError
from fieldwave.frontends.finish import Exported

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["export_model", "export_onnx", "read_onnx"]


def read_onnx(path: Path) -> ModelProto:
    """Read an ONNX file and the files that hold its weights.

    Raises:
        NotFoundError: there is no such file, or one of its weight files is missing.
        ModelError: the file is no ONNX model.
        StorageError: a file cannot be read.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from onnx import external_data_helper as external
    except ImportError as error:
        raise MissingExtraError("reading ONNX models", "convert") from error
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no model {path}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} is not an ONNX model: it holds no graph")
    for tensor in external._get_all_tensors(model):
        if external.uses_external_data(tensor):
            place = next((item.value for item in tensor.external_data if item.key == "location"), "")
            if not (path.parent / place).is_file():
                raise NotFoundError(
                    f"{path}: tensor {tensor.name!r} lives in {place!r}, which is not beside it; put it there"
                )
    try:
        external.load_external_data_for_model(model, str(path.parent))
    # The library refuses links and paths out of the folder with its own ValidationError, an Exception.
    except Exception as error:
        raise ModelError(f"{path}: its weights cannot be read: {' '.join(str(error).split())}") from error
    return model


def export_onnx(path: Path, input: str | None, outputs: tuple[str, ...], name: str) -> Exported:
    """An ONNX file, cut at the tensors that are named.

    Raises:
        NotFoundError: there is no such file, or one of its weight files is missing.
        ModelError: the file is no ONNX model, or holds no such tensor.
    """
    return export_model(read_onnx(path), input, outputs, name)


def export_model(model: ModelProto, input: str | None, outputs: tuple[str, ...], name: str) -> Exported:
    """The same for a model in memory.

    Raises:
        ModelError: it holds no such tensor.
    """
    import onnx
    from onnx import helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    if not input and not outputs:
        return Exported(result, name)
    try:
        known = onnx.shape_inference.infer_shapes(result)
    except Exception as error:
        raise ModelError(f"the shapes of the model's tensors cannot be inferred: {error}") from error
    values = {info.name: info for info in (*known.graph.value_info, *known.graph.input, *known.graph.output)}
    for wanted in (*((input,) if input else ()), *outputs):
        if wanted not in values:
            near = ", ".join(repr(found.name) for found in model.graph.output)
            raise ModelError(f"the model has no tensor {wanted!r}; its outputs are {near}")
    if outputs:
        del result.graph.output[:]
        result.graph.output.extend(
            helper.make_tensor_value_info(wanted, values[wanted].type.tensor_type.elem_type, None)
            for wanted in outputs
        )
    if input:
        _begin_at(result, values[input])
    return Exported(result, name)


def _begin_at(model: ModelProto, value: ValueInfoProto) -> None:
    """Make an inner tensor the input, and drop what led to it."""
    needed = {info.name for info in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output) - {value.name}:
            needed |= set(node.input)
            kept.append(node)
    kept = kept[::-1]
    others = [info for info in model.graph.input if info.name in needed and info.name != value.name]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.input[:]
    model.graph.input.extend([value, *others])
