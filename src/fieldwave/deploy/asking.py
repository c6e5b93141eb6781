"""Asking a supervisor for a change, and hearing what became of it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from fieldwave.deploy.copy_package import copy_package
from fieldwave.deploy.state import PACKAGE, Change, ServiceFolder, Spec
from fieldwave.errors import ConflictError, FieldwaveError, NotFoundError, ServiceError, StorageError
from fieldwave.processes.appear import appear, clear_abandoned, draft
from fieldwave.processes.lock import take
from fieldwave.processes.stop import tell

__all__ = ["ask", "hear"]

_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 90.0
"""How much longer than the change itself may take what it needs to be taken back."""


def ask(
    folder: ServiceFolder,
    spec: Spec,
    what: str,
    timeout: float,
    package: Path | None = None,
    also: Sequence[Path] = (),
) -> Change:
    """Ask that the service becomes what ``spec`` says, with another package if one is given.

    Parameters:
        also: the files of all packages in ``spec.also``; none where the service has them already.

    Raises:
        ConflictError: another change is under way.
        ServiceError: nobody looks after the service.
        PackageError: the package is another one by now.
        StorageError: the folder cannot be written.
    """
    if not folder.is_alive:
        raise ServiceError(
            f"service {folder.name!r} does not run, so it cannot be changed; delete it and deploy it again: "
            f"fieldwave services delete {folder.name}"
        )
    change = Change(secrets.token_hex(4), what, timeout)
    clear_abandoned(folder.path)
    with ExitStack() as stack:
        path = draft(folder.path, folder.change.name)
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        stack.callback(os.close, take(path / "lock"))
        if package is not None:
            copy_package(package, path / PACKAGE, spec.package)
        for shared, file in zip(spec.also, also, strict=False):
            copy_package(file, path / shared.file, shared.package)
        folder.write_change(path, change, spec)
        if appear(path, folder.change.name) is None:
            raise ConflictError(f"service {folder.name!r} is being changed already; try again when that is done")
    with suppress(FieldwaveError):  # it looks every second anyway
        tell(folder, signal.SIGUSR1)
    return change


def hear(folder: ServiceFolder, change: Change) -> None:
    """Wait until the change has succeeded.

    Raises:
        ServiceError: it has not; the service is what it was.
        NotFoundError: the service was deleted.
    """
    deadline = time.monotonic() + change.timeout + _PATIENCE_SECONDS
    while True:
        alive = folder.is_alive  # before the status: its holder writes that last
        with suppress(StorageError):
            status = folder.read_status()
            if status is not None and status.change == change.number:
                if status.refused:
                    raise ServiceError(
                        f"service {folder.name!r} stays as it was, it could not be changed: {status.refused}"
                    )
                return
        if not folder.path.exists():
            raise NotFoundError(f"service {folder.name!r} was deleted while it was changed")
        if not alive:
            raise ServiceError(f"service {folder.name!r} ended while it was changed")
        if time.monotonic() >= deadline:
            raise ServiceError(
                f"service {folder.name!r} has not said what became of the change; "
                f"see fieldwave services logs {folder.name}"
            )
        time.sleep(_POLL_SECONDS)
