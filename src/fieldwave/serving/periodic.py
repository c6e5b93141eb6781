"""A task that is done again and again beside the requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Periodic"]

_log = logging.getLogger(__name__)


class Periodic:
    """Calls ``task`` every ``seconds`` seconds in a thread of its own, from `start` to `stop`."""

    def __init__(self, name: str, seconds: float, task: Callable[[], None]) -> None:
        self._seconds = seconds
        self._task = task
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=f"fieldwave-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more calls from now on; does not wait for the one under way."""
        self._stopped.set()

    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopped.is_set()

    def join(self, timeout: float) -> None:
        """Wait for the end of the call under way."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _repeat(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._task()
            except Exception:
                _log.exception("%s failed", self._thread.name)
