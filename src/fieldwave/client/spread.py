"""Several replicas as one service: they take turns, and one that does not answer is left out for a while."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import grpc

from fieldwave.client.budget import RetryBudget
from fieldwave.client.connection import Connection
from fieldwave.client.diagnosis import diagnose
from fieldwave.errors import FieldwaveError

__all__ = ["TRANSIENT", "Connections", "is_busy"]

# A server that shuts down also cancels the calls that reach it in that moment.
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_TOO_LARGE = "message larger than max"  # gRPC's words, on either side
_FIRST_REST = 1.0
_LONGEST_REST = 16.0
_LEARN_SECONDS, _LEARN_SECONDS_AFTER_FAILURE = 10.0, 0.5


class Connections:
    """The connections to the replicas of one service, used as one; safe to use from several threads.

    Calls go round the replicas. One that is not available, or let a call's time run out, rests: 1 s, and twice as
    long each time that it fails again, up to 16 s. A call that one replica is too busy for, or is gone for, goes
    to the next at once, as the budget of tries allows. While all of them rest, all are tried.

    Parameters:
        connections: to the replicas that there are now.
        learn: tells, at any time, the ``host:port`` of those that there are then; asked every 10 s while there are
            calls, and half a second after one that failed. What it cannot tell leaves all as it is.
        connect: makes the connection to one more.

    Attributes:
        closings: how often `close` was called.
        bearer: what the calls show.
        channels: how they wait.
        budget: how often calls may be tried again.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        learn: Callable[[], Sequence[str]] | None = None,
        connect: Callable[[str], Connection] | None = None,
    ) -> None:
        self.closings = 0
        self.bearer = connections[0].bearer
        self.channels = connections[0].channels
        self.budget = RetryBudget()
        self._replicas = [_Replica(connection) for connection in connections]
        self._learn, self._connect = learn, connect
        self._learn_at = time.monotonic() + _LEARN_SECONDS
        self._turns = itertools.count()
        self._lock = threading.Lock()

    @property
    def target(self) -> str:
        """The addresses, for messages."""
        return ", ".join(replica.connection.target for replica in self._replicas)

    @property
    def each(self) -> tuple[Connection, ...]:
        """The connections."""
        return tuple(replica.connection for replica in self._replicas)

    async def call(self, method: str, data: bytes, timeout: float) -> bytes:
        """One attempt at a unary call, at each replica that may answer if need be.

        Raises:
            grpc.RpcError: it failed at the last of them, or was refused.
            ValueError: the connections were closed meanwhile.
        """
        deadline = time.monotonic() + timeout
        closings = self.closings
        if self._learn is not None and time.monotonic() >= self._learn_at:
            await self._look_again(self._learn)
        replicas = self._in_turn()
        for number, replica in enumerate(replicas, start=1):
            try:
                answer = await replica.connection.call(method, data, max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                gone = error.code() in TRANSIENT
                if gone or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    replica.rest()
                    self._learn_at = min(self._learn_at, time.monotonic() + _LEARN_SECONDS_AFTER_FAILURE)
                last = number == len(replicas) or time.monotonic() >= deadline or self.closings != closings
                if last or not (gone or is_busy(error)) or not self.budget.take():
                    raise
            else:
                replica.wake()
                self.budget.answered(retried=number > 1)
                return answer
        raise AssertionError("there is at least one replica")

    async def diagnosis(self, error: grpc.RpcError, timeout: float) -> str:
        """Why no replica can be talked to, if TLS is the reason: trying again does not mend that; else empty."""
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            return ""
        connection = next((one.connection for one in self._replicas if one.rests()), self._replicas[0].connection)
        said = error.details() or ""
        return await self.channels.apart(lambda: diagnose(connection.target, connection.tls, said, timeout))

    async def close(self) -> None:
        """Close all; the next call opens what it needs."""
        self.closings += 1
        for replica in self._replicas:
            await replica.connection.close()

    async def _look_again(self, learn: Callable[[], Sequence[str]]) -> None:
        """Keep the replicas that are still there, and take up those that are new."""
        self._learn_at = time.monotonic() + _LEARN_SECONDS  # first: other threads need not look, too
        try:
            targets = await self.channels.apart(learn)
        except FieldwaveError:
            return
        if not targets or self._connect is None:
            return
        with self._lock:
            known = {replica.connection.target: replica for replica in self._replicas}
            self._replicas = [
                known.pop(one) if one in known else _Replica(self._connect(one)) for one in dict.fromkeys(targets)
            ]
        for replica in known.values():
            await replica.connection.retire()

    def _in_turn(self) -> list[_Replica]:
        with self._lock:
            first = next(self._turns) % len(self._replicas)
            ordered = self._replicas[first:] + self._replicas[:first]
        return [replica for replica in ordered if not replica.rests()] or ordered


class _Replica:
    """A connection, and until when it is left out."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._next_rest = _FIRST_REST
        self._until = 0.0

    def rests(self) -> bool:
        return time.monotonic() < self._until

    def rest(self) -> None:
        # Of several calls that fail at the same time one counts.
        if not self.rests():
            self._until = time.monotonic() + self._next_rest
            self._next_rest = min(2 * self._next_rest, _LONGEST_REST)

    def wake(self) -> None:
        self._next_rest, self._until = _FIRST_REST, 0.0


def is_busy(error: grpc.RpcError) -> bool:
    """Whether a place may become free; a message that is too large, which has the same status, stays so."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE not in (error.details() or "")
