"""Calls whose next message has not come yet: limited in number and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from fieldwave.serving.status import BusyError

__all__ = ["Receiving"]

_Context = Any  # grpc.ServicerContext


class Receiving:
    """Who is connected and says nothing holds a thread: only ``limit`` calls may, for ``patience`` seconds.

    Parameters:
        limit: the most calls that wait for a message at once.
        patience: how long one message may take to arrive; `end_overdue` ends the calls whose message takes longer.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self._ended = False
        self._lock = threading.Lock()
        self._since: dict[_Context, float] = {}

    def next(self, messages: Iterator[Any], context: _Context) -> Any | None:
        """The next message of the call ``context``; None if no more will come.

        Raises:
            BusyError: too many calls wait for messages.
            grpc.RpcError: the call has ended, by `end_overdue` or by its caller.
        """
        with self._lock:
            if self._ended or len(self._since) >= self._limit:
                raise BusyError(f"{self._limit} calls wait for their messages, no more are taken; try again later")
            self._since[context] = time.monotonic()
        try:
            return next(messages, None)
        finally:
            with self._lock:
                del self._since[context]

    def end_overdue(self) -> None:
        """End the calls that have waited for longer than ``patience``; they see CANCELLED."""
        self._end(time.monotonic() - self._patience)

    def end(self) -> None:
        """End all of them, and take no more."""
        with self._lock:
            self._ended = True
        self._end(float("inf"))

    def _end(self, since: float) -> None:
        with self._lock:
            for context, begin in self._since.items():
                if begin <= since:
                    context.cancel()
