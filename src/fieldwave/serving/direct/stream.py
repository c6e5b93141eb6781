"""What is known of one call while it is received and answered."""

from __future__ import annotations

import time

import numpy as np

from fieldwave.serving.direct.call import DirectCall
from fieldwave.serving.direct.methods import DirectMethod

__all__ = ["PREFIX_BYTES", "Stream"]

PREFIX_BYTES = 5
"""Before each message of gRPC: whether it is compressed, and its length."""


class Stream:
    """A call on a connection.

    Attributes:
        call: what the client said of it.
        method: that answers.
        window: how many bytes of the answer the client takes.
        since: when it began, by `time.monotonic`.
        body: room for the request; None until its length is known, and again when it has been answered.
        reads: whether the thread that answers it is the one that reads the connection.
        received: how many bytes of it are there.
    """

    __slots__ = ("body", "call", "complete", "method", "prefix", "reads", "received", "since", "window")

    def __init__(self, call: DirectCall, method: DirectMethod, window: int) -> None:
        self.call = call
        self.method = method
        self.window = window
        self.since = time.monotonic()
        self.prefix = b""
        self.body: memoryview | None = None
        self.received = 0
        self.complete = False
        self.reads = False

    @property
    def length(self) -> int:
        """Of the request, as its prefix says."""
        return int.from_bytes(self.prefix[1:], "big")

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return 0 if self.body is None else len(self.body)

    def make_room(self) -> None:
        """For the whole request; the memory is touched as it arrives."""
        self.body = memoryview(np.empty(self.length, np.uint8))  # type: ignore[arg-type]
