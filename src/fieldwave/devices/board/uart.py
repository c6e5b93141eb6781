"""UART: the bus over a serial line, in the protocol of LiteX's UARTBone.

A command is one byte (1 write, 2 read), the number of words, the word's address (4 bytes) and for a write its
words; the answer to a read is the words; all numbers have their highest byte first. There are no
acknowledgements and no checksums. A board that waits for the rest of a command gives it up after 100 ms of its
clock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
import tty
from pathlib import Path

import numpy as np

from fieldwave.devices.board.transport import LinkFault, Words
from fieldwave.errors import DeviceBusyError, DeviceError, DeviceLostError, NotFoundError

__all__ = ["BAUD", "UartTransport"]

BAUD = 1_000_000
_WRITE, _READ = 1, 2
_BURST = 255
_GIVE_UP_SECONDS = 0.15
"""Longer than a board waits for the rest of a command."""
_SLACK_SECONDS = 1.0


class UartTransport:
    """A serial port.

    Args:
        path: of the port: ``/dev/ttyUSB0``.
        baud: bits per second; those that termios knows.
        patience: seconds to wait for an answer beyond the time that its bytes take.
        simulated: behind it is a simulation: its clock goes slower than the host's.

    Raises:
        NotFoundError: there is no such port.
        DeviceBusyError: another process has it.
        DeviceError: it is no serial port, or this user may not open it.
    """

    burst = _BURST
    chunk = 2048

    def __init__(
        self,
        path: str,
        *,
        baud: int = BAUD,
        patience: float = _SLACK_SECONDS,
        give_up: float = _GIVE_UP_SECONDS,
        simulated: bool = False,
    ) -> None:
        self.name = path
        self._simulated = simulated
        self._patience = patience
        self._give_up = give_up
        self._byte_seconds = 10 / baud
        self._descriptor = _open(path, baud)

    def read(self, address: int, count: int) -> Words:
        """See `Transport.read`."""
        parts = []
        for start in range(0, count, _BURST):
            words = min(count - start, _BURST)
            self._send(_command(_READ, address + 4 * start, words))
            parts.append(np.frombuffer(self._receive(4 * words), ">u4").astype(np.uint32))
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def write(self, address: int, words: Words) -> None:
        """See `Transport.write`."""
        commands = []
        for start in range(0, len(words), _BURST):
            some = words[start : start + _BURST]
            commands += [_command(_WRITE, address + 4 * start, len(some)), some.astype(">u4").tobytes()]
        self._send(b"".join(commands))

    def resynchronise(self) -> None:
        """See `Transport.resynchronise`: wait until the board has given up, and forget what it has sent."""
        deadline = time.monotonic() + self._give_up + 100 * self._patience
        quiet = time.monotonic() + self._give_up
        while (now := time.monotonic()) < quiet:
            if self._ready(quiet - now, write=False):
                self._take(65536)
                if now > deadline:
                    raise DeviceLostError(f"the board at {self.name} sends without end; pull its plug")
                quiet = time.monotonic() + self._give_up

    def close(self) -> None:
        """See `Transport.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError, termios.error):
                termios.tcflush(descriptor, termios.TCIOFLUSH)
            os.close(descriptor)

    def _send(self, data: bytes) -> None:
        view, deadline = memoryview(data), time.monotonic() + self._patience + len(data) * self._byte_seconds
        while view:
            if not self._ready(deadline - time.monotonic(), write=True):
                raise LinkFault(f"the board at {self.name} took only {len(data) - len(view)} of {len(data)} bytes")
            with self._plugged():
                view = view[os.write(self._descriptor, view[:4096]) :]
                if self._simulated:  # what is on its way takes the simulation's time
                    deadline = time.monotonic() + self._patience

    def _receive(self, size: int) -> bytes:
        data, deadline = b"", time.monotonic() + self._patience + size * self._byte_seconds
        while len(data) < size:
            if not self._ready(deadline - time.monotonic(), write=False):
                raise LinkFault(
                    f"the board at {self.name} sent {len(data)} of {size} bytes in {self._patience:g} s; "
                    "check the cable, and that the board has its bitstream"
                )
            data += self._take(size - len(data))
            if self._simulated:
                deadline = time.monotonic() + self._patience
        return data

    def _take(self, most: int) -> bytes:
        with self._plugged():
            data = os.read(self._descriptor, most)
        if not data:
            raise self._lost()
        return data

    def _ready(self, seconds: float, *, write: bool) -> bool:
        if self._descriptor < 0:
            raise DeviceLostError(f"the port {self.name} is closed; open the device again")
        wanted = ([], [self._descriptor]) if write else ([self._descriptor], [])
        found = select.select(*wanted, [], max(0.0, seconds))
        return bool(found[0] or found[1])

    @contextlib.contextmanager
    def _plugged(self):  # type: ignore[no-untyped-def]
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF, errno.EPIPE):
                raise DeviceError(
                    f"the serial port {self.name} failed: {error.strerror}; open it again"
                ) from error
            raise self._lost() from error

    def _lost(self) -> DeviceLostError:
        return DeviceLostError(
            f"the board at {self.name} has been unplugged; plug it in and open the device again"
        )


def _command(kind: int, address: int, words: int) -> bytes:
    return bytes((kind, words)) + (address // 4).to_bytes(4, "big")


def _open(path: str, baud: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"no serial port {path}; 'fieldwave devices' lists the boards") from None
    except OSError as error:
        raise DeviceError(f"cannot open {path}: {error.strerror or error}; {_advice(path)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tty.setraw(descriptor)
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise DeviceError(f"{path} cannot do {baud} baud; a multiple of 500000 up to 4000000 works on Linux")
        settings = termios.tcgetattr(descriptor)
        settings[2] = (
            settings[2] & ~(termios.CSTOPB | termios.PARENB) | termios.CS8 | termios.CLOCAL | termios.CREAD
        )
        settings[4] = settings[5] = speed
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        termios.tcflush(descriptor, termios.TCIOFLUSH)
    except BlockingIOError:
        os.close(descriptor)
        raise DeviceBusyError(f"another process has the serial port {path}; close it there first") from None
    except termios.error as error:
        os.close(descriptor)
        raise DeviceError(f"{path} is no serial port: {error.args[-1]}") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _advice(path: str) -> str:
    try:
        group = Path(path).group()
    except (OSError, KeyError):
        return "check the path"
    return f"it belongs to the group {group!r}: join it, or ask an administrator"
