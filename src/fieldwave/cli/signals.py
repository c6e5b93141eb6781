"""What a command does when it is told to end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["ended_by_signals"]

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit within, so that what was begun is cleaned up.

    The exit code is 128 and the signal's number, as a shell has it. Signals that are ignored stay so (nohup).
    """
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    numbers = [number for number in _NUMBERS if before[number] is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)  # a second one is not to break off the cleaning up
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
