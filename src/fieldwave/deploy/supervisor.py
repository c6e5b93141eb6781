"""The process that keeps one service alive: ``python -m fieldwave.deploy.supervisor FOLDER``.

It starts the serving process, starts it again when it dies, keeps its output in the log and its state in
status.json, and stops it when told to (SIGTERM). It holds the service's lock and port, which it inherited from
the process that deployed, and imports nothing heavy: it costs a few megabytes and sleeps.

::

                    ready                    died
    Starting ──────────────▶ Healthy ◀───────────────▶ Restarting
       │ died before ready                               │ died 5 times in a row before it was ready
       └────────────────────────▶ Restarting             ▼
    any state ──SIGTERM──▶ Stopped                     Failed (tried again all the same, every 10 s)

A service never gives up: what keeps it from starting (a port or a device held by another) may go away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

from fieldwave.deploy.port import is_taken
from fieldwave.deploy.state import ServiceFolder, Status, now
from fieldwave.errors import StorageError
from fieldwave.processes.backoff import Backoff
from fieldwave.processes.child import die_with_parent, exit_text, one_line
from fieldwave.processes.launch import belong_to_nobody
from fieldwave.processes.lock import sign
from fieldwave.processes.log import BoundedLog
from fieldwave.processes.report import Listener, listen

__all__ = ["Supervisor"]

FAILED_AFTER = 5
GRACE_SECONDS = 15.0  # the server itself drains for 10 s
_TICK_SECONDS = 1.0
_START_TICK_SECONDS = 0.02
_TAIL_BYTES = 4096
_READ_BYTES = 65536
_READS_AT_ONCE = 32  # more than a pipe holds, and an end to it for one that never stops writing


class Supervisor:
    """Keeps the service in ``folder`` alive until SIGTERM, or until the folder is gone."""

    def __init__(self, folder: ServiceFolder) -> None:
        self._folder = folder
        self._spec = folder.read_spec()
        self._log = BoundedLog(folder.log)
        self._backoff = Backoff()
        self._status = Status("Starting", supervisor=os.getpid())
        self._published: Status | None = None
        self._failures = 0  # deaths in a row before the process was ready
        self._stopping = False
        self._tail = b""
        self._listener: Listener | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        sign(self._folder.lock)
        with self._signals():
            self._publish()
            while not self._stopping:
                self._live()
        self._say("stopped")
        self._publish(state="Stopped", pid=None)
        self._log.close()

    def _live(self) -> None:
        """One life of the serving process, and the pause after it."""
        child, error = self._start()
        healthy_seconds = None
        if child is not None:
            healthy_seconds = self._watch(child)
            if self._stopping:
                self._stop(child)
                return
            error = self._last_words(child)
        self._failures = 0 if healthy_seconds is not None else self._failures + 1
        pause = self._backoff.after(healthy_seconds)
        self._say(f"{error}; next start in {pause:.1f} s")
        self._publish(
            state="Failed" if self._failures >= FAILED_AFTER else "Restarting",
            pid=None,
            restarts=self._status.restarts + 1,
            last_exit=exit_text(child.returncode) if child else self._status.last_exit,
            last_error=error,
        )
        deadline = time.monotonic() + pause
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._sleep(left)

    def _start(self) -> tuple[subprocess.Popen[bytes] | None, str]:
        """The serving process, or why there is none."""
        self._tail = b""
        host, port = self._spec.host, self._spec.port
        if is_taken(host, port):
            return None, f"port {port} on {host} is taken by another process"
        try:
            with listen() as (listener, descriptor, environment):
                child = subprocess.Popen(
                    [*self._spec.command, str(self._folder.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=[descriptor],
                    preexec_fn=functools.partial(die_with_parent, os.getpid()),
                )
        except (OSError, subprocess.SubprocessError) as error:
            return None, f"cannot start {self._spec.command[0]}: {error}"
        self._listener = listener
        self._say(f"started process {child.pid} for port {port}")
        self._publish(pid=child.pid, started=now())
        return child, ""

    def _watch(self, child: subprocess.Popen[bytes]) -> float | None:
        """Wait until it ends or is to be stopped; the seconds it was healthy, None if it never was."""
        assert child.stdout is not None and self._listener is not None
        os.set_blocking(child.stdout.fileno(), False)
        self._selector.register(child.stdout, selectors.EVENT_READ)
        self._selector.register(self._listener.pipe, selectors.EVENT_READ)
        healthy_since = None
        while not self._stopping and child.poll() is None:
            if healthy_since is None and self._listener.error == "":
                healthy_since = time.monotonic()
                self._say(f"process {child.pid} is ready")
                self._publish(state="Healthy")
            self._sleep(_START_TICK_SECONDS if healthy_since is None else _TICK_SECONDS)
        if not self._stopping:
            self._listener.hear()
            self._read(child.stdout)
            self._close(child.stdout)
            self._close(self._listener.pipe)
        return None if healthy_since is None else time.monotonic() - healthy_since

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        """Let it drain, and end it if that takes too long."""
        assert child.stdout is not None and self._listener is not None
        self._say(f"stopping process {child.pid}")
        child.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while child.poll() is None and time.monotonic() < deadline:
            self._sleep(_START_TICK_SECONDS)
        if child.poll() is None:
            self._say(f"process {child.pid} did not end within {GRACE_SECONDS:.0f} s and is killed")
            child.kill()
            child.wait()
        self._read(child.stdout)
        self._close(child.stdout)
        self._close(self._listener.pipe)
        self._status = dataclasses.replace(self._status, last_exit=exit_text(child.returncode))

    def _last_words(self, child: subprocess.Popen[bytes]) -> str:
        if self._listener is not None and self._listener.error:
            return one_line(self._listener.error)
        if child.returncode < 0:
            return f"killed by {exit_text(child.returncode)}"
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return one_line(lines[-1]) if lines else f"ended with {exit_text(child.returncode)}"

    def _sleep(self, seconds: float) -> None:
        """Until something happens, at most ``seconds``; keeps the log flowing and the status published."""
        for key, _ in self._selector.select(min(seconds, _TICK_SECONDS)):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.recv(4096)
            elif self._listener is not None and key.fileobj is self._listener.pipe:
                if not self._listener.hear():
                    self._selector.unregister(key.fileobj)
            elif not self._read(key.fileobj):
                self._selector.unregister(key.fileobj)
        if self._published != self._status:
            self._publish()
        with contextlib.suppress(PermissionError):
            self._stopping = self._stopping or not self._folder.path.exists()

    def _read(self, output: Any) -> bool:
        """Copy what the serving process has written to the log; False at its end."""
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(output.fileno(), _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            self._log.write(data)
        return True

    def _close(self, output: IO[bytes] | BinaryIO) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(output)
        output.close()

    def _publish(self, **changes: Any) -> None:
        self._status = dataclasses.replace(self._status, **changes)
        # A full disk must not end the service: what could not be written is written at the next tick.
        with contextlib.suppress(StorageError):
            self._folder.write_status(self._status)
            self._published = self._status

    def _say(self, text: str) -> None:
        self._log.write(f"{now()} supervisor: {text}\n".encode())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the service; they and a child's end wake the selector."""
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        # Whoever deployed may have had them blocked, and a mask is inherited.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with wake, woken:
            yield
            signal.set_wakeup_fd(-1)

    def _on_stop(self, *_: object) -> None:
        self._stopping = True


def main() -> None:
    belong_to_nobody(lambda path: Supervisor(ServiceFolder(path)).run())


if __name__ == "__main__":
    main()
