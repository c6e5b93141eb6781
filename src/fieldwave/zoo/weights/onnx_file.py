"""The initializers of an ONNX model, of those that keep the names of a framework's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fieldwave.errors import MissingExtraError, WeightsError
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile

__all__ = ["read_onnx"]


def read_onnx(path: Path) -> TensorFile:
    """The initializers by name; those in a file beside the model are read from there when needed.

    Raises:
        WeightsError: the file is damaged.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import external_data_helper, helper, numpy_helper
    except ImportError as error:
        raise MissingExtraError("reading ONNX", "convert") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise WeightsError(f"{path} is damaged, or no ONNX file: get it again") from error

    def stored(tensor: Any) -> StoredTensor:
        def load() -> Any:
            try:
                if external_data_helper.uses_external_data(tensor):
                    external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
                return numpy_helper.to_array(tensor)
            except (OSError, ValueError, TypeError, LookupError, onnx.checker.ValidationError) as error:
                raise WeightsError(
                    f"{path.name} is damaged: {tensor.name!r} cannot be read; get it again"
                ) from error

        try:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        except KeyError:
            dtype = f"type {tensor.data_type}"
        return StoredTensor(tuple(tensor.dims), dtype, load)

    return TensorFile(path, "onnx", {tensor.name: stored(tensor) for tensor in model.graph.initializer}, {})
