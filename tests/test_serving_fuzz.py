from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import PredictRequest, PredictResponse
from fieldwave.wire.requests import encode_request
from tests.served import affine, channel, pixels, png, serving, tensor

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
GOOD = encode_request({"images": tensor()}, ["output_alias"])
Predict = Callable[..., bytes]


@pytest.fixture(scope="module")
def predict() -> Iterator[Predict]:
    with serving() as server, channel(server) as opened:
        call = opened.unary_unary("/tensorflow.serving.PredictionService/Predict")
        yield lambda data: call(data, timeout=30)


def status(predict: Predict, data: bytes) -> grpc.StatusCode:
    try:
        predict(data)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def with_values() -> bytes:
    message = PredictRequest(model_spec={"name": "affine", "version": {"value": 1}})
    message.inputs["Placeholder:0"].CopyFrom(to_tensor_proto(tensor()))
    return message.SerializeToString()


SEEDS = (
    GOOD,
    with_values(),
    encode_request({"images": [png(pixels()[0])]}),
    encode_request({"images": pixels(2)}),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        # The head of a message, where names, shapes and lengths are, deserves most of the damage.
        place = draw(st.integers(0, min(60, len(data))) | st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                del data[place:]
            case 1:
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case 2:
                data[place:place] = draw(st.binary(max_size=12))
            case 3:
                del data[place : place + draw(st.integers(1, 8))]
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_as_the_client_s_mistake(predict: Predict, data: bytes) -> None:
    assert status(predict, data) in REFUSALS


@settings(max_examples=700, deadline=None)
@given(data=mutated())
def test_damaged_requests_are_refused_as_the_client_s_mistake(predict: Predict, data: bytes) -> None:
    assert status(predict, data) in REFUSALS | {grpc.StatusCode.OK}


@settings(max_examples=300, deadline=None)
@given(
    dtype=st.integers(-1, 140),
    dims=st.lists(st.sampled_from((-1, 0, 1, 2, 3, 4, 5, 2**31 - 1, 2**31, 2**62, 2**63 - 1)), max_size=5),
    content=st.binary(max_size=8) | st.just(tensor().tobytes()),
    values=st.lists(st.floats(width=32), max_size=3),
    strings=st.lists(st.binary(max_size=8), max_size=3),
    name=st.sampled_from(("images", "Placeholder:0", "", "other")),
)
def test_impossible_tensors_are_refused_as_the_client_s_mistake(
    predict: Predict,
    dtype: int,
    dims: list[int],
    content: bytes,
    values: list[float],
    strings: list[bytes],
    name: str,
) -> None:
    message = PredictRequest()
    proto = message.inputs[name]
    proto.dtype = dtype
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_content = content
    proto.float_val.extend(values)
    proto.string_val.extend(strings)
    assert status(predict, message.SerializeToString()) in REFUSALS | {grpc.StatusCode.OK}


def test_a_request_cut_anywhere_is_refused_and_a_good_one_is_answered_after_all(predict: Predict) -> None:
    data = encode_request({"images": [png(pixels()[0])]})
    assert {status(predict, data[:end]) for end in range(len(data))} == {grpc.StatusCode.INVALID_ARGUMENT}
    answer = PredictResponse.FromString(predict(GOOD))
    assert list(answer.outputs["output_alias"].float_val) == affine(tensor())[0].tolist()
