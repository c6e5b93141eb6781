"""Calls that outlive a restart of the service, and errors in our own terms."""

from __future__ import annotations

import numbers
import random
import threading
import time

import grpc

from fieldwave.client.spread import TRANSIENT, Connections, is_busy
from fieldwave.errors import InputError, ServiceError, TensorError
from fieldwave.wire.messages import HealthCheckResponse
from fieldwave.wire.methods import GET_MODEL_METADATA, HEALTH_CHECK, PREDICT

__all__ = ["call", "wait_until_serving"]

# They leave nothing behind: whether a service had begun with one when it failed makes no difference.
_REPEATABLE = frozenset((PREDICT, GET_MODEL_METADATA, HEALTH_CHECK))
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


async def call(connection: Connections, method: str, data: bytes, timeout: float) -> bytes:
    """Call ``method``; while the service is busy or not available, again and again within ``timeout`` seconds.

    The pauses grow, and the connections' budget says how often. Nothing else is tried again: what a service has
    refused it will refuse again. But a token that a function gave, and that is refused, may have ended, or its key
    may have been replaced: the function is asked for another, once.

    Raises:
        TensorError: the service refused the request (INVALID_ARGUMENT), in its words.
        ServiceError: the call failed; ``code`` has the status.
    """
    deadline = _deadline(timeout)
    closings = connection.closings
    pause = _FIRST_PAUSE
    renewed = retried = False
    while True:
        try:
            answer = await connection.call(method, data, max(deadline - time.monotonic(), 0.001))
        except (grpc.RpcError, ValueError) as error:
            if connection.closings != closings:
                raise ServiceError(f"the call to {connection.target} was ended by close()", "CANCELLED") from error
            if isinstance(error, ValueError):
                raise
            if error.code() is grpc.StatusCode.UNAUTHENTICATED and not renewed:
                renewed = True
                if await connection.channels.apart(connection.bearer.renew):
                    continue
            again = method in _REPEATABLE and (error.code() in TRANSIENT or is_busy(error))
            last = not again or time.monotonic() + pause >= deadline
            if last or pause == _FIRST_PAUSE:
                await _check_tls(connection, error, deadline)
            if last:
                raise _translated(error, connection, timeout) from error
            failure = error
        else:
            if retried:
                connection.budget.answered(retried=True)
            return answer
        retried = True
        # Many clients of one service must not come back in step.
        await connection.channels.sleep(pause * random.uniform(0.5, 1.0))
        while not connection.budget.take():
            if time.monotonic() + _FIRST_PAUSE >= deadline:
                raise _translated(failure, connection, timeout) from failure
            await connection.channels.sleep(_FIRST_PAUSE * random.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE)


async def wait_until_serving(connection: Connections, timeout: float) -> None:
    """Ask for the service's health until it is SERVING. A service without a health method counts as serving.

    Raises:
        ServiceError: it is not after ``timeout`` seconds, or it refuses to say.
    """
    deadline = _deadline(timeout)
    pause = _FIRST_PAUSE
    while True:
        try:
            answer = await connection.call(HEALTH_CHECK, b"", max(deadline - time.monotonic(), 0.001))
            status = HealthCheckResponse.FromString(answer).status
            if status == HealthCheckResponse.SERVING:
                return
            state = HealthCheckResponse.ServingStatus.Name(status)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise _translated(error, connection, timeout) from error
            await _check_tls(connection, error, deadline)
            state = _one_line(error)
        if time.monotonic() + pause >= deadline:
            raise ServiceError(f"{connection.target} is not ready after {timeout:g} s: {state}", "UNAVAILABLE")
        await connection.channels.sleep(pause)


async def _check_tls(connection: Connections, error: grpc.RpcError, deadline: float) -> None:
    """Raises ServiceError if the two sides will never agree on TLS."""
    diagnosis = await connection.diagnosis(error, deadline - time.monotonic())
    if diagnosis:
        raise ServiceError(diagnosis, "UNAVAILABLE") from error


def _deadline(timeout: float) -> float:
    if not isinstance(timeout, numbers.Real) or timeout > threading.TIMEOUT_MAX:
        raise InputError(f"timeout is {timeout!r}; give a finite number of seconds")
    if not timeout > 0:
        raise InputError(f"timeout is {timeout}; give more than 0 seconds")
    return time.monotonic() + timeout


def _translated(error: grpc.RpcError, connection: Connections, timeout: float) -> Exception:
    code, target = error.code(), connection.target
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return TensorError(_one_line(error))
    if code is grpc.StatusCode.UNAVAILABLE:
        text = f"{target} is not available, tried for {timeout:g} s: {_one_line(error)}"
    elif is_busy(error):
        text = f"{target} is busy, tried for {timeout:g} s: {_one_line(error)}"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"{target} did not answer within {timeout:g} s"
    else:
        text = f"{target} answered {code.name}: {_one_line(error)}"
    if code is grpc.StatusCode.UNAUTHENTICATED and not connection.bearer.given:
        text += "; give a key or a token as access_token"
    return ServiceError(text, code.name)


def _one_line(error: grpc.RpcError) -> str:
    return " ".join((error.details() or "").split())
