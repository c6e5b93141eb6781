"""Requests and answers of the Open Inference Protocol, whose tensors are views of the bytes received.

A tensor travels as raw bytes beside the messages (``raw_input_contents``: little-endian, row-major, in the order
of the inputs), or value by value in ``contents``. Raw byte strings have their length before each: 4 bytes,
little-endian. Raw bytes are taken out of the request before protobuf parses it, which would copy them twice.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.wire.dtypes import BY_NAME, STRING, WireType
from fieldwave.wire.fields import fields
from fieldwave.wire.messages import ModelInferRequest
from fieldwave.wire.tensors import check_rank, checked_shape, varint

__all__ = [
    "DATATYPES",
    "datatype_of",
    "from_contents",
    "from_raw",
    "parse_infer_request",
    "put_contents",
    "raw_output",
    "strings_to_raw",
]

_RAW_INPUT = 0x3A  # ModelInferRequest.raw_input_contents: field 7, length-delimited
_RAW_OUTPUT = b"\x32"  # ModelInferResponse.raw_output_contents: field 6

DATATYPES: dict[str, WireType] = {
    "BOOL": BY_NAME["bool"],
    **{f"{kind.upper()}{bits}": BY_NAME[f"{kind}{bits}"] for kind in ("uint", "int") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": BY_NAME[f"float{bits}"] for bits in (16, 32, 64)},
    "BYTES": STRING,
}
"""The protocol's names of dtypes; BF16 does not travel, because numpy has none."""

_MOST_STRINGS = 4096
_LARGEST_KEPT = 1024
"""Bytes of a request without its tensors which are worth being kept."""
_NAMES = {wire_type.name: name for name, wire_type in DATATYPES.items()}
_FIELDS = {
    "bool": "bool_contents",
    **{f"int{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"uint{bits}": "uint_contents" for bits in (8, 16, 32)},
    "int64": "int64_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}


def parse_infer_request(data: bytes) -> tuple[Message, list[memoryview | bytes]]:
    """The ``ModelInferRequest`` in ``data`` without its raw contents, and these.

    The message is shared by all requests that say the same: it is to be read, and not changed.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no such message.
    """
    try:
        rest: list[memoryview] = []
        raw: list[memoryview | bytes] = []
        for tag, field, payload in fields(memoryview(data)):
            if tag == _RAW_INPUT:
                raw.append(payload)
            else:
                rest.append(field)
    except (IndexError, ValueError):
        # Anything but the plain form is protobuf's to judge: it decides what a message means.
        request = ModelInferRequest.FromString(bytes(data))
        return request, list(request.raw_input_contents)
    head = b"".join(rest)
    return (_parsed if len(head) <= _LARGEST_KEPT else ModelInferRequest.FromString)(head), raw


@lru_cache(maxsize=64)
def _parsed(head: bytes) -> Message:
    """What a client says of its tensors, which is the same with every call; nobody changes it."""
    return ModelInferRequest.FromString(head)


def datatype_of(dtype: str) -> str:
    """The protocol's name of numpy's ``dtype``, or of ``string``."""
    return _NAMES[dtype]


def from_raw(datatype: str, shape: Sequence[int], data: memoryview | bytes) -> NDArray[Any]:
    """The array in raw bytes; it shares memory with them, unless they are byte strings.

    Raises:
        TensorError: an unknown datatype, an impossible shape, or bytes that do not fill it.
    """
    wire_type, sizes = _wire_type(datatype), _sizes(shape)
    if wire_type is STRING:
        return _strings(data, sizes)
    expected = math.prod(sizes) * wire_type.dtype.itemsize
    if len(data) != expected:
        raise TensorError(f"shape {list(sizes)} of {datatype} takes {expected} bytes, but {len(data)} were sent")
    if datatype == "BOOL" and bytes(data).strip(b"\0\1"):
        raise TensorError("raw contents of BOOL have bytes other than 0 and 1")
    return np.frombuffer(data, dtype=wire_type.dtype).reshape(sizes)


def from_contents(datatype: str, shape: Sequence[int], contents: Message) -> NDArray[Any]:
    """The array in typed contents.

    Raises:
        TensorError: as `from_raw`; or another field than the datatype's is filled.
    """
    wire_type, sizes = _wire_type(datatype), _sizes(shape)
    name = _FIELDS.get(wire_type.name)
    if name is None:
        raise TensorError(f"{datatype} has no typed contents; send it in raw_input_contents")
    others = [field.name for field, _ in contents.ListFields() if field.name != name]
    if others:
        raise TensorError(f"{datatype} is sent in {name}, but {others[0]} is filled")
    values = getattr(contents, name)
    expected = math.prod(sizes)
    if len(values) != expected:
        raise TensorError(f"shape {list(sizes)} takes {expected} values, but {name} has {len(values)}")
    if wire_type is STRING:
        strings = np.empty(expected, dtype=object)
        strings[:] = values
        return strings.reshape(sizes)
    if not expected:
        return np.empty(sizes, dtype=wire_type.dtype)
    if name not in ("int_contents", "uint_contents"):
        return np.array(values, dtype=wire_type.dtype).reshape(sizes)
    wide = np.array(values, dtype=np.int64)
    bounds = np.iinfo(wire_type.dtype)
    if wide.min() < bounds.min or wide.max() > bounds.max:
        raise TensorError(f"{name} has a value outside {bounds.min} to {bounds.max}, the range of {datatype}")
    return wide.astype(wire_type.dtype).reshape(sizes)


def raw_output(array: NDArray[Any]) -> list[bytes | memoryview]:
    """``array`` as a field of the bytes of a ``ModelInferResponse``, in parts; the numbers are not copied."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return [_RAW_OUTPUT, varint(little.nbytes), little.reshape(-1).view(np.uint8).data]


def put_contents(array: NDArray[Any], contents: Message) -> None:
    """Write numbers into typed ``contents``; float32 at the speed of memory."""
    if array.dtype == np.float32:
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        contents.MergeFromString(b"".join((b"\x32", varint(len(data)), data)))  # fp32_contents: field 6, packed
    else:
        getattr(contents, _FIELDS[array.dtype.name]).extend(array.ravel().tolist())


def strings_to_raw(strings: Sequence[bytes]) -> bytes:
    """Byte strings as they travel raw."""
    return b"".join(part for data in strings for part in (struct.pack("<I", len(data)), data))


def _strings(data: memoryview | bytes, sizes: tuple[int, ...]) -> NDArray[Any]:
    expected = math.prod(sizes)
    if expected > _MOST_STRINGS:
        raise TensorError(f"{expected} byte strings in one input; at most {_MOST_STRINGS} are supported")
    if 4 * expected > len(data):
        raise TensorError(
            f"shape {list(sizes)} of BYTES takes {expected} byte strings with 4 bytes of length before each, "
            f"but {len(data)} bytes were sent"
        )
    strings = np.empty(expected, dtype=object)
    position = 0
    for index in range(expected):
        begin = position + 4
        if begin > len(data):
            raise TensorError(f"byte string {index + 1} of {expected} is missing: the contents end before it")
        position = begin + int.from_bytes(data[begin - 4 : begin], "little")
        if position > len(data):
            raise TensorError(
                f"byte string {index + 1} of {expected} is cut off: it is said to have {position - begin} bytes, "
                f"{len(data) - begin} were sent"
            )
        strings[index] = bytes(data[begin:position])
    if position != len(data):
        raise TensorError(f"{len(data) - position} bytes were sent after the {expected} byte strings of the shape")
    return strings.reshape(sizes)


def _wire_type(datatype: str) -> WireType:
    wire_type = DATATYPES.get(datatype)
    if wire_type is None:
        text = ascii(datatype[:20])
        raise TensorError(f"datatype {text} is not supported; use one of {', '.join(DATATYPES)}")
    return wire_type


def _sizes(shape: Sequence[int]) -> tuple[int, ...]:
    check_rank(len(shape))
    return checked_shape(tuple(shape))
