"""How a client waits: in its own thread, or in an event loop. This is all that its two forms differ in.

What is above is written once, as coroutines. `BLOCKING` never suspends one, so that `finish` runs it to its end
without any loop; `AWAITING` leaves the waiting to asyncio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import grpc

__all__ = ["AWAITING", "BLOCKING", "Channels", "finish"]

Result = TypeVar("Result")
Metadata = tuple[tuple[str, str], ...]


class Channels(Protocol):
    """gRPC's channels of one kind, and the ways to wait that belong to it."""

    def home(self) -> object:
        """What a channel is bound to; one that was opened elsewhere is of no use here."""

    def open(
        self, target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
    ) -> Any:
        """A channel to ``target``, in plain text without ``credentials``."""

    async def call(self, method: Any, data: bytes, timeout: float, metadata: Metadata) -> bytes:
        """Call a method of a channel.

        Raises:
            grpc.RpcError: it failed.
            ValueError: the channel was closed.
        """

    async def close(self, channel: Any) -> None:
        """Close a channel and end its calls."""

    async def sleep(self, seconds: float) -> None:
        """Pause."""

    async def apart(self, function: Callable[[], Result]) -> Result:
        """The result of a function that blocks."""


class _Blocking:
    """In the caller's thread."""

    def home(self) -> object:
        return None

    def open(
        self, target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
    ) -> Any:
        if credentials is None:
            return grpc.insecure_channel(target, options=options)
        return grpc.secure_channel(target, credentials, options=options)

    async def call(self, method: Any, data: bytes, timeout: float, metadata: Metadata) -> bytes:
        answer: bytes = method(data, timeout=timeout, metadata=metadata)
        return answer

    async def close(self, channel: Any) -> None:
        channel.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def apart(self, function: Callable[[], Result]) -> Result:
        return function()


class _Awaiting:
    """In the event loop that runs."""

    def home(self) -> object:
        return asyncio.get_running_loop()

    def open(
        self, target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
    ) -> Any:
        if credentials is None:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, credentials, options=options)

    async def call(self, method: Any, data: bytes, timeout: float, metadata: Metadata) -> bytes:
        try:
            answer: bytes = await method(data, timeout=timeout, metadata=metadata)
        except grpc.aio.UsageError as error:
            raise ValueError(str(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ValueError("the channel was closed") from None  # which gRPC tells in the same words
        return answer

    async def close(self, channel: Any) -> None:
        await channel.close()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def apart(self, function: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(function)


BLOCKING: Channels = _Blocking()
AWAITING: Channels = _Awaiting()


def finish(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine of the blocking client waited for an event loop")
