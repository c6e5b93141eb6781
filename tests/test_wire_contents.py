from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.wire import from_tensor_proto, to_tensor_proto
from fieldwave.wire.contents import CUT_BYTES, parse_request
from fieldwave.wire.messages import PredictRequest
from fieldwave.wire.requests import encode_request

LARGE = np.arange(CUT_BYTES // 4, dtype=np.float32)


def whole(message: Any, contents: dict[str, memoryview]) -> Any:
    """The message with its contents put back."""
    for name, content in contents.items():
        assert name in message.inputs
        assert not message.inputs[name].tensor_content
        message.inputs[name].tensor_content = bytes(content)
    return message


def agrees_with_protobuf(data: bytes, cut_bytes: int = 1) -> bool:
    """Whether something was cut out of ``data``; protobuf must find the same message, or none either."""
    try:
        expected = PredictRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_request(data, cut_bytes)
        return False
    message, contents = parse_request(data, cut_bytes)
    assert whole(message, dict(contents)) == expected
    return bool(contents)


def test_a_large_content_is_a_view_of_the_received_bytes() -> None:
    data = encode_request({"x": LARGE, "y": LARGE[:3]}, ["scores"])
    message, contents = parse_request(data)
    assert set(contents) == {"x"}
    assert contents["x"].obj is data
    array = from_tensor_proto(message.inputs["x"], contents["x"])
    assert array.tobytes() == LARGE.tobytes()
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert from_tensor_proto(message.inputs["y"]).tolist() == [0, 1, 2]
    assert agrees_with_protobuf(data, CUT_BYTES)


def test_a_small_content_stays_where_it_is() -> None:
    assert parse_request(encode_request({"x": LARGE[:-1]}))[1] == {}


@settings(deadline=None)
@given(
    inputs=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.binary(max_size=300), max_size=4),
    cut_bytes=st.integers(1, 300),
    name=st.text(max_size=3),
)
def test_what_clients_write_is_cut_and_means_the_same(inputs: dict[str, bytes], cut_bytes: int, name: str) -> None:
    request = PredictRequest(model_spec={"name": "model", "version": {"value": 3}}, output_filter=["a", "b"])
    for key, data in inputs.items():
        request.inputs[key].CopyFrom(to_tensor_proto(np.frombuffer(data, np.uint8), content=True))
    cut = agrees_with_protobuf(request.SerializeToString(), cut_bytes)
    assert cut == any(len(data) >= cut_bytes for data in inputs.values())


def field(tag: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([tag, len(payload)]) + payload


def entry(*fields: bytes) -> bytes:
    return field(0x12, b"".join(fields))


KEY, OTHER = field(0x0A, b"x"), field(0x0A, b"y")
CONTENT, LATER = field(0x22, b"\0\0\0\0"), field(0x22, b"\1\1\1\1")


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (entry(KEY, field(0x12, CONTENT)) + entry(OTHER, field(0x12, LATER)), True),
        (entry(KEY, field(0x12, CONTENT + b"\x08\x01")), True),
        (entry(KEY, field(0x12, CONTENT + b"\x2d\0\0\x80\x3f")), True),
        (entry(KEY, field(0x12, CONTENT + LATER)), False),
        (entry(KEY, field(0x12, CONTENT)) + entry(KEY, field(0x12, LATER)), False),
        (entry(KEY, field(0x12, CONTENT)) + entry(KEY, field(0x12, b"\x08\x01")), False),
        (entry(KEY, field(0x12, CONTENT), field(0x12, LATER)), False),
        (entry(KEY, OTHER, field(0x12, CONTENT)), False),
        (entry(field(0x12, CONTENT), KEY), False),
        (entry(field(0x12, CONTENT)), False),
        (entry(KEY), False),
        (entry(field(0x0A, b"\xff"), field(0x12, CONTENT)), False),
        (entry(KEY, field(0x12, CONTENT)) + b"\x12\x05", False),
        (entry(KEY, field(0x12, CONTENT + b"\x22\x09")), False),
        (entry(KEY, field(0x12, CONTENT + b"\x23\x24")), False),
        (entry(KEY, field(0x12, CONTENT + b"\x82\x01\x01\x07")), False),
        (entry(KEY, field(0x12, b"\xa2\x00\x04\0\0\0\0")), False),
        (b"\x12\x8c\x80\x00" + KEY + field(0x12, CONTENT + b"\x08"), False),
        (b"\x12" + b"\xff" * 10 + b"\x01", False),
        (b"\x08\x01" * 100 + entry(KEY, field(0x12, CONTENT)), False),
    ],
)
def test_every_other_form_means_what_protobuf_says(data: bytes, cut: bool) -> None:
    assert agrees_with_protobuf(data) is cut


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    request = PredictRequest(output_filter=["scores"])
    request.inputs["x"].CopyFrom(to_tensor_proto(np.arange(6, dtype=np.float32), content=True))
    request.inputs["y"].CopyFrom(to_tensor_proto(np.ones((2, 2), np.uint8), content=True))
    data = bytearray(request.SerializeToString())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                data[place:place] = draw(st.binary(max_size=6))
            case 2:
                del data[place : place + draw(st.integers(1, 6))]
            case 3:
                end = min(len(data), place + draw(st.integers(1, 20)))
                data[place:place] = data[place:end]
    return bytes(data)


@settings(max_examples=500, deadline=None)
@given(data=damaged() | st.binary(max_size=60))
def test_damaged_messages_mean_what_protobuf_says(data: bytes) -> None:
    agrees_with_protobuf(data)
