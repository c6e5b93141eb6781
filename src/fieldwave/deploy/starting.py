"""Bringing a service into being: its folder, who looks after it, and its first start."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from fieldwave.deploy.copy_package import copy_package
from fieldwave.deploy.state import ServiceFolder, Spec
from fieldwave.deploy.target import Service, Target, WhenBusy
from fieldwave.errors import NotFoundError, ServiceError
from fieldwave.keys import Keys, write_keys
from fieldwave.processes.appear import appear, clear_abandoned, disappear, draft
from fieldwave.processes.launch import launch, python
from fieldwave.processes.lock import take
from fieldwave.workspace import Workspace

__all__ = ["first_start", "start"]

_SUPERVISE_COMMAND = python("fieldwave.deploy.supervisor")
_POLL_SECONDS = 0.02


def start(workspace: Workspace, spec: Spec, package: Path, reservation: int, also: Sequence[Path] = ()) -> bool:
    """Make the service's folder appear, with everything in it, and start who looks after it.

    Args:
        also: the files of the packages in ``spec.also``.
        reservation: the descriptor of the socket that keeps the service's port.

    Returns:
        False when another has the name.

    Raises:
        PackageError: the package is another one by now.
        StorageError: the folder cannot be written; nothing is left.
        ServiceError: nobody could be started; nothing is left.
    """
    services = workspace.create_services_folder()
    clear_abandoned(services)
    with ExitStack() as stack:
        folder = ServiceFolder(draft(services, spec.name))
        stack.callback(shutil.rmtree, folder.path, ignore_errors=True)
        lock = take(folder.lock)
        stack.callback(os.close, lock)
        copy_package(package, folder.package(spec), spec.package)
        for shared, file in zip(spec.also, also, strict=True):
            copy_package(file, folder.path / shared.file, shared.package)
        if spec.keys:
            write_keys(folder.keys, Keys.generate())
        folder.write_spec(spec)
        path = appear(folder.path, spec.name)
        if path is None:
            return False
        try:
            launch(_SUPERVISE_COMMAND, ServiceFolder(path), [lock, reservation])
        except BaseException:
            disappear(path)
            raise
    return True


def first_start(target: Target, name: str, when_busy: WhenBusy, timeout: float) -> Service:
    """Wait until the service is Healthy for the first time; it is deleted when it is not to be.

    Raises:
        ServiceError: a process died before it was ready, no device was free, or it took too long.
    """
    deadline = time.monotonic() + timeout
    try:
        while (service := target.get(name)).state != "Healthy":
            if _has_failed(service, when_busy):
                raise ServiceError(f"service {name!r} did not start: {service.reason or 'it was stopped'}")
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"service {name!r} was not ready within {timeout:g} s and was removed; "
                    f"{_last_known(target, service)}"
                )
            time.sleep(_POLL_SECONDS)
    except NotFoundError:
        raise ServiceError(f"service {name!r} was deleted while it started") from None
    except BaseException:
        with suppress(NotFoundError):
            target.delete(name, timeout=5)
        raise
    return service


def _has_failed(service: Service, when_busy: WhenBusy) -> bool:
    if service.state == "Unschedulable":
        return when_busy == "refuse"
    return service.state != "Transitioning" or service.restarts > 0


def _last_known(target: Target, service: Service) -> str:
    if service.state == "Unschedulable":
        return service.reason
    lines = list(target.logs(service.name, lines=1))
    return f"the last line of its log: {lines[-1] if lines else '(empty)'}"
