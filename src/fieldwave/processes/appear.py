"""Making a folder appear under its name whole, and disappear whole.

It is filled under a hidden name and renamed when all of it is there; before it is emptied it is renamed again.
What a crash leaves behind has a hidden name and no holder of its lock, and is cleared away by the next who comes.
"""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

from fieldwave.errors import StorageError
from fieldwave.processes.lock import is_held

__all__ = ["appear", "clear_abandoned", "disappear", "draft"]

_ABANDONED_SECONDS = 60.0


def draft(parent: Path, name: str) -> Path:
    """An empty folder that nobody takes for one of that name yet."""
    path = _hidden(parent / name)
    try:
        path.mkdir()
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror or error}") from error
    return path


def appear(path: Path, name: str) -> Path | None:
    """Give a draft its name; None when another has it. Of several at the same time one gets it."""
    target = path.with_name(name)
    try:
        # rename(2) does not replace a folder that holds something: the kernel decides who was first.
        path.rename(target)
    except OSError as error:
        if target.exists():
            return None
        raise StorageError(f"cannot make {target}: {error.strerror or error}") from error
    return target


def disappear(path: Path) -> None:
    """Remove the folder; nothing happens when somebody else has done so."""
    doomed = _hidden(path)
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error
    shutil.rmtree(doomed, ignore_errors=True)


def clear_abandoned(parent: Path) -> None:
    """Remove hidden folders that nobody works on."""
    for entry in parent.glob(".*"):
        # A young one may be just about to be locked.
        if _age(entry) > _ABANDONED_SECONDS and not is_held(entry / "lock"):
            shutil.rmtree(entry, ignore_errors=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _age(entry: Path) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0
