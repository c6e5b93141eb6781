"""Calls whose next message has not come yet: limited in number and in time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fieldwave.serving.status import BusyError

__all__ = ["Receiving"]

_Context = Any  # grpc.ServicerContext

_SLOW_SECONDS = 1.0
"""A call that has waited for so long for its message may have to make room for one that has just come."""


@dataclass
class _Waiting:
    client: str
    since: float


class Receiving:
    """Who is connected and says nothing holds a thread: only ``limit`` calls may, for ``patience`` seconds.

    When there are as many, a newcomer takes the place of the slowest call of the client that has most, if that one
    keeps no fewer than the newcomer has then, or of the slowest of all, if that is slow. So who sends his messages
    at once is served beside others who never end theirs.

    Parameters:
        limit: the most calls that wait for a message at once.
        patience: how long one message may take to arrive; `end_overdue` ends the calls whose message takes longer.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self._ended = False
        self._lock = threading.Lock()
        self._waiting: dict[_Context, _Waiting] = {}  # the oldest first
        self._most = 0

    def next(self, messages: Iterator[Any], context: _Context, client: str = "") -> Any | None:
        """The next message of the call ``context`` of ``client``; None if no more will come.

        Raises:
            BusyError: too many calls wait for messages.
            grpc.RpcError: the call has ended, by its caller, by `end_overdue`, or since it was slow.
        """
        self.enter(context, client)
        try:
            return next(messages, None)
        finally:
            self.leave(context)

    def enter(self, context: _Context, client: str = "") -> None:
        """The call ``context`` of ``client`` waits for its message from now on, until it leaves.

        Raises:
            BusyError: too many calls wait for messages.
        """
        slow = None
        with self._lock:
            if self._ended or (len(self._waiting) >= self._limit and (slow := self._slow(client)) is None):
                raise BusyError(f"{self._limit} calls wait for their messages, no more are taken; try again later")
            if slow is not None:
                del self._waiting[slow]
            self._waiting[context] = _Waiting(client, time.monotonic())
            self._most = max(self._most, len(self._waiting))
        if slow is not None:
            slow.cancel()

    def leave(self, context: _Context) -> None:
        """It waits no longer."""
        with self._lock:
            self._waiting.pop(context, None)

    def crowd(self) -> int:
        """How many calls waited at once, at the most, since this was asked last."""
        with self._lock:
            most, self._most = self._most, len(self._waiting)
            return most

    def _slow(self, client: str) -> _Context | None:
        """Who has to make room for ``client``."""
        now = time.monotonic()
        slowest, waiting = next(iter(self._waiting.items()))
        if now - waiting.since < _SLOW_SECONDS:
            counts = Counter(each.client for each in self._waiting.values())
            [(greediest, most)] = counts.most_common(1)
            if most - 1 < counts[client] + 1:
                return None
            slowest = next(context for context, each in self._waiting.items() if each.client == greediest)
        return slowest

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
            overdue = [context for context, waiting in self._waiting.items() if waiting.since <= since]
        for context in overdue:
            context.cancel()
