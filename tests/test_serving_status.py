from __future__ import annotations

import re

import grpc
import pytest

from fieldwave.errors import DeviceBusyError, ImageError, NotFoundError, TensorError
from fieldwave.serving.caller import CallerGoneError
from fieldwave.serving.decode import UnknownSignatureError
from fieldwave.serving.status import BusyError, NotReadyError, status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TensorError("text"), grpc.StatusCode.INVALID_ARGUMENT),
        (ImageError("text"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnknownSignatureError("text"), grpc.StatusCode.FAILED_PRECONDITION),
        (NotFoundError("text"), grpc.StatusCode.NOT_FOUND),
        (DeviceBusyError("text"), grpc.StatusCode.UNAVAILABLE),
        (NotReadyError("text"), grpc.StatusCode.UNAVAILABLE),
        (BusyError("text"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (CallerGoneError("text"), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_every_error_has_its_status(error: Exception, code: grpc.StatusCode) -> None:
    assert status_of(error) == (code, "text")


def test_an_unforeseen_error_is_logged_and_its_text_withheld(caplog: pytest.LogCaptureFixture) -> None:
    code, text = status_of(RuntimeError("secret path /etc/keys"))
    assert code is grpc.StatusCode.INTERNAL
    assert re.fullmatch(r"internal error; the service's log has the details \(request [0-9a-f]{8}\)", text)
    number = text[-9:-1]
    assert caplog.messages == [f"request {number} failed"]
    assert "secret path /etc/keys" in caplog.text


def test_a_long_text_is_cut_to_what_a_trailer_holds() -> None:
    _, text = status_of(TensorError("é" * 5000))
    assert text == "é" * 1022 + "..."
