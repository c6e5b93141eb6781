"""Making a service's folder appear under its name whole, and disappear whole.

It is filled under a hidden name and renamed when all of it is there; before it is emptied it is renamed again.
What a crash leaves behind has a hidden name and no holder of its lock, and is cleared away by the next deployment.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path

from fieldwave.deploy.lock import is_held
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import PackageError, StorageError

__all__ = ["appear", "clear_abandoned", "copy_package", "disappear", "draft"]

_ABANDONED_SECONDS = 60.0


def draft(services: Path, name: str) -> ServiceFolder:
    """An empty folder that nobody takes for a service yet."""
    path = _hidden(services / name)
    try:
        path.mkdir()
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror or error}") from error
    return ServiceFolder(path)


def copy_package(source: Path, folder: ServiceFolder, digest: str) -> None:
    """Copy the package into the folder.

    Raises:
        PackageError: it is no longer the one with that digest.
        StorageError: it cannot be read or written.
    """
    hashed = hashlib.sha256()
    try:
        with source.open("rb") as package, folder.package.open("xb") as file:
            while data := package.read(1 << 20):
                hashed.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {folder.path.parent}: {error.strerror or error}") from error
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise PackageError(f"{source} was changed while it was deployed; deploy it again")


def appear(folder: ServiceFolder, name: str) -> ServiceFolder | None:
    """Give a draft its name; None when another has it. Of several at the same time one gets it."""
    target = folder.path.with_name(name)
    try:
        # rename(2) does not replace a folder that holds something: the kernel decides who was first.
        folder.path.rename(target)
    except OSError as error:
        if target.exists():
            return None
        raise StorageError(f"cannot make {target}: {error.strerror or error}") from error
    return ServiceFolder(target)


def disappear(folder: ServiceFolder) -> None:
    """Remove the folder; nothing happens when somebody else has done so."""
    doomed = _hidden(folder.path)
    try:
        folder.path.rename(doomed)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot remove {folder.path}: {error.strerror or error}") from error
    shutil.rmtree(doomed, ignore_errors=True)


def clear_abandoned(services: Path) -> None:
    """Remove hidden folders that nobody works on."""
    for entry in services.glob(".*"):
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
