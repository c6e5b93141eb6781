"""The protocol's message classes, from ``messages.pb``, in a descriptor pool of their own.

They keep TensorFlow's full names (``tensorflow.TensorProto``, ``tensorflow.serving.PredictRequest``), which
``Any`` and reflection need. The private pool is what lets one process import them beside TensorFlow or a
client of TensorFlow Serving, which register the same names in protobuf's default pool.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

__all__ = [
    "FILES",
    "DataType",
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "InferTensorContents",
    "ModelInferRequest",
    "ModelInferResponse",
    "ModelMetadataRequest",
    "ModelMetadataResponse",
    "ModelReadyRequest",
    "ModelReadyResponse",
    "ModelSpec",
    "PredictRequest",
    "PredictResponse",
    "ServerLiveRequest",
    "ServerLiveResponse",
    "ServerMetadataRequest",
    "ServerMetadataResponse",
    "ServerReadyRequest",
    "ServerReadyResponse",
    "SignatureDef",
    "SignatureDefMap",
    "StringValue",
    "TensorInfo",
    "TensorProto",
    "TensorShapeProto",
]

FILES: tuple[bytes, ...] = (
    any_pb2.DESCRIPTOR.serialized_pb,
    wrappers_pb2.DESCRIPTOR.serialized_pb,
    *(
        file.SerializeToString()
        for file in descriptor_pb2.FileDescriptorSet.FromString(
            files(__package__).joinpath("messages.pb").read_bytes()
        ).file
    ),
)
"""Serialized file descriptors, each after those it imports: what a reflection service has to know."""

_POOL = descriptor_pool.DescriptorPool()
for _file in FILES:
    _POOL.AddSerializedFile(_file)


def _message(full_name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


DataType: dict[str, int] = {
    value.name: value.number for value in _POOL.FindEnumTypeByName("tensorflow.DataType").values
}
TensorShapeProto = _message("tensorflow.TensorShapeProto")
TensorProto = _message("tensorflow.TensorProto")
TensorInfo = _message("tensorflow.TensorInfo")
SignatureDef = _message("tensorflow.SignatureDef")

ModelSpec = _message("tensorflow.serving.ModelSpec")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")

ServerLiveRequest = _message("inference.ServerLiveRequest")
ServerLiveResponse = _message("inference.ServerLiveResponse")
ServerReadyRequest = _message("inference.ServerReadyRequest")
ServerReadyResponse = _message("inference.ServerReadyResponse")
ServerMetadataRequest = _message("inference.ServerMetadataRequest")
ServerMetadataResponse = _message("inference.ServerMetadataResponse")
ModelReadyRequest = _message("inference.ModelReadyRequest")
ModelReadyResponse = _message("inference.ModelReadyResponse")
ModelMetadataRequest = _message("inference.ModelMetadataRequest")
ModelMetadataResponse = _message("inference.ModelMetadataResponse")
InferTensorContents = _message("inference.InferTensorContents")
ModelInferRequest = _message("inference.ModelInferRequest")
ModelInferResponse = _message("inference.ModelInferResponse")

StringValue = _message("google.protobuf.StringValue")

HealthCheckRequest = _message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = _message("grpc.health.v1.HealthCheckResponse")
