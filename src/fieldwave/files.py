"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from fieldwave.errors import StorageError

__all__ = ["sync_folder", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name by
    rename(2), which POSIX promises to be atomic.

    Parameters:
        mode: of the new file, from its first moment; the process's umask takes bits from it.

    Raises:
        StorageError: the folder is missing, the disk is full, or access is denied; nothing stays behind.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {target}: {reason}; nothing was left behind") from error
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable; a file system that cannot do that does it when it pleases."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
