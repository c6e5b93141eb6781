"""What the device's thread is given to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from fieldwave.serving.caller import Caller, CallerGoneError

__all__ = ["End", "Job"]


class End(Exception):
    """The last job of the device's thread."""


class Job:
    """Something that the device's thread does, once, and whose outcome another thread waits for."""

    def __init__(self, work: Callable[[Job], Any], caller: Caller | None = None, images: int = 1) -> None:
        self.work: Callable[[Job], Any] = work
        self.caller = caller
        self.images = max(images, 1)
        self.limit = float("inf")
        self.abandon: Callable[[Exception], None] | None = None
        self.put = time.perf_counter()
        self.begun = self.ended = self.put
        self._result: Any = None
        self._error: BaseException | None = None
        self._once = threading.Lock()
        self._done = threading.Lock()
        self._done.acquire()

    def settle(self, result: Any = None, error: BaseException | None = None) -> bool:
        """Say how it came out; False if that has been said before, and is not changed."""
        if not self._once.acquire(blocking=False):
            return False
        self._result, self._error = result, error
        self._done.release()
        return True

    @property
    def settled(self) -> bool:
        """Whether its outcome is known."""
        return self._once.locked()

    def outcome(self, patience: float | None) -> Any:
        """Wait for the outcome.

        Raises:
            CallerGoneError: there is none after ``patience`` seconds.
        """
        timeout = -1 if patience is None else min(max(patience, 0), threading.TIMEOUT_MAX)
        if not self._done.acquire(timeout=timeout) and self.settle():
            raise CallerGoneError
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, and all the tensors of those before
