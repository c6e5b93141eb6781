from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fieldwave.errors import TensorError
from fieldwave.wire import from_tensor_proto, to_tensor_proto
from fieldwave.wire.dtypes import BY_NAME
from fieldwave.wire.messages import DataType, TensorProto

NUMERIC = sorted(set(BY_NAME) - {"string"})
SUPPORTED = "float32, float64, float16, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool, string"


def proto(dtype: str, shape: list[int], **fields: Any) -> Any:
    message = TensorProto(dtype=DataType[dtype], **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def refusal(message: Any) -> str:
    with pytest.raises(TensorError) as caught:
        from_tensor_proto(message)
    return str(caught.value)


@settings(deadline=None)
@given(
    array=st.sampled_from(NUMERIC).flatmap(
        lambda name: npst.arrays(np.dtype(name), npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5))
    ),
    content=st.booleans(),
)
def test_every_array_survives_the_wire_bit_for_bit(array: Any, content: bool) -> None:
    sent = to_tensor_proto(array, content=content).SerializeToString()
    received = from_tensor_proto(TensorProto.FromString(sent))
    assert received.dtype == array.dtype
    assert received.shape == array.shape
    assert received.tobytes() == array.tobytes()


@settings(deadline=None)
@given(npst.arrays(np.dtype(object), npst.array_shapes(min_dims=0, min_side=0), elements=st.binary(max_size=20)))
def test_byte_strings_survive_the_wire(array: Any) -> None:
    received = from_tensor_proto(TensorProto.FromString(to_tensor_proto(array).SerializeToString()))
    assert received.shape == array.shape
    assert received.ravel().tolist() == array.ravel().tolist()


def test_one_byte_string_is_a_scalar_and_a_list_of_them_a_vector() -> None:
    assert from_tensor_proto(to_tensor_proto(b"a\0")).tolist() == b"a\0"
    assert from_tensor_proto(to_tensor_proto([b"a\0", b"b"])).tolist() == [b"a\0", b"b"]


def test_the_bytes_of_a_float_tensor() -> None:
    array = np.array([[1.0, 2.0]], dtype=np.float32)
    dims = b"\x12\x08" + b"\x12\x02\x08\x01" + b"\x12\x02\x08\x02"
    values = struct.pack("<2f", 1.0, 2.0)
    assert to_tensor_proto(array).SerializeToString() == b"\x08\x01" + dims + b"\x2a\x08" + values
    assert to_tensor_proto(array, content=True).SerializeToString() == b"\x08\x01" + dims + b"\x22\x08" + values


def test_unpacked_floats_are_read_too() -> None:
    message = TensorProto.FromString(b"\x08\x01\x12\x04\x12\x02\x08\x02" + b"\x2d\0\0\x80\x3f" + b"\x2d\0\0\0\x40")
    assert from_tensor_proto(message).tolist() == [1.0, 2.0]


def test_non_contiguous_and_big_endian_arrays_are_sent_by_value() -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4).T
    for content in (False, True):
        assert from_tensor_proto(to_tensor_proto(array, content=content)).tolist() == array.tolist()


def test_content_is_not_copied() -> None:
    received = from_tensor_proto(to_tensor_proto(np.zeros((2, 3), np.float32), content=True))
    assert not received.flags.owndata
    assert not received.flags.writeable


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (proto("DT_FLOAT", [2, 3], float_val=[0.5]), np.full((2, 3), 0.5, np.float32)),
        (proto("DT_HALF", [2], half_val=[0x3C00]), np.ones(2, np.float16)),
        (proto("DT_UINT8", [2], int_val=[255]), np.full(2, 255, np.uint8)),
        (proto("DT_BOOL", [2], bool_val=[True]), np.ones(2, np.bool_)),
        (proto("DT_INT64", [], int64_val=[-(2**63)]), np.array(-(2**63))),
        (proto("DT_UINT64", [1], uint64_val=[2**64 - 1]), np.array([2**64 - 1], np.uint64)),
    ],
)
def test_one_value_fills_the_shape(message: Any, expected: Any) -> None:
    received = from_tensor_proto(message)
    assert received.dtype == expected.dtype
    assert received.tolist() == expected.tolist()


def test_one_string_fills_the_shape() -> None:
    assert from_tensor_proto(proto("DT_STRING", [3], string_val=[b"x"])).tolist() == [b"x", b"x", b"x"]


def test_a_broadcast_value_takes_no_memory() -> None:
    received = from_tensor_proto(proto("DT_FLOAT", [1 << 28], float_val=[1.0]))
    assert received.strides == (0,)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            proto("DT_FLOAT", [1, 2], tensor_content=b"1234567"),
            "shape [1, 2] of float32 takes 8 bytes, but tensor_content has 7",
        ),
        (
            proto("DT_FLOAT", [2**28, 2], tensor_content=b"\0" * 8),
            "shape [268435456, 2] of float32 takes 2147483648 bytes, but tensor_content has 8",
        ),
        (
            proto("DT_FLOAT", [2**62, 4], tensor_content=b"\0" * 8),
            "shape [4611686018427387904, 4] is too large; the limit is 1073741824 elements",
        ),
        (
            proto("DT_FLOAT", [0, 2**62, 2**62]),
            "shape [0, 4611686018427387904, 4611686018427387904] is too large; the limit is 1073741824 elements",
        ),
        (
            proto("DT_DOUBLE", [2**30], double_val=[1.0]),
            "shape [1073741824] of float64 takes 8589934592 bytes; the limit is 1073741824",
        ),
        (
            proto("DT_FLOAT", [3], float_val=[1.0, 2.0]),
            "shape [3] takes 3 values, but float_val has 2",
        ),
        (
            proto("DT_FLOAT", [3]),
            "shape [3] takes 3 values, but float_val has 0 and there is no tensor_content",
        ),
        (
            proto("DT_FLOAT", [0], float_val=[1.0]),
            "shape [0] takes 0 values, but float_val has 1",
        ),
        (
            proto("DT_FLOAT", [1], float_val=[1.0], tensor_content=b"\0\0\0\0"),
            "both tensor_content and float_val are filled; send one of them",
        ),
        (
            proto("DT_FLOAT", [1, -1], float_val=[1.0]),
            "shape [1, -1] has a negative dimension; send the sizes of all dimensions",
        ),
        (proto("DT_FLOAT", [1] * 255), "the shape has 255 dimensions; at most 16 are supported"),
        (
            TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
            "the shape is marked as of unknown rank; send the sizes of all dimensions",
        ),
        (
            proto("DT_STRING", [1], tensor_content=b"x"),
            "strings must be sent in string_val, not in tensor_content",
        ),
        (
            proto("DT_BOOL", [2], tensor_content=b"\1\2"),
            "tensor_content of a bool tensor has bytes other than 0 and 1",
        ),
        (
            proto("DT_UINT8", [2], int_val=[0, 256]),
            "int_val has a value outside 0 to 255, the range of uint8",
        ),
        (
            proto("DT_HALF", [1], half_val=[65536]),
            "half_val has a value outside 0 to 65535, the range of uint16",
        ),
        (
            proto("DT_BFLOAT16", [1], half_val=[0]),
            f"dtype DT_BFLOAT16 is not supported; use one of {SUPPORTED}",
        ),
        (
            TensorProto(dtype=101),
            f"dtype number 101 is not supported; use one of {SUPPORTED}",
        ),
    ],
)
def test_what_cannot_be_read_is_named(message: Any, text: str) -> None:
    assert refusal(message) == text


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            np.zeros(1, np.complex64),
            f"an array of dtype complex64 cannot be sent; use one of {SUPPORTED} "
            "(string: bytes in an array of dtype object)",
        ),
        (
            np.array([b"ends in zero\0"]),
            f"an array of dtype |S13 cannot be sent; use one of {SUPPORTED} "
            "(string: bytes in an array of dtype object)",
        ),
        (
            np.array([b"x", "y"], dtype=object),
            "an array of dtype object is sent as byte strings, but holds a str",
        ),
    ],
)
def test_what_cannot_be_sent_is_named(array: Any, text: str) -> None:
    with pytest.raises(TensorError) as caught:
        to_tensor_proto(array)
    assert str(caught.value) == text


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_messages_are_read_or_refused(data: bytes) -> None:
    try:
        message = TensorProto.FromString(data)
    except Exception:
        return
    try:
        array = from_tensor_proto(message)
    except TensorError:
        return
    assert array.shape == tuple(dim.size for dim in message.tensor_shape.dim)
