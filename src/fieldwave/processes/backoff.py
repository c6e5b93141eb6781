"""How long to wait before a process that died is started again."""

from __future__ import annotations

__all__ = ["Backoff"]

FIRST_SECONDS = 0.2
LIMIT_SECONDS = 10.0
LIMIT_AFTER_READY_SECONDS = 1.0
GOOD_SECONDS = 30.0


class Backoff:
    """Exponential: 0.2 s, and twice as long after each further death.

    At most 10 s for a process that dies before it is ready: it may never come up, and each try costs a start. At
    most 1 s for one that was ready: whoever needs it shall have it back within 5 s, however often it dies. After
    30 s of health the count starts afresh.
    """

    def __init__(self) -> None:
        self._deaths = 0

    def after(self, healthy_seconds: float | None) -> float:
        """Seconds to wait after a death; ``healthy_seconds`` is None when the process was never ready."""
        if healthy_seconds is not None and healthy_seconds >= GOOD_SECONDS:
            self._deaths = 0
        limit = LIMIT_SECONDS if healthy_seconds is None else LIMIT_AFTER_READY_SECONDS
        seconds: float = FIRST_SECONDS * 2 ** min(self._deaths, 16)
        self._deaths += 1
        return min(seconds, limit)
