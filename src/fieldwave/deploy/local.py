"""Services on this machine: each a supervised process of its own, all their state in files."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.deploy import port as ports
from fieldwave.deploy.launch import SERVE_COMMAND, launch
from fieldwave.deploy.lock import is_held, take
from fieldwave.deploy.log import follow as follow_log
from fieldwave.deploy.log import last_lines
from fieldwave.deploy.state import ServiceFolder, Spec, Status, now
from fieldwave.deploy.stop import stop
from fieldwave.deploy.target import Service, check_name, is_name
from fieldwave.errors import ConflictError, NotFoundError, PackageError, ServiceError, StorageError
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.package import Package

__all__ = ["LocalTarget"]

HOST = "127.0.0.1"
_POLL_SECONDS = 0.02
_ABANDONED_SECONDS = 60.0


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
        timeout: float = 60.0,
    ) -> Service:
        """Run a package as a service; see `Target.deploy`.

        With ``wait``, a serving process that dies before it was ready once ends the attempt: what keeps a first
        start from coming up seldom goes away by itself.
        """
        from fieldwave.devices import device_names
        from fieldwave.package import read_package

        check_name(name)
        if (self._services / name).exists():
            raise self._taken(name)
        if device not in device_names():
            raise NotFoundError(f"no device {device!r}; there are: {', '.join(device_names())}")
        content = read_package(package)
        self._check_port(port)
        with ExitStack() as stack:
            reservation = stack.enter_context(ports.reserve(HOST, port))
            draft = _draft(self.workspace.create_services_folder(), name)
            stack.callback(shutil.rmtree, draft.path, ignore_errors=True)
            lock = take(draft.lock)
            stack.callback(os.close, lock)
            _copy(Path(package), draft.package, content.digest)
            draft.write_spec(
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
            folder = self._claim(draft, name)
            try:
                launch(folder, [lock, reservation.fileno()])
            except BaseException:
                _remove(folder)
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
        _remove(folder)

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
        alive = is_held(folder.lock)
        try:
            spec, status = folder.read_spec(), folder.read_status()
        except FileNotFoundError:
            return None
        except StorageError as error:
            return Service(folder.name, "Failed", HOST, 0, None, 0, "", "", "", "", str(error), self)
        return self._service(spec, _seen(folder.name, status, alive))

    def _service(self, spec: Spec, status: Status) -> Service:
        return Service(
            name=spec.name,
            state=status.state,
            host=spec.host,
            port=spec.port,
            pid=status.pid,
            restarts=status.restarts,
            package=spec.package,
            network=spec.network,
            device=spec.device,
            created=spec.created,
            error=status.last_error if status.state in ("Restarting", "Failed") else "",
            target=self,
        )

    def _first_start(self, name: str, timeout: float) -> Service:
        deadline = time.monotonic() + timeout
        try:
            while (service := self.get(name)).state != "Healthy":
                if service.state != "Starting":
                    raise ServiceError(f"service {name!r} did not start: {service.error or 'it was stopped'}")
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
            self.delete(name, timeout=5)
            raise
        return service

    def _claim(self, draft: ServiceFolder, name: str) -> ServiceFolder:
        folder = ServiceFolder(self._services / name)
        try:
            # The kernel decides who was first: a folder that holds something is not replaced.
            draft.path.rename(folder.path)
        except OSError as error:
            if folder.path.exists():
                raise self._taken(name) from error
            raise StorageError(f"cannot make {folder.path}: {error.strerror or error}") from error
        return folder

    def _check_port(self, port: int) -> None:
        # Between two lives of its serving process nobody listens on a service's port, and yet it is taken.
        for service in self.list() if port else ():
            if service.port == port and service.state not in ("Stopped",):
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


def _seen(name: str, status: Status | None, alive: bool) -> Status:
    if alive:
        return status or Status("Starting", supervisor=0)
    if status is not None and status.state == "Stopped":
        return status
    gone = f"its supervisor is gone; delete it and deploy again: fieldwave services delete {name}"
    restarts = status.restarts if status else 0
    return Status("Failed", supervisor=0, restarts=restarts, last_error=gone)


def _draft(services: Path, name: str) -> ServiceFolder:
    """An empty folder under a name that nobody sees; what crashes have left of such is cleared away."""
    for entry in services.glob(".*"):
        if _is_abandoned(entry):
            shutil.rmtree(entry, ignore_errors=True)
    path = services / f".{name}.{secrets.token_hex(8)}"
    try:
        path.mkdir()
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror or error}") from error
    return ServiceFolder(path)


def _is_abandoned(entry: Path) -> bool:
    try:
        age = time.time() - entry.stat().st_mtime
    except FileNotFoundError:
        return False
    return age > _ABANDONED_SECONDS and not is_held(entry / "lock")


def _copy(source: Path, copy: Path, digest: str) -> None:
    hashed = hashlib.sha256()
    try:
        with source.open("rb") as package, copy.open("xb") as file:
            while data := package.read(1 << 20):
                hashed.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {copy.parent.parent}: {error.strerror or error}") from error
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise PackageError(f"{source} was changed while it was deployed; deploy it again")


def _remove(folder: ServiceFolder) -> None:
    # First the name, in one step: nobody shall see half a service.
    doomed = folder.path.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        folder.path.rename(doomed)
    except FileNotFoundError:
        return  # somebody else was deleting it too
    except OSError as error:
        raise StorageError(f"cannot remove {folder.path}: {error.strerror or error}") from error
    shutil.rmtree(doomed, ignore_errors=True)
