"""Files that are replaced while a service runs: Kubernetes swaps mounted Secrets, certificates are renewed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from fieldwave.errors import FieldwaveError

__all__ = ["Reread"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Stamp = tuple[tuple[int, ...] | None, ...]

# Two writes in one tick of the file system's clock, which may be seconds, look the same: a file this young is read
# once more.
_YOUNG_NANOSECONDS = 2_000_000_000
_ATTEMPTS = 3


class Reread(Generic[_T]):
    """What ``read`` makes of some files, made again when they have changed.

    Parameters:
        what: they are, for the log.
        paths: of the files.
        read: makes the value; it is called here once, and its errors are the caller's.

    Attributes:
        value: as it was read last. Files that cannot be read any more, or are wrong, change nothing but the log.
    """

    def __init__(self, what: str, paths: tuple[Path, ...], read: Callable[[], _T]) -> None:
        self._what = what
        self._paths = paths
        self._read = read
        self._lock = threading.Lock()
        self._failure = ""
        self._stamp, self.value = self._whole()

    def refresh(self) -> bool:
        """Read the files if they have changed; whether the value is another one now."""
        with self._lock:
            if _stamp(self._paths) == self._stamp:
                return False
            try:
                stamp, value = self._whole()
            except FieldwaveError as error:
                if str(error) != self._failure:
                    self._failure = str(error)
                    _log.error("the %s changed and cannot be used, the old ones stay: %s", self._what, error)
                return False
            self._stamp, self._failure = stamp, ""
            changed = value != self.value
            if changed:  # else who compares by identity would be misled
                self.value = value
        if changed:
            # A warning, because it is to be found in every log: who may come in has changed.
            _log.warning("the %s changed and have been read again", self._what)
        return changed

    def _whole(self) -> tuple[_Stamp | None, _T]:
        """The value, of files that did not change while they were read, and their stamp."""
        for attempt in range(1, _ATTEMPTS + 1):
            stamp = _stamp(self._paths)
            try:
                value = self._read()
            except FieldwaveError:
                if attempt == _ATTEMPTS or _stamp(self._paths) == stamp:
                    raise
                continue
            if _stamp(self._paths) == stamp:
                return (None if _is_young(stamp) else stamp), value
        return None, value


def _stamp(paths: tuple[Path, ...]) -> _Stamp:
    return tuple(map(_stat, paths))


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


def _is_young(stamp: _Stamp) -> bool:
    now = time.time_ns()
    return any(one is None or abs(now - one[0]) < _YOUNG_NANOSECONDS for one in stamp)
