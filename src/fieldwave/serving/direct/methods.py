"""The methods of a service for `fieldwave.serving.direct`: what is said of errors, and what is noted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from fieldwave.serving.answered import Answered
from fieldwave.serving.direct.call import DirectCall
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.status import status_of

__all__ = ["DirectMethod", "DirectMethods", "Outcome", "found"]


class Outcome(NamedTuple):
    """How a call ended.

    Attributes:
        code: gRPC's number; 0 with an answer.
        text: what the client is told in place of one.
    """

    code: int
    data: bytes = b""
    text: str = ""


@dataclass(frozen=True)
class DirectMethod:
    """One method.

    Attributes:
        protocol: its name in metrics and logs.
        predictor: whose device it takes; None for one whose answer is at hand.
        answer: to the bytes of a request.
        answered: told of each answer.
    """

    protocol: str
    predictor: Predictor | None
    answer: Callable[[Any, Any], bytes]
    answered: Answered

    def refusal(self, call: DirectCall) -> Outcome | None:
        """Why a call is not even received; None if it is."""
        if self.predictor is None:
            return None
        try:
            self.predictor.ready()
            self.predictor.places.check(call)
        except Exception as error:
            return self.failed(call, error)
        return None

    def __call__(self, call: DirectCall, data: Any) -> Outcome:
        """The outcome of a call whose request is here."""
        call.begin = time.perf_counter()
        try:
            answer = self.answer(data, call)
        except Exception as error:
            return self.failed(call, error)
        return Outcome(0, answer)

    def note(self, call: DirectCall, outcome: Outcome) -> None:
        """Count and log it; when the client has it already."""
        seconds = time.perf_counter() - call.begin
        if not outcome.code and self.predictor is not None:
            self.answered.metrics.took(self.protocol, seconds)
        self.answered(self.protocol, _NAMES[outcome.code], call, seconds, outcome.text)

    def failed(self, call: DirectCall, error: Exception) -> Outcome:
        """What is told of an error."""
        code, text = status_of(error, call.request_id)
        return Outcome(code.value[0], text=text)


@dataclass(frozen=True)
class DirectMethods:
    """Makes methods of functions, as `fieldwave.serving.grpc_methods.GrpcMethods` does.

    Attributes:
        answered: told of each answer.
    """

    answered: Answered

    def predicting(
        self, protocol: str, predictor: Predictor, answer: Callable[[bytes, Any], bytes]
    ) -> DirectMethod:
        """One whose answer takes the device."""
        return DirectMethod(protocol, predictor, answer, self.answered)

    def describing(self, protocol: str, answer: Callable[[bytes], bytes]) -> DirectMethod:
        """One whose answer is at hand."""
        return DirectMethod(protocol, None, lambda data, call: answer(bytes(data)), self.answered)


class _Asked(NamedTuple):
    method: str
    invocation_metadata: tuple[()] = ()


def found(handlers: Iterable[grpc.GenericRpcHandler], path: str) -> DirectMethod | None:
    """The method at a path such as ``/inference.GRPCInferenceService/ModelInfer``."""
    for each in handlers:
        method: DirectMethod | None = each.service(_Asked(path))
        if method is not None:
            return method
    return None


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
