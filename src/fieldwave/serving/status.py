"""Which gRPC status an error becomes, and what the client may read of it."""

from __future__ import annotations

import logging
import secrets

import grpc

from fieldwave.errors import DeviceError, InputError, NotFoundError
from fieldwave.serving.caller import CallerGoneError
from fieldwave.serving.decode import UnknownSignatureError

__all__ = ["BusyError", "NotReadyError", "status_of"]

_log = logging.getLogger(__name__)

# Trailers above 8 KiB are refused by many clients, and gRPC writes a byte outside of ASCII as three.
_MAX_TEXT_BYTES = 2048


class BusyError(Exception):
    """As many predictions are in hand as the service takes."""


class NotReadyError(Exception):
    """The model is still being loaded, or the service is stopping."""


_CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (UnknownSignatureError, grpc.StatusCode.FAILED_PRECONDITION),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (DeviceError, grpc.StatusCode.UNAVAILABLE),
    (NotReadyError, grpc.StatusCode.UNAVAILABLE),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (CallerGoneError, grpc.StatusCode.DEADLINE_EXCEEDED),
)


def status_of(error: Exception, number: str = "") -> tuple[grpc.StatusCode, str]:
    """The status code and text to answer with.

    An error that nobody foresaw is logged under a number, and the client reads only that number: its text may
    hold paths or data of other clients.

    Parameters:
        number: the request's id; one is made if there is none.
    """
    for kind, code in _CODES:
        if isinstance(error, kind):
            if isinstance(error, DeviceError):
                _log.error("the device failed: %s", error)
            return code, _shortened(str(error))
    number = number or secrets.token_hex(4)
    _log.error("request %s failed", number, exc_info=error)
    return (
        grpc.StatusCode.INTERNAL,
        f"internal error; the service's log has the details (request {number})",
    )


def _shortened(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) <= _MAX_TEXT_BYTES:
        return text
    return data[: _MAX_TEXT_BYTES - 3].decode(errors="ignore") + "..."
