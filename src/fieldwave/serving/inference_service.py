"""The methods of ``inference.GRPCInferenceService``, the Open Inference Protocol, over one model."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc

from fieldwave.package import TensorSpec
from fieldwave.serving.call import GrpcCall
from fieldwave.serving.grpc_methods import Methods, parsed
from fieldwave.serving.infer import check_name, encode_infer, read_infer
from fieldwave.serving.models import Models
from fieldwave.version import __version__
from fieldwave.wire.inference import datatype_of
from fieldwave.wire.messages import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from fieldwave.wire.methods import INFERENCE_SERVICE, MODEL_VERSION

__all__ = ["PLATFORM", "SERVER_NAME", "InferenceService", "tensor_metadata"]

SERVER_NAME = "fieldwave"
PLATFORM = "fieldwave_int8"


class InferenceService:
    """All of the service's methods.

    Parameters:
        models: what is served.
        max_batch: the most images in one request.
    """

    def __init__(self, models: Models, *, max_batch: int) -> None:
        self._models = models
        self._max_batch = max_batch

    def handlers(self, methods: Methods) -> grpc.GenericRpcHandler:
        """The handlers to add to a server."""
        return grpc.method_handlers_generic_handler(
            INFERENCE_SERVICE,
            {
                "ModelInfer": methods.predicting("infer", self._models.first, self._infer),
                "ServerLive": methods.describing("server_live", self._live),
                "ServerReady": methods.describing("server_ready", self._ready),
                "ModelReady": methods.describing("model_ready", self._model_ready),
                "ServerMetadata": methods.describing("server_metadata", self._server),
                "ModelMetadata": methods.describing("model_metadata", self._model),
            },
        )

    def _infer(self, data: bytes, call: GrpcCall) -> bytes:
        request = read_infer(data)
        return self._models.of(request.model).predict(
            call,
            partial(request.decode, max_batch=self._max_batch),
            partial(encode_infer, id=request.id, raw=request.raw),
        )

    def _live(self, data: bytes) -> bytes:
        return _bytes(ServerLiveResponse(live=True))

    def _ready(self, data: bytes) -> bytes:
        return _bytes(ServerReadyResponse(ready=self._models.serving))

    def _model_ready(self, data: bytes) -> bytes:
        request = parsed(ModelReadyRequest, data)
        predictor = self._models.of(request.name)
        check_name(request.name, request.version, predictor.model.signature)
        return _bytes(ModelReadyResponse(ready=predictor.serving))

    def _server(self, data: bytes) -> bytes:
        return _bytes(ServerMetadataResponse(name=SERVER_NAME, version=__version__))

    def _model(self, data: bytes) -> bytes:
        request = parsed(ModelMetadataRequest, data)
        model = self._models.of(request.name).model
        signature = model.signature
        check_name(request.name, request.version, signature)
        response = ModelMetadataResponse(name=signature.model, versions=[str(MODEL_VERSION)], platform=PLATFORM)
        for specs, described in ((signature.inputs, response.inputs), (signature.outputs, response.outputs)):
            for spec in specs:
                described.add(**tensor_metadata(spec))
        for spec in signature.inputs:
            response.properties[f"accepts:{spec.public_name}"] = signature.accepted(spec).text
        response.properties["device"] = model.device
        return _bytes(response)


def tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """Name, datatype and shape, -1 for the batch, as the protocol describes tensors."""
    shape = [-1 if size is None else size for size in spec.shape]
    return {"name": spec.public_name, "datatype": datatype_of(spec.dtype), "shape": shape}


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
