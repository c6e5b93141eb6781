"""What all gRPC methods of a service have in common: how a request is received and an error is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from fieldwave.errors import TensorError
from fieldwave.serving.answered import Answered
from fieldwave.serving.call import GrpcCall
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.status import status_of

__all__ = ["GrpcMethods", "Methods", "parsed"]


class Methods(Protocol):
    """Makes of a service's functions what a front calls."""

    def predicting(self, protocol: str, predictor: Predictor, answer: Callable[[bytes, Any], bytes]) -> Any:
        """One whose answer takes the device."""

    def describing(self, protocol: str, answer: Callable[[bytes], bytes]) -> Any:
        """One whose answer is at hand."""


@dataclass(frozen=True)
class GrpcMethods:
    """Makes handlers of functions.

    They are registered as taking a stream, which on the wire is the same: so a handler can refuse a request
    before its body has been received, and does not wait for it for ever.

    Attributes:
        receiving: where requests are waited for. One that has not arrived takes none of the places.
        answered: told of each answer.
    """

    receiving: Receiving
    answered: Answered

    def predicting(
        self, protocol: str, predictor: Predictor, answer: Callable[[bytes, GrpcCall], bytes]
    ) -> grpc.RpcMethodHandler:
        """A handler whose answer takes the device; where that is not ready or has no room, nothing is received."""
        took = self.answered.metrics.took

        def method(requests: Iterator[bytes], call: GrpcCall) -> bytes:
            check(call)
            data = self._request(requests, call)
            result = answer(data, call)
            took(protocol, time.perf_counter() - call.begin)
            return result

        def check(call: GrpcCall) -> None:
            predictor.ready()
            predictor.places.check(call)

        return self._handler(protocol, method, check)

    def describing(self, protocol: str, answer: Callable[[bytes], bytes]) -> grpc.RpcMethodHandler:
        """A handler whose answer is at hand."""

        def method(requests: Iterator[bytes], call: GrpcCall) -> bytes:
            return answer(self._request(requests, call))

        return self._handler(protocol, method)

    def _request(self, requests: Iterator[bytes], call: GrpcCall) -> bytes:
        data: bytes | None
        if call.abandon is not None:  # our own server's: it has been received
            data = next(requests, None)
        else:
            data = self.receiving.next(requests, call.context, call.client)
        call.begin = time.perf_counter()
        if data is None:
            raise TensorError("the call ended without a request")
        return data

    def _handler(
        self,
        protocol: str,
        method: Callable[[Iterator[bytes], GrpcCall], bytes],
        check: Callable[[GrpcCall], None] = lambda call: None,
    ) -> grpc.RpcMethodHandler:
        def answer(requests: Iterator[bytes], context: Any) -> bytes:
            call: GrpcCall = getattr(context, "call", None) or GrpcCall(context)
            call.begin = time.perf_counter()
            refuse = getattr(context, "abandon", None)
            if refuse is not None:  # our own server's: it can be answered from another thread
                call.abandon = partial(self._abandon, protocol, call, refuse)
            # gRPC itself would send the text of any error.
            try:
                data = method(requests, call)
            except grpc.RpcError:
                # gRPC's own: the client went away while its request was being received
                self.answered(protocol, "CANCELLED", call, 0.0)
                raise
            except Exception as error:
                code, text = status_of(error, call.request_id)
            else:
                if not (refuse is not None and context.over):
                    self.answered(protocol, "OK", call, time.perf_counter() - call.begin)
                call.answer()
                return data
            if refuse is not None and context.over and code is grpc.StatusCode.UNAVAILABLE:
                return b""  # it has been answered
            self.answered(protocol, code.name, call, time.perf_counter() - call.begin, text)
            call.answer()
            context.abort(code, text)
            raise AssertionError("abort returned")

        def before(context: Any) -> tuple[grpc.StatusCode, str] | None:
            context.call = call = GrpcCall(context)
            try:
                check(call)
            except Exception as error:
                code, text = status_of(error, call.request_id)
            else:
                return None
            self.answered(protocol, code.name, call, 0.0, text)
            call.answer()
            return code, text

        answer.before = before  # type: ignore[attr-defined] # asked by our own server at the headers
        return grpc.stream_unary_rpc_method_handler(answer)

    def _abandon(
        self, protocol: str, call: GrpcCall, refuse: Callable[[grpc.StatusCode, str], None], error: Exception
    ) -> None:
        code, text = status_of(error, call.request_id)
        self.answered(protocol, code.name, call, time.perf_counter() - call.begin, text)
        call.answer()
        refuse(code, text)


def parsed(message: Any, data: bytes) -> Any:
    """The ``message`` in ``data``.

    Raises:
        TensorError: there is none.
    """
    try:
        return message.FromString(data)
    except DecodeError:
        raise TensorError(f"the bytes received are no {message.DESCRIPTOR.full_name}") from None
