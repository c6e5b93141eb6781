"""What a connection still has to send: control frames at once, answers as the peer's windows let them.

Nobody waits here. What the system does not take is sent when it takes more; what the windows do not allow, when
the peer opens them.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from fieldwave.serving.http2.frames import (
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    Code,
    ConnectionError_,
    Kind,
    frame,
)

__all__ = ["Output", "headers_frame"]

_FIRST_WINDOW = 65_535
_FIRST_FRAME = 16_384
_MOST_CONTROL = 1 << 20
"""Bytes of unsent control frames after which a peer that never reads is given up."""

_Bytes = bytes | memoryview


class _Answer:
    """Data that waits for a window, and what follows it."""

    __slots__ = ("after", "data")

    def __init__(self, data: memoryview, after: bytes) -> None:
        self.data = data
        self.after = after


class Output:
    """Not safe by itself: the connection's lock is held around every call.

    Attributes:
        blocked: there is more to send than the system took.
        held: bytes of answers that have not been sent.
        waiting: streams whose answers wait for a window.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent: deque[_Bytes] = deque()
        self._unsent_bytes = 0
        self._window = _FIRST_WINDOW
        self._first_window = _FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self._frame = _FIRST_FRAME
        self._answers: dict[int, deque[_Answer]] = {}
        self._waiting_bytes = 0

    @property
    def blocked(self) -> bool:
        return bool(self._unsent)

    @property
    def held(self) -> int:
        return self._unsent_bytes + self._waiting_bytes

    @property
    def waiting(self) -> bool:
        return bool(self._answers)

    def open(self, stream: int) -> None:
        """A stream begins."""
        self._windows[stream] = self._first_window

    def forget(self, stream: int) -> None:
        """A stream has ended; what it had to send is not sent."""
        self._windows.pop(stream, None)
        for answer in self._answers.pop(stream, ()):
            self._waiting_bytes -= len(answer.data)

    def control(self, data: bytes) -> None:
        """Send a control frame.

        Raises:
            ConnectionError_: the peer makes us answer and reads nothing.
            OSError: the connection is broken.
        """
        if self._unsent_bytes > _MOST_CONTROL:
            raise ConnectionError_(Code.ENHANCE_YOUR_CALM, "answers are not read")
        self._write((data,))

    def answer(self, stream: int, head: bytes, data: Sequence[_Bytes], after: bytes) -> None:
        """Send the frame ``head``, ``data`` in DATA frames, and then the frame ``after``, which ends the stream.

        ``head`` and ``after`` are empty where they have been sent already, and where more is to follow.

        Raises:
            OSError: the connection is broken.
        """
        if stream not in self._windows:
            return
        size = sum(map(len, data))
        window = self._windows[stream]
        if size <= window and size <= self._window and size <= self._frame and stream not in self._answers:
            self._windows[stream] = window - size
            self._window -= size
            start = head + _data_header(stream, size) if size else head
            self._write((start, *data, after))
            if after:
                del self._windows[stream]
            return
        if head:
            self._write((head,))
        joined = memoryview(b"".join(data))
        self._answers.setdefault(stream, deque()).append(_Answer(joined, after))
        self._waiting_bytes += len(joined)
        self._pump()

    def enlarge(self, stream: int, more: int) -> None:
        """WINDOW_UPDATE.

        Raises:
            ConnectionError_: the connection's window would be too large.
            OverflowError: the stream's would.
        """
        if stream == 0:
            self._window += more
            if self._window > LARGEST_WINDOW:
                raise ConnectionError_(Code.FLOW_CONTROL_ERROR, "the window is larger than 2^31 - 1")
        elif stream in self._windows:
            self._windows[stream] += more
            if self._windows[stream] > LARGEST_WINDOW:
                raise OverflowError
        if self._answers:
            self._pump()

    def first_window(self, size: int) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE: of streams to come, and the difference of those that are open."""
        change, self._first_window = size - self._first_window, size
        for stream in self._windows:
            self._windows[stream] += change
            if self._windows[stream] > LARGEST_WINDOW:
                raise ConnectionError_(Code.FLOW_CONTROL_ERROR, "a window is larger than 2^31 - 1")
        if self._answers:
            self._pump()

    def largest_frame(self, size: int) -> None:
        """SETTINGS_MAX_FRAME_SIZE."""
        self._frame = size

    def flush(self) -> None:
        """Send what the system takes now.

        Raises:
            OSError: the connection is broken.
        """
        while self._unsent:
            first = self._unsent[0]
            try:
                sent = self._socket.send(first)
            except BlockingIOError:
                return
            self._unsent_bytes -= sent
            if sent < len(first):
                self._unsent[0] = memoryview(first)[sent:]
                return
            self._unsent.popleft()

    def _pump(self) -> None:
        for stream in list(self._answers):
            queue = self._answers[stream]
            while queue:
                one = queue[0]
                while len(one.data):
                    size = min(len(one.data), self._windows[stream], self._window, self._frame)
                    if size <= 0:
                        break
                    self._windows[stream] -= size
                    self._window -= size
                    self._waiting_bytes -= size
                    self._write((_data_header(stream, size), one.data[:size]))
                    one.data = one.data[size:]
                if len(one.data):
                    break
                queue.popleft()
                if one.after:
                    self._write((one.after,))
                    self._windows.pop(stream, None)
            if not queue:
                del self._answers[stream]

    def _write(self, parts: Sequence[_Bytes]) -> None:
        if not self._unsent:
            size = sum(map(len, parts))
            try:
                sent = self._socket.sendmsg(parts)
            except BlockingIOError:
                sent = 0
            if sent == size:
                return
            for part in parts:
                if sent >= len(part):
                    sent -= len(part)
                    continue
                self._queue(memoryview(part)[sent:])
                sent = 0
            return
        for part in parts:
            if len(part):
                self._queue(part)

    def _queue(self, part: _Bytes) -> None:
        self._unsent.append(part)
        self._unsent_bytes += len(part)


def _data_header(stream: int, size: int) -> bytes:
    return size.to_bytes(3, "big") + b"\x00\x00" + stream.to_bytes(4, "big")


def headers_frame(stream: int, block: bytes, *, end: bool) -> bytes:
    """HEADERS in one frame."""
    return frame(Kind.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)
