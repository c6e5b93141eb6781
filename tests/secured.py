"""A service with keys, and calls to it with whatever metadata: for tests of who may call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection_pb2

from fieldwave.keys import Keys, regenerate_key, write_keys
from fieldwave.serving import Server
from fieldwave.wire.messages import GetModelMetadataRequest, ModelInferRequest
from fieldwave.wire.requests import encode_request
from tests.served import tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CHECK = "/grpc.health.v1.Health/Check"


def _infer_request() -> bytes:
    request = ModelInferRequest(raw_input_contents=[tensor().tobytes()])
    request.inputs.add(name="images", datatype="FP32", shape=tensor().shape)
    data: bytes = request.SerializeToString()
    return data


REQUESTS = {
    PREDICT: encode_request({"images": tensor()}),
    "/tensorflow.serving.PredictionService/GetModelMetadata": GetModelMetadataRequest(
        metadata_field=["manifest"]
    ).SerializeToString(),
    "/tensorflow.serving.ModelService/GetModelStatus": b"",
    "/inference.GRPCInferenceService/ServerLive": b"",
    "/inference.GRPCInferenceService/ModelInfer": _infer_request(),
    "/grpc.health.v1.Health/Watch": b"",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": reflection_pb2.ServerReflectionRequest(
        list_services=""
    ).SerializeToString(),
    "/tensorflow.serving.PredictionService/NoSuchMethod": b"",
    "/no.such.Service/Method": b"",
}
ANSWERED = list(REQUESTS)[:7]

NO_KEY = "this service wants a key: send the metadata 'authorization: Bearer KEY'"
MALFORMED = "the metadata 'authorization' is not of the form 'Bearer KEY'"
WRONG = "the key is none of this service's keys; it may have been regenerated"
OLD = Keys.generate()


def keys_with_a_past(path: Path) -> Path:
    """Write keys of which the primary has been regenerated: `OLD` has the one before."""
    write_keys(path, OLD)
    regenerate_key(path, "primary")
    return path


@contextlib.contextmanager
def opened(server: Server, credentials: grpc.ChannelCredentials | None = None) -> Iterator[grpc.Channel]:
    address = f"127.0.0.1:{server.port}"
    # Channels in one process would else share a connection, and its handshake.
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        with grpc.insecure_channel(address, options) as channel:
            yield channel
    else:
        with grpc.secure_channel(address, credentials, options) as channel:
            yield channel


def ask(
    server: Server,
    method: str = PREDICT,
    *authorization: str,
    credentials: grpc.ChannelCredentials | None = None,
) -> tuple[grpc.StatusCode, str]:
    """The status of a call with these values of the metadata ``authorization``."""
    metadata = [("authorization", value) for value in authorization]
    with opened(server, credentials) as channel:
        call = channel.stream_stream(method)(iter([REQUESTS.get(method, b"")]), metadata=metadata, timeout=10)
        try:
            next(call)
            call.cancel()
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""
