from __future__ import annotations

from typing import Any

import pytest

from fieldwave.errors import InputError
from fieldwave.serving import ServeOptions
from tests.served import package


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"grpc_port": 65536}, "port 65536 does not exist; choose one from 1 to 65535, or 0 for a free one"),
        ({"grpc_port": -1}, "port -1 does not exist; choose one from 1 to 65535, or 0 for a free one"),
        ({"probe_port": 65536}, "port 65536 does not exist; choose one from 1 to 65535, or 0 for a free one"),
        (
            {"grpc_port": 50051, "probe_port": 50051},
            "predictions and probes are both to be on port 50051; choose two ports",
        ),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"max_batch": 0}, "max_batch is 0; it must be at least 1"),
        ({"max_message_bytes": 0}, "max_message_bytes is 0; it must be at least 1"),
        (
            {"max_connection_age_seconds": 0},
            "max_connection_age_seconds is 0; it must be more than 0",
        ),
        ({"receive_seconds": 0}, "receive_seconds is 0; it must be more than 0"),
        ({"recovery_seconds": -1.0}, "recovery_seconds is -1.0; it must be more than 0"),
        ({"grace_seconds": float("nan")}, "grace_seconds is nan; it must be at least 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), **options)
    assert str(caught.value) == text
