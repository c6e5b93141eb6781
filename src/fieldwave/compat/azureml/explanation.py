"""What each legacy call would be natively: told line by line where somebody asked for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["explain", "explain_to"]

_PACKAGE = str(Path(__file__).parents[1])
_tell: Callable[[str], None] | None = None
_told: set[tuple[str, int, str]] = set()


def explain_to(tell: Callable[[str], None] | None) -> None:
    """Hand every explanation to ``tell``, once for each line of the script; None ends it."""
    global _tell
    _tell = tell
    _told.clear()


def explain(legacy: str, native: str) -> None:
    """Say that ``legacy``, which the script calls just now, is ``native`` in Fieldwave."""
    if _tell is None:
        return
    file, line = _caller()
    if (file, line, legacy) not in _told:
        _told.add((file, line, legacy))
        _tell(f"{os.path.basename(file)}:{line}: {legacy}\n    {native}")


def _caller() -> tuple[str, int]:
    """The innermost line that is not ours."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
