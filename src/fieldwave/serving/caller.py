"""Who waits for a prediction."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Caller", "CallerGoneError", "check_waiting"]


class Caller(Protocol):
    """Who waits for a prediction.

    Attributes:
        client: what all the calls of one client have in common; turns are fair between clients.
    """

    client: str

    def is_active(self) -> bool:
        """Whether the caller still wants the answer."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None if never."""


class CallerGoneError(Exception):
    """The caller cancelled, or its deadline passed, before the device was free."""


def check_waiting(caller: Caller) -> None:
    """Raise `CallerGoneError` if ``caller`` waits no longer."""
    patience = caller.time_remaining()
    if not caller.is_active() or (patience is not None and patience <= 0):
        raise CallerGoneError
