"""numpy arrays to ``TensorProto`` and back.

A tensor travels as raw bytes (``tensor_content``) or value by value (``float_val`` and its sisters, where
one value may stand for the whole tensor); clients of TensorFlow Serving send both, and some read only the
second. Reading makes no Python object per number in either form, nor does writing floats. The sizes that a
message claims are checked against the bytes that it holds before anything is allocated for them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from fieldwave.errors import TensorError
from fieldwave.wire.dtypes import BY_ENUM, BY_NAME, STRING, WireType, dtype_name
from fieldwave.wire.messages import TensorProto

__all__ = [
    "CONTENT_TAG",
    "MAX_RANK",
    "MAX_TENSOR_BYTES",
    "STRING_TAG",
    "check_rank",
    "checked_shape",
    "from_tensor_proto",
    "tensor_header",
    "to_tensor_proto",
    "to_wire_array",
    "varint",
]

CONTENT_TAG = b"\x22"  # TensorProto.tensor_content: field 4, length-delimited
STRING_TAG = b"\x42"  # TensorProto.string_val: field 8, length-delimited

MAX_RANK = 16
MAX_TENSOR_BYTES = 1 << 30


def to_tensor_proto(array: ArrayLike | bytes, *, content: bool = False) -> Message:
    """``array`` as a ``TensorProto``.

    Parameters:
        array: numbers or bools of any shape, or byte strings: ``bytes`` (shape ``[]``), a list of them (shape
            ``[n]``), or an array of dtype object that holds them.
        content: raw bytes in ``tensor_content`` instead of the ``*_val`` field. Strings have no raw form.

    Raises:
        TensorError: a dtype that does not travel, or an object array with something else than bytes in it.
    """
    wire_type, values = to_wire_array(array)
    proto = tensor_header(wire_type, values.shape)
    if wire_type is STRING:
        proto.string_val.extend(values.ravel())
    elif content:
        proto.tensor_content = values.tobytes()
    elif wire_type.packed:
        # The packed form is the array's memory: parsing it is a memcpy, extend() would walk Python floats.
        proto.MergeFromString(b"".join((wire_type.packed, varint(values.nbytes), values.tobytes())))
    elif wire_type.name == "float16":
        proto.half_val.extend(values.view(np.uint16).ravel().tolist())
    else:
        getattr(proto, wire_type.field).extend(values.ravel().tolist())
    return proto


def from_tensor_proto(proto: Message, content: memoryview | None = None) -> NDArray[Any]:
    """The array in ``proto``; byte strings come as an array of dtype object.

    Parameters:
        content: the bytes of ``tensor_content``, if they are not in ``proto`` but elsewhere.

    The array may be read-only: it shares memory with the message's bytes, and where one value stands for the
    whole tensor it is a view of that value.

    Raises:
        TensorError: a dtype that does not travel, an impossible shape, or values that do not fill the shape.
    """
    wire_type = BY_ENUM.get(proto.dtype)
    if wire_type is None:
        raise TensorError(f"dtype {dtype_name(proto.dtype)} is not supported; use one of {', '.join(BY_NAME)}")
    shape = _shape(proto)
    data = proto.tensor_content if content is None else content
    if data:
        return _from_content(proto, data, wire_type, shape)
    return _from_values(proto, wire_type, shape)


def to_wire_array(array: ArrayLike | bytes) -> tuple[WireType, NDArray[Any]]:
    """``array`` and its dtype as they travel: contiguous and little-endian, or an object array of bytes.

    Raises:
        TensorError: as `to_tensor_proto`.
    """
    values = _as_array(array)
    if values.dtype == object:
        for item in values.flat:
            if not isinstance(item, bytes):
                raise TensorError(
                    f"an array of dtype object is sent as byte strings, but holds a {type(item).__name__}"
                )
        return STRING, values
    wire_type = BY_NAME.get(values.dtype.name)
    if wire_type is None:
        raise TensorError(
            f"an array of dtype {values.dtype} cannot be sent; "
            f"use one of {', '.join(BY_NAME)} (string: bytes in an array of dtype object)"
        )
    return wire_type, np.asarray(values, dtype=wire_type.dtype, order="C")


def tensor_header(wire_type: WireType, shape: tuple[int, ...]) -> Message:
    """A ``TensorProto`` with dtype and shape, and no values yet."""
    proto = TensorProto(dtype=wire_type.enum)
    dims = proto.tensor_shape.dim
    for size in shape:
        dims.add(size=size)
    proto.tensor_shape.SetInParent()
    return proto


def varint(number: int) -> bytes:
    """``number`` in protobuf's variable-length form."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _as_array(array: ArrayLike | bytes) -> NDArray[Any]:
    if isinstance(array, bytes):
        return np.array(array, dtype=object)
    if isinstance(array, (list, tuple)) and array and all(isinstance(item, bytes) for item in array):
        strings = np.empty(len(array), dtype=object)
        strings[:] = array
        return strings
    return np.asarray(array)


def _shape(proto: Message) -> tuple[int, ...]:
    shape_proto = proto.tensor_shape
    if shape_proto.unknown_rank:
        raise TensorError("the shape is marked as of unknown rank; send the sizes of all dimensions")
    check_rank(len(shape_proto.dim))
    return checked_shape(tuple([dim.size for dim in shape_proto.dim]))


def check_rank(rank: int) -> None:
    """Refuse a shape of more dimensions than any network has.

    Raises:
        TensorError: it has.
    """
    if rank > MAX_RANK:
        raise TensorError(f"the shape has {rank} dimensions; at most {MAX_RANK} are supported")


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape``, if memory could hold such an array.

    Raises:
        TensorError: a dimension is negative, or they make too many elements.
    """
    if min(shape, default=0) < 0:
        raise TensorError(f"shape {list(shape)} has a negative dimension; send the sizes of all dimensions")
    # Dimensions of 0 do not count: numpy's own limit ignores them too.
    if math.prod([size for size in shape if size]) > MAX_TENSOR_BYTES:
        raise TensorError(f"shape {list(shape)} is too large; the limit is {MAX_TENSOR_BYTES} elements")
    return shape


def _from_content(
    proto: Message, data: bytes | memoryview, wire_type: WireType, shape: tuple[int, ...]
) -> NDArray[Any]:
    if wire_type is STRING:
        raise TensorError("strings must be sent in string_val, not in tensor_content")
    if len(getattr(proto, wire_type.field)):
        raise TensorError(f"both tensor_content and {wire_type.field} are filled; send one of them")
    expected = math.prod(shape) * wire_type.dtype.itemsize
    if len(data) != expected:
        raise TensorError(
            f"shape {list(shape)} of {wire_type.name} takes {expected} bytes, but tensor_content has {len(data)}"
        )
    if wire_type.name == "bool" and bytes(data).strip(b"\0\1"):
        raise TensorError("tensor_content of a bool tensor has bytes other than 0 and 1")
    return np.frombuffer(data, dtype=wire_type.dtype).reshape(shape)


def _from_values(proto: Message, wire_type: WireType, shape: tuple[int, ...]) -> NDArray[Any]:
    field = getattr(proto, wire_type.field)
    expected = math.prod(shape)
    if len(field) != expected and (len(field) != 1 or expected == 0):
        raise TensorError(
            f"shape {list(shape)} takes {expected} values, but {wire_type.field} has {len(field)}"
            + ("" if field else " and there is no tensor_content")
        )
    size = expected * wire_type.dtype.itemsize
    if size > MAX_TENSOR_BYTES:
        raise TensorError(
            f"shape {list(shape)} of {wire_type.name} takes {size} bytes; the limit is {MAX_TENSOR_BYTES}"
        )
    values = _values(field, wire_type)
    return values.reshape(shape) if len(values) == expected else np.broadcast_to(values[0:1], shape)


def _values(field: Any, wire_type: WireType) -> NDArray[Any]:
    if wire_type is STRING:
        strings = np.empty(len(field), dtype=object)
        strings[:] = field
        return strings
    if not len(field):
        return np.empty(0, dtype=wire_type.dtype)
    # The dtype is said, because older protobufs hand out Python's numbers, of which numpy makes its own choice.
    if wire_type.field not in ("int_val", "half_val"):
        return np.array(field, dtype=wire_type.dtype)
    values = np.array(field, dtype=np.int32)
    stored = np.dtype(np.uint16) if wire_type.name == "float16" else wire_type.dtype
    bounds = np.iinfo(stored)
    if values.min() < bounds.min or values.max() > bounds.max:
        raise TensorError(
            f"{wire_type.field} has a value outside {bounds.min} to {bounds.max}, the range of {stored.name}"
        )
    return values.astype(stored).view(wire_type.dtype)
