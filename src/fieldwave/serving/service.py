"""The methods of ``tensorflow.serving.PredictionService`` over one model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc
from google.protobuf.message import Message

from fieldwave.errors import TensorError
from fieldwave.serving.assemble import Prediction
from fieldwave.serving.call import GrpcCall
from fieldwave.serving.decode import asked_model, check_model, decode
from fieldwave.serving.encode import encode, fill_model_spec
from fieldwave.serving.grpc_methods import Methods, parsed
from fieldwave.serving.models import Models
from fieldwave.serving.predictor import Model
from fieldwave.serving.signature import Signature, quoted
from fieldwave.wire.messages import GetModelMetadataRequest, GetModelMetadataResponse, SignatureDefMap, StringValue
from fieldwave.wire.methods import (
    DEFAULT_SIGNATURE,
    MANIFEST_FIELD,
    OUTPUT_NAMES_KEY,
    OUTPUT_NAMES_ONCE,
    PREDICTION_SERVICE,
    SIGNATURE_FIELD,
)

__all__ = ["PredictionService"]


class PredictionService:
    """Predict and GetModelMetadata.

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
            PREDICTION_SERVICE,
            {
                "Predict": methods.predicting("predict", self._models.first, self._predict),
                "GetModelMetadata": methods.describing("get_model_metadata", self._metadata),
            },
        )

    def _predict(self, data: bytes, call: GrpcCall) -> bytes:
        def read(signature: Signature, go_on: Callable[[], None]) -> Prediction:
            return decode(data, signature, max_batch=self._max_batch, go_on=go_on)

        once = call.metadata.get(OUTPUT_NAMES_KEY) == OUTPUT_NAMES_ONCE
        predictor = self._models.first if self._models.alone else self._models.of(asked_model(data))
        return predictor.predict(call, read, partial(encode, once=once))

    def _metadata(self, data: bytes) -> bytes:
        request = parsed(GetModelMetadataRequest, data)
        model = self._models.of(request.model_spec.name).model
        check_model(request.model_spec, model.signature)
        if not request.metadata_field:
            raise TensorError(f"metadata_field is empty; ask for {SIGNATURE_FIELD!r} or {MANIFEST_FIELD!r}")
        response = GetModelMetadataResponse()
        fill_model_spec(response.model_spec, model.signature)
        for field in request.metadata_field:
            response.metadata[field].Pack(_described(field, model))
        answer: bytes = response.SerializeToString()
        return answer


def _described(field: str, model: Model) -> Message:
    if field == MANIFEST_FIELD:
        return StringValue(value=model.manifest)
    if field != SIGNATURE_FIELD:
        raise TensorError(
            f"unknown metadata_field {quoted(field)}; ask for {SIGNATURE_FIELD!r} or {MANIFEST_FIELD!r}"
        )
    signatures = SignatureDefMap()
    signatures.signature_def[DEFAULT_SIGNATURE].CopyFrom(model.signature.to_proto())
    return signatures
