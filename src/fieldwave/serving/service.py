"""The methods of ``tensorflow.serving.PredictionService`` over one model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from fieldwave.errors import TensorError
from fieldwave.serving.decode import check_model, decode
from fieldwave.serving.encode import encode, fill_model_spec
from fieldwave.serving.execution import Executor, ReplacedError, check_waiting
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.signature import Signature, quoted
from fieldwave.serving.status import BusyError, NotReadyError, status_of
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

_Context = Any  # grpc.ServicerContext


class PredictionService:
    """Predict and GetModelMetadata.

    Parameters:
        signature: of the model.
        max_batch: the most images in one request.
        capacity: the most predictions in hand; whoever comes then is refused.
        receiving: where requests are waited for. One that has not arrived takes none of the places.
        manifest: the package's ``manifest.json``, for clients that ask for it.

    Attributes:
        executor: set once the model is loaded, None before and after.
    """

    def __init__(
        self, signature: Signature, *, max_batch: int, capacity: int, receiving: Receiving, manifest: bytes = b"{}"
    ) -> None:
        self.executor: Executor | None = None
        self._signature = signature  # a request reads it once
        self._max_batch = max_batch
        self._capacity = capacity
        self._receiving = receiving
        self._manifest = manifest.decode()
        self._free = threading.Semaphore(capacity)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handlers to add to a server.

        They are registered as taking a stream, which on the wire is the same: so a handler can refuse a request
        before its body has been received, and does not wait for it for ever.
        """
        return grpc.method_handlers_generic_handler(
            PREDICTION_SERVICE,
            {
                "Predict": grpc.stream_unary_rpc_method_handler(_answered(self._predict)),
                "GetModelMetadata": grpc.stream_unary_rpc_method_handler(_answered(self._metadata)),
            },
        )

    def replace(self, signature: Signature, manifest: bytes) -> None:
        """Describe another model from now on: the executor's, which has just been loaded."""
        self._signature, self._manifest = signature, manifest.decode()

    def _predict(self, requests: Iterator[bytes], context: _Context) -> bytes:
        executor = self.executor
        if executor is None:
            raise NotReadyError(f"model {self._signature.model!r} is not ready; try again")
        data = self._request(requests, context)
        if not self._free.acquire(blocking=False):
            raise BusyError(f"{self._capacity} predictions are in hand, no more are taken; try again later")
        try:
            while True:
                loads, signature = executor.loads, self._signature
                waiting = partial(check_waiting, context)
                prediction = decode(data, signature, max_batch=self._max_batch, go_on=waiting)
                try:
                    results = executor.run(prediction.inputs, context, loads)
                except ReplacedError:
                    continue  # its bytes are what the client sent: they are for the new model now
                return encode(results, prediction, signature, once=_wants_names_once(context))
        finally:
            self._free.release()

    def _request(self, requests: Iterator[bytes], context: _Context) -> bytes:
        data: bytes | None = self._receiving.next(requests, context)
        if data is None:
            raise TensorError("the call ended without a request")
        return data

    def _metadata(self, requests: Iterator[bytes], context: _Context) -> bytes:
        data = self._request(requests, context)
        try:
            request = GetModelMetadataRequest.FromString(data)
        except DecodeError:
            raise TensorError("the bytes received are no tensorflow.serving.GetModelMetadataRequest") from None
        signature = self._signature
        check_model(request.model_spec, signature)
        if not request.metadata_field:
            raise TensorError(f"metadata_field is empty; ask for {SIGNATURE_FIELD!r} or {MANIFEST_FIELD!r}")
        response = GetModelMetadataResponse()
        fill_model_spec(response.model_spec, signature)
        for field in request.metadata_field:
            response.metadata[field].Pack(self._described(field))
        answer: bytes = response.SerializeToString()
        return answer

    def _described(self, field: str) -> Message:
        if field == MANIFEST_FIELD:
            return StringValue(value=self._manifest)
        if field != SIGNATURE_FIELD:
            raise TensorError(
                f"unknown metadata_field {quoted(field)}; ask for {SIGNATURE_FIELD!r} or {MANIFEST_FIELD!r}"
            )
        signatures = SignatureDefMap()
        signatures.signature_def[DEFAULT_SIGNATURE].CopyFrom(self._signature.to_proto())
        return signatures


def _answered(method: Callable[[Any, _Context], bytes]) -> Callable[[Any, _Context], bytes]:
    """``method`` with its errors as gRPC statuses; gRPC itself would send the text of any error."""

    def answer(request: Any, context: _Context) -> bytes:
        try:
            return method(request, context)
        except grpc.RpcError:
            raise  # gRPC's own: the client went away while its request was being received
        except Exception as error:
            code, text = status_of(error)
        context.abort(code, text)
        raise AssertionError("abort returned")

    return answer


def _wants_names_once(context: _Context) -> bool:
    return (OUTPUT_NAMES_KEY, OUTPUT_NAMES_ONCE) in (tuple(item) for item in context.invocation_metadata())
