"""How much of its answers a client takes (RFC 9113, 5.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fieldwave.serving.direct.stream import Stream

__all__ = ["FLOW_CONTROL_ERROR", "FRAME_SIZE_ERROR", "MOST_WINDOW", "PROTOCOL_ERROR", "BrokenError", "Windows"]

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR = 1, 3, 6
MOST_WINDOW = 0x7FFFFFFF
_INITIAL_WINDOW, _MAX_FRAME = 4, 5


class BrokenError(Exception):
    """The client does not keep to the protocol; the connection ends with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Windows:
    """Of one connection; its lock is held by whoever asks.

    Attributes:
        whole: bytes that the client takes on the connection.
        initial: that it takes of a new call.
        largest: frame that it takes.
    """

    def __init__(self) -> None:
        self.whole = self.initial = 65535
        self.largest = 16 << 10

    def room(self, stream: Stream) -> int:
        """Bytes that the client takes of a call."""
        return min(self.whole, stream.window)

    def take(self, stream: Stream, size: int) -> None:
        """So many have been sent."""
        self.whole -= size
        stream.window -= size

    def widen(self, stream: Stream | None, number: int, payload: bytes) -> None:
        """As a WINDOW_UPDATE says, of the connection or of a call.

        Raises:
            BrokenError: it cannot be.
        """
        more = int.from_bytes(payload, "big") & MOST_WINDOW
        if len(payload) != 4 or not more:
            raise BrokenError(PROTOCOL_ERROR)
        if number == 0:
            self.whole += more
        elif stream is not None:
            stream.window += more
        if self.whole > MOST_WINDOW or (stream is not None and stream.window > MOST_WINDOW):
            raise BrokenError(FLOW_CONTROL_ERROR)

    def settings(self, payload: bytes, streams: Iterable[Stream]) -> None:
        """As SETTINGS say, also of the calls in hand.

        Raises:
            BrokenError: they cannot be.
        """
        if len(payload) % 6:
            raise BrokenError(FRAME_SIZE_ERROR)
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                if value > MOST_WINDOW:
                    raise BrokenError(FLOW_CONTROL_ERROR)
                for stream in streams:
                    stream.window += value - self.initial
                self.initial = value
            elif name == _MAX_FRAME:
                if not 16 << 10 <= value < 1 << 24:
                    raise BrokenError(PROTOCOL_ERROR)
                self.largest = value
