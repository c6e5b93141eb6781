from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from fieldwave.errors import TensorError
from fieldwave.wire.inference import (
    DATATYPES,
    datatype_of,
    from_contents,
    from_raw,
    parse_infer_request,
    put_contents,
    raw_output,
    strings_to_raw,
)
from fieldwave.wire.messages import InferTensorContents, ModelInferRequest, ModelInferResponse

NUMBERS = [name for name in DATATYPES if name != "BYTES"]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_raw_numbers_are_the_bytes_received(datatype: str) -> None:
    dtype = DATATYPES[datatype].dtype
    array = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    data = array.tobytes()
    found = from_raw(datatype, [2, 3], memoryview(data))
    assert found.dtype == dtype
    assert np.array_equal(found, array)
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))
    assert datatype_of(array.dtype.name) == datatype


@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_typed_numbers_come_and_go(datatype: str) -> None:
    array = (np.arange(6).reshape(2, 3) % 2).astype(DATATYPES[datatype].dtype)
    contents = InferTensorContents()
    put_contents(array, contents)
    found = from_contents(datatype, [2, 3], InferTensorContents.FromString(contents.SerializeToString()))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_byte_strings_come_raw_and_typed() -> None:
    strings = [b"", b"one", bytes(300)]
    for found in (
        from_raw("BYTES", [3], strings_to_raw(strings)),
        from_contents("BYTES", [3], InferTensorContents(bytes_contents=strings)),
    ):
        assert found.dtype == object
        assert found.tolist() == strings


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "text"),
    [
        ("FP33", [1], b"", f"datatype 'FP33' is not supported; use one of {', '.join(DATATYPES)}"),
        ("BF16", [1], b"", f"datatype 'BF16' is not supported; use one of {', '.join(DATATYPES)}"),
        ("FP32", [2, 2], bytes(15), "shape [2, 2] of FP32 takes 16 bytes, but 15 were sent"),
        ("FP32", [-1], b"", "shape [-1] has a negative dimension; send the sizes of all dimensions"),
        ("UINT8", [1 << 40], b"", f"shape [{1 << 40}] is too large; the limit is {1 << 30} elements"),
        ("UINT8", [1] * 17, b"\0", "the shape has 17 dimensions; at most 16 are supported"),
        ("BOOL", [2], b"\1\2", "raw contents of BOOL have bytes other than 0 and 1"),
        (
            "BYTES",
            [2],
            b"\0\0\0\0",
            "shape [2] of BYTES takes 2 byte strings with 4 bytes of length before each, but 4 bytes were sent",
        ),
        ("BYTES", [2], b"\x04\0\0\0abcd", "byte string 2 of 2 is missing: the contents end before it"),
        (
            "BYTES",
            [1],
            b"\xff\xff\xff\xffabc",
            "byte string 1 of 1 is cut off: it is said to have 4294967295 bytes, 3 were sent",
        ),
        ("BYTES", [1], b"\x01\0\0\0abc", "2 bytes were sent after the 1 byte strings of the shape"),
        ("BYTES", [5000], bytes(20000), "5000 byte strings in one input; at most 4096 are supported"),
    ],
)
def test_raw_contents_that_do_not_fit_are_refused(datatype: str, shape: list[int], data: bytes, text: str) -> None:
    with pytest.raises(TensorError) as caught:
        from_raw(datatype, shape, data)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "text"),
    [
        ("FP16", [1], {}, "FP16 has no typed contents; send it in raw_input_contents"),
        ("FP32", [2], {"fp32_contents": [1.0]}, "shape [2] takes 2 values, but fp32_contents has 1"),
        ("FP32", [1], {"int_contents": [1]}, "FP32 is sent in fp32_contents, but int_contents is filled"),
        ("UINT8", [1], {"uint_contents": [256]}, "uint_contents has a value outside 0 to 255, the range of UINT8"),
        (
            "INT8",
            [1],
            {"int_contents": [-129]},
            "int_contents has a value outside -128 to 127, the range of INT8",
        ),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(
    datatype: str, shape: list[int], contents: dict[str, Any], text: str
) -> None:
    with pytest.raises(TensorError) as caught:
        from_contents(datatype, shape, InferTensorContents(**contents))
    assert str(caught.value) == text


def request(**changes: Any) -> ModelInferRequest:
    message = ModelInferRequest(id="7", model_name="m", raw_input_contents=[bytes(24), b"x"])
    message.inputs.add(name="a", datatype="FP32", shape=[2, 3])
    message.outputs.add(name="b")
    return message


def test_raw_contents_are_views_and_the_rest_is_a_message() -> None:
    data = request().SerializeToString()
    message, contents = parse_infer_request(data)
    assert [bytes(each) for each in contents] == [bytes(24), b"x"]
    assert all(isinstance(each, memoryview) for each in contents)
    expected = request()
    del expected.raw_input_contents[:]
    assert message == expected


def test_an_answer_s_raw_contents_are_what_protobuf_reads() -> None:
    array = np.arange(5, dtype=np.float32)
    response = ModelInferResponse(id="7")
    data = b"".join([response.SerializeToString(), *raw_output(array), *raw_output(array[:0])])
    assert list(ModelInferResponse.FromString(data).raw_output_contents) == [array.tobytes(), b""]


@given(
    st.binary(max_size=40)
    | st.builds(lambda cut, data: data[:cut], st.integers(0, 80), st.just(request().SerializeToString()))
    | st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=3)
)
def test_it_reads_what_protobuf_reads(data: Any) -> None:
    if isinstance(data, list):
        mutable = bytearray(request().SerializeToString())
        for place, value in data:
            mutable[place % len(mutable)] = value
        data = bytes(mutable)
    try:
        expected = ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_infer_request(data)
        return
    message, contents = parse_infer_request(data)
    assert [bytes(each) for each in contents] == list(expected.raw_input_contents)
    del expected.raw_input_contents[:]
    del message.raw_input_contents[:]
    # Not ==, to which NaN is not equal; deterministic, because maps have no order.
    assert message.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(st.binary(max_size=30), st.integers(0, 4))
def test_no_bytes_break_the_reader_of_strings(data: bytes, count: int) -> None:
    try:
        strings = from_raw("BYTES", [count], data)
    except TensorError:
        return
    assert strings_to_raw(strings.tolist()) == data
    assert struct.calcsize("<I") * count + sum(map(len, strings.tolist())) == len(data)
