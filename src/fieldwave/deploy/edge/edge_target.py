"""Services on a box at the edge, as a `Target`: ssh to get there, podman to run them, nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from fieldwave.deploy.beside import check_apart
from fieldwave.deploy.edge.beside import forget_others, give, sent_beside
from fieldwave.deploy.edge.box import Box, Facts, Listed
from fieldwave.deploy.edge.certificate import Certificate, self_signed
from fieldwave.deploy.edge.change import await_ready, play, remove
from fieldwave.deploy.edge.condition import condition
from fieldwave.deploy.edge.copying import Progress, bring
from fieldwave.deploy.edge.pod import pack
from fieldwave.deploy.edge.record import Record, me, read_records
from fieldwave.deploy.edge.source import Shipment, shipment
from fieldwave.deploy.state import now
from fieldwave.deploy.target import Replicas, Service, Source, WhenBusy, check_name
from fieldwave.deploy.ways import Way, check_way_ends
from fieldwave.errors import ConflictError, FieldwaveError, InputError, NotFoundError, ServiceError
from fieldwave.keys import KeyName, Keys
from fieldwave.ssh import Host, Ssh
from fieldwave.workspace import Workspace

__all__ = ["EdgeTarget"]

PATIENCE_SECONDS = 120.0


class EdgeTarget:
    """A box that is reached by ssh and runs services in podman.

    Everything about a service is kept on the box: whoever may log in there sees the same services.

    Parameters:
        workspace: where images are found; from the working directory if not given.
        host: how the box is reached.
        progress: told how far the copying of an image is.
        note: told what the engineer should know, a line each.
        patience: seconds for which a broken link is tried again.
    """

    def __init__(
        self,
        workspace: Workspace | None,
        host: Host,
        *,
        progress: Progress = lambda what, done: None,
        note: Callable[[str], None] = lambda line: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.workspace = workspace or Workspace.find()
        self._box = Box(Ssh(host), patience)
        self._progress = progress
        self._note = note
        self._address = ""

    def close(self) -> None:
        """End the connection; one that was forgotten ends by itself a minute later."""
        self._box.ssh.close()

    def check(self) -> Facts:
        """What the box is.

        Raises:
            HostError: it cannot be reached, or cannot run services; the message says what it lacks.
        """
        return self._box.facts(again=True)

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
        http_port: int | None = None,
        also: Sequence[Source] = (),
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run an image as a service, and return when it answers; see `Target.deploy`.

        Parameters:
            source: an image, or one in an archive file; or a package, registered or a file, of which an image is
                built first.
            secure: keys and TLS; None is True here, since a box is reached from outside.
            http_port: a port for REST, metrics and the page, with the same keys and TLS; 0 for a free one.
            also: packages that take turns on the device; callers say which they mean by the network's name.

        Raises:
            StorageError: there is no room on the box.
            HostError: the box cannot be reached; what has arrived stays there, and the same call goes on from it.
        """
        check_name(name)
        _check_one(replicas)
        _check_device(device)
        if when_busy != "refuse":
            raise InputError(f"services on an edge box cannot {when_busy}: who holds a device is not known there")
        facts = self.check()
        if name in facts.services and self._box.listed(name).records:
            raise ConflictError(f"service {name!r} exists on {self._box.name}; update it, or choose another name")
        token = secrets.token_hex(8)
        certificate = self_signed(self._names(name)) if secure is not False else None
        keys = Keys.generate() if certificate else None
        with self._brought(source, name, token) as shipped:
            record = Record(
                name=name,
                **shipped.fields(),
                device=device,
                created=now(),
                port=port,
                probe_port=0,
                secure=certificate is not None,
                certificate=certificate.certificate.decode() if certificate else "",
                token=token,
                by=me(),
                also=sent_beside(self._box, also, self.workspace, shipped.archive.network, self._progress),
            )
            record = self._start(record, facts.folder, keys, certificate, http_port)
        if not facts.manager:
            self._note(
                f"{self._box.name} has no systemd that would start {name} with the box: have its own start-up run "
                f"'podman pod start {record.pod}' as {facts.user}"
            )
        if wait:
            try:
                await_ready(self._box, record, timeout)
            except ServiceError as error:
                with suppress(FieldwaveError):
                    self.delete(name)
                raise ServiceError(f"service {name!r} did not start on {self._box.name}: {error}") from None
        return self.get(name)

    def update(
        self,
        name: str,
        source: Source | None = None,
        *,
        device: str | None = None,
        http_port: int | None = None,
        also: Sequence[Source] | None = None,
        without: Collection[Way] = (),
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Serve another image, on another device, or over HTTP too, with the same address, keys and certificate.

        There is one device: the old one stops before the new one starts. One that does not become ready makes
        room for the old one again; see `Target.update`.

        Parameters:
            without: the ways in which it is not to be called any more; its port there is somebody else's then.
        """
        facts = self._box.facts()
        before, _ = self._find(name)
        token = secrets.token_hex(8)
        _check_device(device or before.device)
        record = replace(before, device=device or before.device, token=token, by=me())
        there: list[Way] = ["http"] if before.http_port else []
        check_way_ends(name, without, wanted=["http"] if http_port is not None else [], there=there)
        if "http" in without:
            record = replace(record, http_port=0)
        if http_port is not None:
            record = replace(record, http_port=self._http_port(name, http_port))
        with ExitStack() as stack:
            if source is not None:
                shipped = stack.enter_context(self._brought(source, name, token))
                record = replace(record, **shipped.fields())
            if also is not None:
                beside = sent_beside(self._box, also, self.workspace, record.network, self._progress)
                give(self._box, name, beside)
                record = replace(record, also=beside)
            check_apart(record.network, record.also)
            play(self._box, "update", record, pack(record, facts.folder))
        if wait:
            try:
                await_ready(self._box, record, timeout)
            except ServiceError as error:
                play(self._box, "undo", record, b"")
                forget_others(self._box, name, before.also)
                raise ServiceError(
                    f"service {name!r} was not updated on {self._box.name}, the one before serves on: {error}"
                ) from None
            self._box.call("sweep")
            if before.also:
                forget_others(self._box, name, record.also)
        if before.http_port and not record.http_port:
            self._box.call("http", name, "none")
        return self.get(name)

    def scale(self, name: str, replicas: int, *, wait: bool = True, timeout: float = 600.0) -> Service:
        """A box runs one replica of a service: 1 is what it has. Raises InputError for more."""
        _check_one(replicas)
        return self.get(name)

    def get(self, name: str) -> Service:
        """The service of that name as it is now. Raises NotFoundError."""
        record, listed = self._find(name)
        return self._view(record, listed)

    def list(self) -> tuple[Service, ...]:
        """All services on the box as they are now, by name."""
        listed = self._box.listed()
        return tuple(self._view(record, listed) for record in read_records(listed, self._box.name))

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines of a service's log; see `Target.logs`."""
        self._find(name)
        return self._box.lines("logs", name, str(lines), "follow" if follow else "once")

    def keys(self, name: str) -> Keys:
        """Both keys of a service.

        Raises:
            NotFoundError: no service of that name, or it has no keys.
        """
        if not self._find(name)[0].secure:
            raise NotFoundError(f"service {name!r} on {self._box.name} has no keys: it was deployed without")
        primary, secondary = self._box.call("secrets", name).text.split()
        return Keys(primary, secondary)

    def regenerate_key(self, name: str, which: KeyName) -> Keys:
        """Put a new key into the place of one; the server takes it without a restart. See `keys`."""
        keys = self.keys(name).regenerated(which)
        self._box.call("replace_key", name, which, stdin=f"{getattr(keys, which)}\n".encode())
        return keys

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it from the box, and the images that nothing else there uses."""
        self._find(name)
        remove(self._box, name, timeout)

    def _start(
        self,
        record: Record,
        folder: str,
        keys: Keys | None,
        certificate: Certificate | None,
        http_port: int | None,
    ) -> Record:
        """Start a new service, on a port that is free there where none was asked for; with its ports."""
        for last in (False, False, True):
            said = self._box.call("claim", record.name, str(record.port), record.token, record.by).text
            port, probe_port = map(int, said.split())
            placed = replace(record, port=port, probe_port=probe_port)
            if http_port is not None:
                placed = replace(placed, http_port=self._http_port(record.name, http_port))
            give(self._box, record.name, record.also)
            try:
                if note := play(self._box, "fresh", placed, pack(placed, folder, keys, certificate)):
                    self._note(f"{self._box.name}: {note}")
                break
            except ServiceError as error:
                # Another program there was faster; the next claim sees that it listens.
                if last or record.port or "address already in use" not in str(error):
                    raise
        return placed

    def _http_port(self, name: str, port: int) -> int:
        """The port on the box that is the service's for HTTP from now on; 0 for the one it has, or a free one."""
        return int(self._box.call("http", name, str(port)).text)

    @contextmanager
    def _brought(self, source: Source, name: str, token: str) -> Iterator[Shipment]:
        """What was deployed, once it is on the box; it is not cleared away there in this context."""
        with shipment(source, name, self.workspace, self._box.facts().machine, self._progress) as shipped:
            try:
                bring(self._box, shipped.archive, shipped.reference, token, self._progress)
                yield shipped
            finally:
                with suppress(FieldwaveError):
                    self._box.call("release", token)

    def _find(self, name: str) -> tuple[Record, Listed]:
        check_name(name)
        listed = self._box.listed(name)
        records = read_records(listed, self._box.name)
        if records:
            return records[0], listed
        known = [record.name for record in read_records(self._box.listed(), self._box.name)]
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise NotFoundError(f"no service {name!r} on {self._box.name}: {there}")

    def _view(self, record: Record, listed: Listed) -> Service:
        found = condition(self._box, record, listed.containers.get(record.container), listed.time)
        return Service(
            name=record.name,
            state=found.state,
            host=self._hostname(),
            port=record.port,
            pid=None,
            restarts=found.restarts,
            package=record.package,
            network=record.network,
            device=record.device,
            created=record.created,
            reason=found.reason,
            target=self,
            replicas=Replicas(1, int(found.state == "Healthy")),
            addresses=(f"{self._hostname()}:{record.port}",),
            model=record.model,
            image=record.image,
            secure=record.secure,
            certificate=record.certificate,
            http=record.http(self._hostname()),
            also=tuple(one.network for one in record.also),
        )

    def _hostname(self) -> str:
        self._address = self._address or self._box.ssh.address()
        return self._address

    def _names(self, name: str) -> tuple[str, ...]:
        """What a client may call the box."""
        alias = self._box.name.rpartition("@")[2]
        return (self._hostname(), alias, name, "localhost", "127.0.0.1")


def _check_one(replicas: int) -> None:
    if replicas != 1:
        raise InputError(f"an edge box runs one replica of a service, not {replicas}; deploy it to more boxes")


def _check_device(device: str) -> None:
    from fieldwave.devices import create_device

    create_device(device)  # a wrong name fails before anything is sent
