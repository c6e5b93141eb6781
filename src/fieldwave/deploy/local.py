"""Services on this machine: each a supervised process of its own, all their state in files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.deploy import port as ports
from fieldwave.deploy.asking import ask, hear
from fieldwave.deploy.beside import check_apart, found_beside
from fieldwave.deploy.exposure import HERE, Exposure
from fieldwave.deploy.source import found
from fieldwave.deploy.starting import first_start, start
from fieldwave.deploy.state import ServiceFolder, Spec, now
from fieldwave.deploy.target import Runtime, Service, Source, WhenBusy, check_name, check_replicas, is_name
from fieldwave.deploy.view import view
from fieldwave.deploy.ways import Way, check_free, check_way_ends, check_ways
from fieldwave.errors import ConflictError, InputError, NotFoundError, StorageError
from fieldwave.keys import KeyName, Keys, read_keys, regenerate_key
from fieldwave.processes.appear import disappear
from fieldwave.processes.launch import python
from fieldwave.processes.lock import is_held
from fieldwave.processes.log import follow as follow_log
from fieldwave.processes.log import last_lines
from fieldwave.processes.stop import stop
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.package import Package

__all__ = ["LocalTarget"]

SERVE_COMMAND = python("fieldwave.deploy.serve_process")
CONTAINER_COMMAND = python("fieldwave.deploy.container_process")


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
        source: Source,
        name: str,
        *,
        device: str = "cpu",
        port: int = 0,
        replicas: int = 1,
        secure: bool | None = None,
        when_busy: WhenBusy = "refuse",
        runtime: Runtime = "process",
        exposure: Exposure = HERE,
        http_port: int | None = None,
        socket: str | os.PathLike[str] | None = None,
        also: Sequence[Source] = (),
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run a package as a service; see `Target.deploy`.

        On 127.0.0.1, callers need a key only if ``secure`` is said. With ``wait``, a serving process that dies
        before it was ready once ends the attempt: what keeps a first start from coming up seldom goes away by
        itself.

        Parameters:
            runtime: ``process`` runs what is installed here; ``podman`` runs the image, which ``source`` is then.
            exposure: where it listens, and its certificates.
            http_port: a port for REST, metrics and the page, with the same keys and TLS; 0 for a free one, which
                it keeps. Of several replicas the others have free ones.
            socket: a Unix socket to listen on as well, for this user alone; the first replica has it.
            also: packages that take turns on the device; callers say which they mean by the network's name.
        """
        from fieldwave.devices import create_device

        check_name(name)
        check_replicas(replicas)
        if (self._services / name).exists():
            raise self._taken(name)
        create_device(device)  # a wrong name fails before anything is started
        keys = exposure.host != HERE.host if secure is None else secure
        if exposure != HERE:
            exposure.check(keys=keys)
        check_ways(port, http_port, runtime == "podman", socket, also)
        with ExitStack() as stack:
            content = stack.enter_context(found(source, self.workspace))
            network = content.package.manifest.network
            beside = stack.enter_context(found_beside(also, self.workspace, network))
            check_free(self._alive(), exposure.host, port, http_port or 0)
            reservation = stack.enter_context(ports.reserve(exposure.host, port))
            if runtime == "podman":
                self._load_image(source)
            spec = Spec(
                name=name,
                network=network,
                device=device,
                host=exposure.host,
                port=reservation.getsockname()[1],
                package=content.package.digest,
                created=now(),
                command=list(self._command) if runtime == "process" else CONTAINER_COMMAND,
                replicas=replicas,
                when_busy=when_busy,
                model=content.model,
                image=content.image,
                keys=keys,
                **exposure.files(),
                container=content.container if runtime == "podman" else "",
                http_port=http_port,
                socket=os.path.abspath(socket) if socket else "",
                also=beside.shared,
            )
            if not start(self.workspace, spec, content.path, reservation.fileno(), beside.paths):
                raise self._taken(name)
        return first_start(self, name, when_busy, timeout) if wait else self.get(name)

    def update(
        self,
        name: str,
        source: Source | None = None,
        *,
        device: str | None = None,
        http_port: int | None = None,
        socket: str | os.PathLike[str] | None = None,
        also: Sequence[Source] | None = None,
        without: Collection[Way] = (),
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Serve another package, on another device, or in other ways; see `Target.update` and `deploy`.

        A process that is ready takes another package without a restart, between two requests. All else is had by
        processes that start anew, one replica after the other.

        Parameters:
            without: the ways in which it is not to be called any more; its port is somebody else's then.
        """
        from fieldwave.devices import create_device

        if all(each is None for each in (source, device, http_port, socket, also)) and not without:
            raise InputError(f"nothing to change about service {name!r}; name a package or a device")
        folder = self._folder(name)
        spec = self._spec(folder)
        if device is not None:
            create_device(device)
            spec = replace(spec, device=device)
        check_ways(spec.port, http_port, bool(spec.container), socket, also or ())
        check_way_ends(
            name, without, wanted=_ways(http_port, socket), there=_ways(spec.http_port, spec.socket or None)
        )
        if "http" in without:
            spec = replace(spec, http_port=None)
        if "socket" in without:
            spec = replace(spec, socket="")
        if http_port is not None:
            others = (each for each in self._alive() if each.name != name)
            check_free(others, spec.host, http_port)
            spec = replace(spec, http_port=http_port)
        if socket is not None:
            spec = replace(spec, socket=os.path.abspath(socket))
        with ExitStack() as stack:
            content = None if source is None else stack.enter_context(found(source, self.workspace))
            if content is not None:
                if spec.container:
                    self._load_image(source)
                spec = replace(
                    spec,
                    network=content.package.manifest.network,
                    package=content.package.digest,
                    model=content.model,
                    image=content.image,
                    container=content.container if spec.container else "",
                )
            beside = None
            if also is not None:
                beside = stack.enter_context(found_beside(also, self.workspace, spec.network))
                spec = replace(spec, also=beside.shared)
            check_apart(spec.network, () if beside else spec.also)
            what = f"changes to {spec.network} ({spec.package[:19]}) on {spec.device}"
            path = content.path if content else None
            change = ask(folder, spec, what, timeout, path, beside.paths if beside else ())
        if wait:
            hear(folder, change)
        return self.get(name)

    def scale(self, name: str, replicas: int, *, wait: bool = True, timeout: float = 600.0) -> Service:
        """Change how many processes serve it; see `Target.scale`."""
        check_replicas(replicas)
        folder = self._folder(name)
        spec = replace(self._spec(folder), replicas=replicas)
        change = ask(folder, spec, f"changes to {replicas} replicas", timeout)
        if wait:
            hear(folder, change)
        return self.get(name)

    def get(self, name: str) -> Service:
        """The service of that name as it is now. Raises NotFoundError."""
        service = view(self._folder(name), self)
        if service is None:
            raise self._unknown(name)
        return service

    def list(self) -> tuple[Service, ...]:
        """All services as they are now, by name."""
        views = (view(ServiceFolder(self._services / name), self) for name in self._names())
        return tuple(service for service in views if service is not None)

    def package(self, name: str) -> Package:
        """The package that a service serves. Raises NotFoundError."""
        from fieldwave.package import read_package

        folder = self._folder(name)
        return read_package(folder.package(self._spec(folder)))

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines of a service's log; see `Target.logs`."""
        folder = self._folder(name)
        return follow_log(folder.log, lines) if follow else iter(last_lines(folder.log, lines))

    def keys(self, name: str) -> Keys:
        """The keys that open a service; see `Target.keys`."""
        return read_keys(self._folder_of_keys(name))

    def regenerate_key(self, name: str, which: KeyName) -> Keys:
        """Put a new key into the place of one; see `Target.regenerate_key`."""
        return regenerate_key(self._folder_of_keys(name), which)

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it; see `Target.delete`."""
        folder = self._folder(name)
        stop(folder, timeout)
        listened = ""
        with suppress(FileNotFoundError, StorageError):
            listened = folder.read_spec().socket
            if folder.read_spec().container:
                from fieldwave.deploy.podman import remove_all

                remove_all(folder.path)
        disappear(folder.path)
        if listened:
            Path(listened).unlink(missing_ok=True)  # of a process that was killed

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

    def _spec(self, folder: ServiceFolder) -> Spec:
        try:
            return folder.read_spec()
        except FileNotFoundError:
            raise self._unknown(folder.name) from None

    def _folder_of_keys(self, name: str) -> Path:
        folder = self._folder(name)
        if not self._spec(folder).keys:
            raise InputError(
                f"service {name!r} has no keys, every process of this machine may call it; "
                "deploy it with --secure to have keys"
            )
        return folder.keys

    def _load_image(self, source: Source | None) -> None:
        from fieldwave.deploy.podman import load
        from fieldwave.images import Image, Images

        if not isinstance(source, Image):
            raise InputError("podman runs images, and this is none; build one with fieldwave images build")
        load(Images(self.workspace.store), source)

    def _alive(self) -> Iterator[Service]:
        return (each for each in self.list() if is_held(self._services / each.name / "lock"))

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


def _ways(http_port: int | None, socket: str | os.PathLike[str] | None) -> list[Way]:
    said: dict[Way, object] = {"http": http_port, "socket": socket}
    return [way for way, value in said.items() if value is not None]
