"""The process that keeps one service alive: ``python -m fieldwave.deploy.supervisor FOLDER``.

It looks after the service's replicas, keeps their output in the log and their state in status.json, carries out
the changes that are asked for (`rollout`), and stops all when told to (SIGTERM). It holds the service's lock and
port, which it inherited from the process that deployed, and imports nothing heavy: it costs a few megabytes and
sleeps.

A service never gives up: what keeps it from starting (a port or a device held by another) may go away.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from fieldwave.deploy.orders import Assignment
from fieldwave.deploy.replica import TICK_SECONDS, Replica
from fieldwave.deploy.rollout import rollout
from fieldwave.deploy.state import PACKAGE, Change, ServiceFolder, Spec, Status, now
from fieldwave.errors import FieldwaveError, StorageError
from fieldwave.processes.appear import disappear
from fieldwave.processes.launch import belong_to_nobody
from fieldwave.processes.lock import sign
from fieldwave.processes.log import BoundedLog

__all__ = ["Supervisor"]

_CHANGE_TICK_SECONDS = 0.02


class Supervisor:
    """Keeps the service in ``folder`` alive until SIGTERM, or until the folder is gone."""

    def __init__(self, folder: ServiceFolder) -> None:
        self._folder = folder
        self._spec = folder.read_spec()
        self._log = BoundedLog(folder.log)
        self._status = Status(supervisor=os.getpid())
        self._published: Status | None = None
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        first = self._assignment(self._spec)
        others = [first.elsewhere()] * (self._spec.replicas - 1)
        self._replicas = [self._replica(assignment) for assignment in (first, *others)]
        self._change: Generator[None, None, None] | None = None
        self._done = ""

    def run(self) -> None:
        with self._signals():
            sign(self._folder.lock)
            while not self._stopping:
                self._turn()
            for replica in self._replicas:
                replica.stop()
            while not all(replica.ended for replica in self._replicas):
                self._turn()
        self._say("stopped")
        self._publish(stopped=True, changing="")
        self._log.close()

    def _turn(self) -> None:
        """Do what is due, and sleep until something else is."""
        due = min(replica.tick() for replica in self._replicas)
        if not self._stopping:
            self._go_on_with_change()
        # A full disk must not end the service: what could not be written is written at the next turn.
        self._publish()
        limit = TICK_SECONDS if self._change is None else _CHANGE_TICK_SECONDS
        for key, _ in self._selector.select(min(max(due - time.monotonic(), 0.0), limit)):
            key.data()
        with contextlib.suppress(PermissionError):
            self._stopping = self._stopping or not self._folder.path.exists()

    def _go_on_with_change(self) -> None:
        if self._change is None and self._folder.change.is_dir():
            self._change = self._changing()
        if self._change is not None:
            try:
                next(self._change)
            except StopIteration:
                self._change = None

    def _changing(self) -> Generator[None, None, None]:
        """Carry out the change that is asked for; service.json says so when it has succeeded."""
        try:
            change, new = self._folder.read_change()
            if change.number == self._done:  # its folder could not be removed
                return
            new = self._take_package(change, new)
        except (FileNotFoundError, FieldwaveError, OSError) as error:
            self._say(f"a change cannot be read: {error}")
            self._leave_change()
            return
        self._say(f"the service {change.what}")
        self._publish(changing=change.what)
        old = self._spec
        refused = yield from rollout(
            self._replicas,
            self._assignment(old),
            self._assignment(new),
            new.replicas,
            make=self._replica,
            number=change.number,
            timeout=change.timeout,
        )
        if not refused:
            self._spec = new
            while not self._keep(new):
                yield
        self._say(f"the service stays as it was: {refused}" if refused else f"the service {change.what}: done")
        unused = new if refused else old
        for file in _files(unused) - _files(self._spec):
            with contextlib.suppress(OSError):
                (self._folder.path / file).unlink()
        self._done = change.number
        self._leave_change()
        self._publish(changing="", change=change.number, refused=refused)

    def _take_package(self, change: Change, new: Spec) -> Spec:
        """Move the packages that come with a change to their place, under names of their own."""
        file = f"package.{change.number}.zip"
        package = self._folder.change / PACKAGE
        new = replace(new, file=file if package.exists() else self._spec.file)
        if package.exists():
            package.rename(self._folder.package(new))
        also = []
        for shared in new.also:
            came = self._folder.change / shared.file
            if came.exists():
                shared = replace(shared, file=f"also.{change.number}.{shared.file.removeprefix('also.')}")
                came.rename(self._folder.path / shared.file)
            also.append(shared)
        return replace(new, also=also)

    def _leave_change(self) -> None:
        with contextlib.suppress(StorageError):
            disappear(self._folder.change)

    def _keep(self, spec: Spec) -> bool:
        try:
            self._folder.write_spec(spec)
        except StorageError as error:
            self._say(f"{error}; it is tried again")
            return False
        return True

    def _assignment(self, spec: Spec) -> Assignment:
        return Assignment(
            name=spec.name,
            package=str(self._folder.package(spec)),
            digest=spec.package,
            device=spec.device,
            host=spec.host,
            port=spec.port,
            when_busy=spec.when_busy,
            keys=str(self._folder.keys) if spec.keys else "",
            tls_cert=spec.tls_cert,
            tls_key=spec.tls_key,
            client_ca=spec.client_ca,
            container=spec.container,
            http_port=spec.http_port,
            socket=spec.socket,
            also=tuple(str(self._folder.path / shared.file) for shared in spec.also),
        )

    def _replica(self, assignment: Assignment) -> Replica:
        return Replica(
            self._folder,
            self._spec.command,
            assignment,
            say=self._say,
            write=self._write,
            selector=self._selector,
        )

    def _publish(self, **changes: Any) -> None:
        replicas = [replica.status for replica in self._replicas]
        self._status = replace(self._status, replicas=replicas, **changes)
        if self._published != self._status:
            with contextlib.suppress(StorageError):
                self._folder.write_status(self._status)
                self._published = self._status

    def _write(self, lines: bytes, port: int) -> None:
        if len(self._replicas) > 1:
            lines = b"".join(f"{port} | ".encode() + line for line in lines.splitlines(keepends=True))
        self._log.write(lines)

    def _say(self, text: str) -> None:
        self._log.write(f"{now()} supervisor: {text}\n".encode())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the service; they, SIGUSR1 and a child's end wake the selector."""
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(4096))
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        # Whoever deployed may have had them blocked, and a mask is inherited.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with wake, woken:
            yield
            signal.set_wakeup_fd(-1)

    def _on_stop(self, *_: object) -> None:
        self._stopping = True


def _files(spec: Spec) -> set[str]:
    return {spec.file, *(shared.file for shared in spec.also)}


def main() -> None:
    belong_to_nobody(lambda folder: Supervisor(ServiceFolder(folder)).run())


if __name__ == "__main__":
    main()
