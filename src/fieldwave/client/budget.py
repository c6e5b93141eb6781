"""How often a client may try again: so seldom that many clients of a service in trouble do not keep it there."""

from __future__ import annotations

import threading
import time

__all__ = ["RetryBudget"]


class RetryBudget:
    """Tries that may be spent on calls that have failed; safe to use from several threads.

    Each costs one. There are ``most`` at first; ``per_second`` come with time and ``per_answer`` with each call
    that is answered. One that leads to an answer is given back: the service is well, and what has waited for it
    may come. So a client adds at most a fifth, and ten a second, to the load of a service that fails, however
    many threads or tasks call.

    Parameters:
        most: it never has more.
        per_second, per_answer: what it gains.
    """

    def __init__(self, most: float = 100.0, per_second: float = 10.0, per_answer: float = 0.2) -> None:
        self._most, self._per_second, self._per_answer = most, per_second, per_answer
        self._left = most
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Spend a try, if there is one."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._left + (now - self._at) * self._per_second, self._most)
            self._at = now
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True

    def answered(self, *, retried: bool) -> None:
        """A call was answered, at its first try or at a later one."""
        if not retried and self._left >= self._most:
            return  # most calls: no lock
        with self._lock:
            self._left = min(self._left + self._per_answer + retried, self._most)
