"""``.safetensors``: what the zoo writes itself, and how timm and Hugging Face publish weights.

The layout: the header's length in 8 bytes, the header in JSON with type, shape and place of every tensor, the
values (https://huggingface.co/docs/safetensors). The library checks that no two tensors overlap and that none
reaches beyond the file.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, WeightsError
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile, bfloat16

__all__ = ["read_safetensors", "safetensors_module"]

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read_safetensors(path: Path) -> TensorFile:
    """The tensors of the file, and what its metadata say.

    Raises:
        WeightsError: the file is damaged.
        MissingExtraError: safetensors is not installed.
    """
    module = safetensors_module("safetensors")
    try:
        path.open("rb").close()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    try:
        with module.safe_open(path, framework="numpy"):
            pass  # the checks
    except module.SafetensorError as error:
        raise WeightsError(f"{path} is damaged, or no .safetensors file: get it again") from error
    content = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    notes = header.pop("__metadata__", {})
    return TensorFile(
        path, "safetensors", {name: _stored(entry, content[start:]) for name, entry in header.items()}, notes
    )


def safetensors_module(name: str) -> ModuleType:
    """``safetensors``, or one of its modules."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError("reading and writing weights", "convert") from error


def _stored(entry: dict[str, Any], values: NDArray[np.uint8]) -> StoredTensor:
    dtype = _DTYPES.get(entry["dtype"], entry["dtype"])
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])

    def load() -> NDArray[Any]:
        plain = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
        array = values[first:last].view(plain).reshape(shape)
        return bfloat16(array) if dtype == "bfloat16" else array

    return StoredTensor(shape, dtype, load)
