"""Which dtypes travel, what each is called, and which field of a ``TensorProto`` carries its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldwave.wire.messages import DataType

__all__ = ["BY_ENUM", "BY_NAME", "STRING", "WireType", "dtype_name"]


@dataclass(frozen=True)
class WireType:
    """One dtype on the wire.

    Parameters:
        name: numpy's name of it; ``string`` for byte strings.
        enum: its number in ``tensorflow.DataType``.
        dtype: little-endian, as in ``tensor_content``; object for strings.
        field: the ``*_val`` field that carries its values one by one.
        packed: the field's tag where its packed form holds exactly the bytes of ``tensor_content``
            (fixed-width numbers), else empty: the values are varints.
    """

    name: str
    enum: int
    dtype: np.dtype[Any]
    field: str
    packed: bytes = b""


def _wire_type(name: str, enum: str, dtype: str, field: str, packed_field: int | None = None) -> WireType:
    tag = b"" if packed_field is None else bytes([packed_field << 3 | 2])
    return WireType(name, DataType[enum], np.dtype(dtype), field, tag)


STRING = _wire_type("string", "DT_STRING", "O", "string_val")
_ALL = (
    _wire_type("float32", "DT_FLOAT", "<f4", "float_val", 5),
    _wire_type("float64", "DT_DOUBLE", "<f8", "double_val", 6),
    _wire_type("float16", "DT_HALF", "<f2", "half_val"),
    _wire_type("int8", "DT_INT8", "<i1", "int_val"),
    _wire_type("int16", "DT_INT16", "<i2", "int_val"),
    _wire_type("int32", "DT_INT32", "<i4", "int_val"),
    _wire_type("int64", "DT_INT64", "<i8", "int64_val"),
    _wire_type("uint8", "DT_UINT8", "<u1", "int_val"),
    _wire_type("uint16", "DT_UINT16", "<u2", "int_val"),
    _wire_type("uint32", "DT_UINT32", "<u4", "uint32_val"),
    _wire_type("uint64", "DT_UINT64", "<u8", "uint64_val"),
    _wire_type("bool", "DT_BOOL", "?", "bool_val"),
    STRING,
)
BY_ENUM = {wire_type.enum: wire_type for wire_type in _ALL}
BY_NAME = {wire_type.name: wire_type for wire_type in _ALL}

_ENUM_NAMES = {number: name for name, number in DataType.items()}


def dtype_name(enum: int) -> str:
    """What to call dtype number ``enum`` in a message: ``float32``, or ``DT_BFLOAT16``, or ``number 77``."""
    if enum in BY_ENUM:
        return BY_ENUM[enum].name
    return _ENUM_NAMES.get(enum, f"number {enum}")
