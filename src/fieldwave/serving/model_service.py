"""The method of ``tensorflow.serving.ModelService``: in which state the model is."""

from __future__ import annotations

import grpc

from fieldwave.serving.decode import check_model
from fieldwave.serving.grpc_methods import Methods, parsed
from fieldwave.serving.models import Models
from fieldwave.serving.predictor import Predictor
from fieldwave.wire.messages import GetModelStatusRequest, GetModelStatusResponse
from fieldwave.wire.methods import MODEL_SERVICE, MODEL_VERSION

__all__ = ["ModelService", "model_status"]


class ModelService:
    """GetModelStatus. There is no HandleReloadConfigRequest: who may call a service may not change it."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def handlers(self, methods: Methods) -> grpc.GenericRpcHandler:
        """The handlers to add to a server."""
        return grpc.method_handlers_generic_handler(
            MODEL_SERVICE, {"GetModelStatus": methods.describing("get_model_status", self._status)}
        )

    def _status(self, data: bytes) -> bytes:
        request = parsed(GetModelStatusRequest, data)
        predictor = self._models.of(request.model_spec.name)
        check_model(request.model_spec, predictor.model.signature)
        state, code, text = model_status(predictor)
        response = GetModelStatusResponse()
        response.model_version_status.add(
            version=MODEL_VERSION, state=state, status={"error_code": code, "error_message": text}
        )
        answer: bytes = response.SerializeToString()
        return answer


def model_status(predictor: Predictor) -> tuple[str, int, str]:
    """The model's state by TensorFlow Serving's name, a gRPC status code and what there is to say about it.

    It is AVAILABLE with status 14 (UNAVAILABLE) while the device of a loaded model does not answer.
    """
    match predictor.state:
        case "serving":
            return "AVAILABLE", *((0, "") if predictor.serving else (14, "the device does not answer"))
        case "stopping":
            return "UNLOADING", 0, "the service is stopping"
        case "programming":
            return "LOADING", 0, "PROGRAMMING: the device is loading the network"
    return "LOADING", 0, "waiting for a device"
