"""What a load generator sends again and again: one request, in the protocol that the server speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import ArrayLike, NDArray

from fieldwave.client.connection import Connection
from fieldwave.client.metadata import TensorMetadata, read_metadata
from fieldwave.errors import InputError, ServiceError
from fieldwave.wire.inference import DATATYPES, datatype_of, strings_to_raw
from fieldwave.wire.messages import (
    GetModelMetadataRequest,
    ModelInferRequest,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelSpec,
)
from fieldwave.wire.methods import GET_MODEL_METADATA, INFERENCE_SERVICE, PREDICT, SIGNATURE_FIELD
from fieldwave.wire.requests import encode_request
from fieldwave.wire.tensors import to_wire_array

__all__ = ["PROTOCOLS", "Request", "prepare"]

PROTOCOLS = ("predict", "oip")
"""TensorFlow Serving's Predict, and ModelInfer of the Open Inference Protocol, version 2."""

_INFER = f"/{INFERENCE_SERVICE}/ModelInfer"
_MODEL_METADATA = f"/{INFERENCE_SERVICE}/ModelMetadata"
_METADATA_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """A request that can be sent as often as one likes.

    Attributes:
        method: of gRPC.
        data: its message.
        images: how many images are in it.
    """

    method: str
    data: bytes
    images: int = 1


def prepare(
    connection: Connection,
    protocol: str = "predict",
    *,
    model: str = "",
    inputs: Mapping[str, ArrayLike] | None = None,
    image: bytes | None = None,
    batch: int = 1,
) -> Request:
    """The request for the server behind ``connection``.

    Args:
        protocol: one of `PROTOCOLS`.
        model: its name, for servers that have several, or want to hear it.
        inputs: what to send, by input name.
        image: an image file to send instead, to the network's only input.
        batch: how many of them; and how many images of noise, where nothing is given to send: then the server is
            asked for the names, dtypes and shapes of its inputs.

    Raises:
        InputError: there is no such protocol, or what to send cannot be known from the server's metadata.
        ServiceError: the server does not say what its inputs are.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {protocol!r} is not spoken; choose {' or '.join(PROTOCOLS)}")
    if batch < 1:
        raise InputError(f"batch is {batch}; give at least 1")
    if inputs is None:
        described = _described(connection, protocol, model)
        inputs = _images(described, image, batch) if image is not None else _noise(described, batch, connection)
    first = next(iter(inputs.values()), ())
    images = len(to_wire_array(first)[1]) if np.ndim(first) else 1
    if protocol == "oip":
        return Request(_INFER, _infer_request(inputs, model), images)
    return Request(PREDICT, encode_request(inputs, model=model), images)


def _infer_request(inputs: Mapping[str, ArrayLike], model: str) -> bytes:
    """The bytes of a ``ModelInferRequest`` with raw contents."""
    request = ModelInferRequest(model_name=model)
    for name, value in inputs.items():
        wire_type, array = to_wire_array(value)
        request.inputs.add(name=name, datatype=datatype_of(wire_type.name), shape=array.shape)
        strings = array.dtype == object
        request.raw_input_contents.append(strings_to_raw(array.ravel().tolist()) if strings else array.tobytes())
    data: bytes = request.SerializeToString()
    return data


def _described(connection: Connection, protocol: str, model: str) -> tuple[TensorMetadata, ...]:
    try:
        if protocol == "predict":
            spec = ModelSpec(name=model)
            question = GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_FIELD])
            answer = _ask(connection, GET_MODEL_METADATA, question.SerializeToString())
            return read_metadata(answer, connection.target).inputs
        question = ModelMetadataRequest(name=model)
        answer = _ask(connection, _MODEL_METADATA, question.SerializeToString())
        return tuple(_tensor(one, connection.target) for one in ModelMetadataResponse.FromString(answer).inputs)
    except grpc.RpcError as error:
        said = " ".join((error.details() or "").split())
        advice = "" if model else "; a server of several models wants to hear the name: --model NAME"
        raise ServiceError(
            f"{connection.target} does not say what its inputs are: {error.code().name}: {said}{advice}",
            error.code().name,
        ) from error
    except DecodeError:
        raise ServiceError(f"{connection.target} sent model metadata that cannot be read") from None


def _ask(connection: Connection, method: str, question: bytes) -> bytes:
    with connection.borrowed(method) as (call, metadata):
        answer: bytes = call(question, timeout=_METADATA_SECONDS, metadata=metadata)
    return answer


def _tensor(one: Any, target: str) -> TensorMetadata:
    wire_type = DATATYPES.get(one.datatype)
    if wire_type is None:
        raise ServiceError(
            f"{target} has an input {one.name!r} of datatype {one.datatype}, which is not spoken here"
        )
    shape = tuple(None if size < 0 else size for size in one.shape)
    return TensorMetadata(one.name, one.name, wire_type.name, shape)


def _images(described: Sequence[TensorMetadata], image: bytes, batch: int) -> dict[str, ArrayLike]:
    if len(described) != 1:
        names = ", ".join(repr(one.key) for one in described) or "none"
        raise InputError(f"an image goes to a network of one input; this one has {names}")
    return {described[0].key: [image] * batch}


def _noise(described: Sequence[TensorMetadata], batch: int, connection: Connection) -> dict[str, ArrayLike]:
    """Seeded noise: bytes for integers, 0 to 1 for the rest; as many images as asked where a network takes any."""
    rng = np.random.default_rng(0)
    inputs: dict[str, ArrayLike] = {}
    for one in described:
        if one.dtype == "string" or None in one.shape[1:]:
            raise InputError(
                f"{connection.target} takes {one.dtype} of shape {list(one.shape)} as {one.key!r}, which noise is "
                "not; say what to send: --image FILE"
            )
        shape = [batch if size is None else size for size in one.shape]
        inputs[one.key] = _random(rng, shape, np.dtype(one.dtype))
    return inputs


def _random(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return rng.random(shape, np.float32).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    return rng.integers(0, min(int(np.iinfo(dtype).max), 255) + 1, shape).astype(dtype)
