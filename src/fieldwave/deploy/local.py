"""Services on this machine: each a supervised process of its own, all their state in files."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fieldwave.deploy import port as ports
from fieldwave.deploy.copy_package import copy_package
from fieldwave.deploy.state import ServiceFolder, Spec, Status, now
from fieldwave.deploy.target import Replicas, Service, State, Target, check_name, is_name
from fieldwave.errors import ConflictError, NotFoundError, ServiceError, StorageError
from fieldwave.processes.appear import appear, clear_abandoned, disappear, draft
from fieldwave.processes.launch import launch, python
from fieldwave.processes.lock import is_held, take
from fieldwave.processes.log import follow as follow_log
from fieldwave.processes.log import last_lines
from fieldwave.processes.ours import is_ours
from fieldwave.processes.stop import stop
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.package import Package

__all__ = ["LocalTarget"]

HOST = "127.0.0.1"
SERVE_COMMAND = python("fieldwave.deploy.serve_process")
_SUPERVISE_COMMAND = python("fieldwave.deploy.supervisor")
_POLL_SECONDS = 0.02
_STARTING = "it starts"
_STATES: dict[str, State] = {
    "Starting": "Transitioning",
    "Healthy": "Healthy",
    "Restarting": "Transitioning",
    "Failed": "Failed",
    "Stopped": "Stopped",
}


class LocalTarget:
    """This machine, as a `Target`.

    There is no daemon: a service is a folder in the workspace and a supervisor that holds the folder's lock.
    Any process that finds the workspace sees the same services.

    Parameters:
        workspace: where the services are kept; found from the working directory if not given.
    """

    def __init__(self, workspace: Workspace | None = None) -> None:
        self.workspace = workspace or Workspace.find()
        self._command: Sequence[str] = SERVE_COMMAND

    def deploy(
        self,
        package: str | os.PathLike[str],
        name: str,
        *,
        device: str = "cpu",
        port: int = 0,
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run a package as a service; see `Target.deploy`.

        With ``wait``, a serving process that dies before it was ready once ends the attempt: what keeps a first
        start from coming up seldom goes away by itself.
        """
        from fieldwave.devices import create_device
        from fieldwave.package import read_package

        check_name(name)
        if (self._services / name).exists():
            raise self._taken(name)
        create_device(device)  # a wrong name fails before anything is started
        content = read_package(package)
        self._check_port(port)
        with ExitStack() as stack:
            reservation = stack.enter_context(ports.reserve(HOST, port))
            services = self.workspace.create_services_folder()
            clear_abandoned(services)
            folder = ServiceFolder(draft(services, name))
            stack.callback(shutil.rmtree, folder.path, ignore_errors=True)
            lock = take(folder.lock)
            stack.callback(os.close, lock)
            copy_package(Path(package), folder, content.digest)
            folder.write_spec(
                Spec(
                    name=name,
                    network=content.manifest.network,
                    device=device,
                    host=HOST,
                    port=reservation.getsockname()[1],
                    package=content.digest,
                    created=now(),
                    command=list(self._command),
                )
            )
            named = appear(folder.path, name)
            if named is None:
                raise self._taken(name)
            try:
                launch(_SUPERVISE_COMMAND, ServiceFolder(named), [lock, reservation.fileno()])
            except BaseException:
                disappear(named)
                raise
        return self._first_start(name, timeout) if wait else self.get(name)

    def get(self, name: str) -> Service:
        """The service of that name as it is now. Raises NotFoundError."""
        service = self._view(self._folder(name))
        if service is None:
            raise self._unknown(name)
        return service

    def list(self) -> tuple[Service, ...]:
        """All services as they are now, by name."""
        views = (self._view(ServiceFolder(self._services / name)) for name in self._names())
        return tuple(view for view in views if view is not None)

    def package(self, name: str) -> Package:
        """The package that a service serves. Raises NotFoundError."""
        from fieldwave.package import read_package

        return read_package(self._folder(name).package)

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines of a service's log; see `Target.logs`."""
        folder = self._folder(name)
        return follow_log(folder.log, lines) if follow else iter(last_lines(folder.log, lines))

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it; see `Target.delete`."""
        folder = self._folder(name)
        stop(folder, timeout)
        disappear(folder.path)

    @property
    def _services(self) -> Path:
        return self.workspace.services_folder

    def _names(self) -> tuple[str, ...]:
        try:
            return tuple(sorted(entry for entry in os.listdir(self._services) if is_name(entry)))
        except FileNotFoundError:
            return ()

    def _folder(self, name: str) -> ServiceFolder:
        # The name is checked first: 'get' and 'delete' must not be led out of the services' folder.
        if not is_name(name) or not (self._services / name).is_dir():
            raise self._unknown(name)
        return ServiceFolder(self._services / name)

    def _view(self, folder: ServiceFolder) -> Service | None:
        """What a service's files say; None if it is being deleted just now."""
        # The lock first: a supervisor writes its last status before it lets go.
        alive = folder.is_alive
        try:
            spec, status = folder.read_spec(), folder.read_status()
        except FileNotFoundError:
            return None
        except StorageError as error:
            return Service(folder.name, "Failed", HOST, 0, None, 0, "", "", "", "", str(error), self._protocol)
        return self._service(folder.name, spec, _seen(folder, status, alive))

    def _service(self, name: str, spec: Spec, status: Status) -> Service:
        ready = int(status.state == "Healthy")
        return Service(
            name=name,
            state=_STATES[status.state],
            host=spec.host,
            port=spec.port,
            pid=status.pid,
            restarts=status.restarts,
            package=spec.package,
            network=spec.network,
            device=spec.device,
            created=spec.created,
            reason=_reason(status),
            target=self._protocol,
            replicas=Replicas(1, ready),
            addresses=(f"{spec.host}:{spec.port}",),
        )

    @property
    def _protocol(self) -> Target:
        return cast(Target, self)

    def _first_start(self, name: str, timeout: float) -> Service:
        deadline = time.monotonic() + timeout
        try:
            while (service := self.get(name)).state != "Healthy":
                if service.state != "Transitioning" or service.reason != _STARTING:
                    raise ServiceError(f"service {name!r} did not start: {service.reason or 'it was stopped'}")
                if time.monotonic() >= deadline:
                    said = last_lines(self._folder(name).log, 1)
                    raise ServiceError(
                        f"service {name!r} was not ready within {timeout:g} s and was removed; "
                        f"the last line of its log: {said[-1] if said else '(empty)'}"
                    )
                time.sleep(_POLL_SECONDS)
        except NotFoundError:
            raise ServiceError(f"service {name!r} was deleted while it started") from None
        except BaseException:
            with suppress(NotFoundError):
                self.delete(name, timeout=5)
            raise
        return service

    def _check_port(self, port: int) -> None:
        # Between two lives of its serving process nobody listens on a service's port, and yet it is taken.
        for service in self.list() if port else ():
            if service.port == port and is_held(self._services / service.name / "lock"):
                raise ConflictError(
                    f"port {port} on {HOST} is taken by service {service.name!r}; "
                    "choose another, or 0 for a free one"
                )

    def _taken(self, name: str) -> ConflictError:
        try:
            service = self.get(name)
            state = f" ({service.state}, port {service.port})"
        except NotFoundError:
            state = ""
        return ConflictError(
            f"a service {name!r} exists already{state}; delete it first: fieldwave services delete {name}"
        )

    def _unknown(self, name: str) -> NotFoundError:
        names = self._names()
        there = f"there are: {', '.join(names)}" if names else "there are none"
        return NotFoundError(f"no service {name!r} in {self.workspace.root}; {there}")


def _seen(folder: ServiceFolder, status: Status | None, alive: bool) -> Status:
    if alive:
        return _checked(folder, status) if status is not None else Status("Starting", supervisor=0)
    if status is not None and status.state == "Stopped":
        return status
    gone = f"its supervisor is gone; delete it and deploy again: fieldwave services delete {folder.name}"
    restarts = status.restarts if status else 0
    return Status("Failed", supervisor=0, restarts=restarts, last_error=gone)


def _checked(folder: ServiceFolder, status: Status) -> Status:
    """The status, Healthy only if that process is there: its supervisor may be unable to write a newer one."""
    if status.state != "Healthy" or status.pid is None:
        return status
    with suppress(ProcessLookupError, PermissionError):
        if not is_ours(folder.path, status.supervisor):
            return status  # it runs on another machine, where we cannot look
        with suppress(ProcessLookupError):
            if is_ours(folder.path, status.pid):
                return status
        ended = f"process {status.pid} has ended"
        return replace(status, state="Restarting", pid=None, last_error=ended)
    return status


def _reason(status: Status) -> str:
    if status.state == "Starting":
        return _STARTING
    return status.last_error if status.state in ("Restarting", "Failed") else ""
