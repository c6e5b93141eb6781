"""The copy of the package that a service serves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fieldwave.errors import PackageError, StorageError

__all__ = ["copy_package"]


def copy_package(source: Path, target: Path, digest: str) -> None:
    """Copy the package to a new file.

    Raises:
        PackageError: it is no longer the one with that digest.
        StorageError: it cannot be read or written.
    """
    hashed = hashlib.sha256()
    try:
        with source.open("rb") as package, target.open("xb") as file:
            while data := package.read(1 << 20):
                hashed.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {target.parent.parent}: {error.strerror or error}") from error
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise PackageError(f"{source} was changed while it was deployed; deploy it again")
