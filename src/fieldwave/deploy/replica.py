"""One place of a service: a serving process on a port, and the next process when that one dies.

::

                    ready                    died
    Starting ──────────────▶ Healthy ◀───────────────▶ Restarting
       │ ▲                     │ ▲                       │ died 5 times in a row before it was ready
       ▼ │ device held         ▼ │ hangs, its device     ▼
    Waiting                  Unhealthy fails           Failed (tried again all the same, every 10 s)

A process that says once that it beats is taken for hung when it has not for 5 s, and is killed after 60 s.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO, Any, BinaryIO

from fieldwave.deploy.orders import Assignment, Order, encode
from fieldwave.deploy.port import is_taken, reserve
from fieldwave.deploy.state import Life, ReplicaStatus, ServiceFolder, now
from fieldwave.errors import FieldwaveError
from fieldwave.processes.backoff import Backoff
from fieldwave.processes.child import die_with_parent, exit_text, one_line
from fieldwave.processes.report import Listener, listen

__all__ = ["TICK_SECONDS", "Replica"]

FAILED_AFTER = 5
GRACE_SECONDS = 15.0  # the server itself drains for 10 s
HUNG_SECONDS = 5.0
HOPELESS_SECONDS = 60.0
TICK_SECONDS = 1.0
_START_TICK_SECONDS = 0.02
_TAIL_BYTES = 4096
_READ_BYTES = 65536
_LONGEST_LINE = 65536
_READS_AT_ONCE = 32  # more than a pipe holds, and an end to it for one that never stops writing


class Replica:
    """A serving process and its successors; nothing here waits, `tick` does what is due.

    Parameters:
        folder: the service's.
        command: the serving process's command line; the folder is added to it.
        assignment: what each process is told; with port 0, a free port that this replica then keeps.
        say: takes a line for the log.
        write: takes whole lines of what the processes write, and the port that they are for.
        selector: is given the pipes, with the method to call when there is something in them.

    Attributes:
        assignment: what the next process is told.
        status: what is.
        failures: how many processes in a row have died before they were ready.
        answers: what processes have said to orders, by the order's number: why it was refused, or nothing.
    """

    def __init__(
        self,
        folder: ServiceFolder,
        command: Sequence[str],
        assignment: Assignment,
        *,
        say: Callable[[str], None],
        write: Callable[[bytes, int], None],
        selector: selectors.BaseSelector,
    ) -> None:
        self.assignment = assignment
        self.status = ReplicaStatus(assignment.port)
        self.failures = 0
        self.answers: dict[str, str] = {}
        self._folder = folder
        self._command = list(command)
        self._say, self._write = say, write
        self._selector = selector
        self._reservation: socket.socket | None = None
        self._backoff = Backoff()
        self._child: subprocess.Popen[bytes] | None = None
        self._listener: Listener | None = None
        self._tail = self._line = b""
        self._next_start = 0.0
        self._ready_since: float | None = None
        self._last_beat: float | None = None
        self._trouble = ""
        self._held_up = False  # by those who hold the device
        self._was_ready = False
        self._renewed = self._ending = False
        self._kill_at = math.inf

    @property
    def ended(self) -> bool:
        """Whether it was told to stop and its process is gone."""
        return self._ending and self._child is None

    @property
    def runs(self) -> bool:
        """Whether a process is there, and ready."""
        return self._child is not None and self._ready_since is not None and not self._renewed

    def tick(self) -> float:
        """Do what is due; returns when to call again at the latest, in seconds of time.monotonic."""
        moment = time.monotonic()
        if self._child is None:
            if self._ending:
                return math.inf
            if moment < self._next_start:
                return self._next_start
            self._start()
        elif self._child.poll() is not None:
            self._bury(self._child)
            return moment
        elif self._ending or self._renewed:
            if moment >= self._kill_at:
                self._say(f"process {self._child.pid} did not end within {GRACE_SECONDS:.0f} s and is killed")
                self._child.kill()
                self._kill_at = math.inf
        else:
            self._heed(self._child, moment)
            if self._ready_since is not None:
                return moment + TICK_SECONDS
        return moment + _START_TICK_SECONDS

    def order(self, order: Order) -> None:
        """Tell the process, which answers when it has done so; see ``answers``."""
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone or deaf, and will not answer
                self._child.stdin.write(encode(order))

    def renew(self, assignment: Assignment) -> None:
        """Have the process end in order, and another one do what is given here."""
        self.assignment = replace(assignment, port=self.assignment.port)
        self._backoff, self.failures = Backoff(), 0
        self._was_ready = False
        self._next_start = 0.0
        self.status = replace(self.status, life="Starting", reason="")
        if self._child is not None and not self._ending:
            self._renewed = True
            self._terminate(self._child)

    def stop(self) -> None:
        """Have the process end in order, and no other come."""
        self._ending = True
        if self._child is None:
            self._rest()
        else:
            self._terminate(self._child)

    def _start(self) -> None:
        """Start a process, or note why there is none."""
        self._tail = b""
        self._held_up = False
        try:
            self._reserve()
            host, port = self.assignment.host, self.assignment.port
            # A container of a process that was killed is removed by the next.
            if not self.assignment.container and is_taken(host, port):
                return self._died(f"port {port} on {host} is taken by another process")
            with listen() as (listener, descriptor, environment):
                child = subprocess.Popen(
                    [*self._command, str(self._folder.path)],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=[descriptor],
                    preexec_fn=functools.partial(die_with_parent, os.getpid()),
                )
        except (OSError, FieldwaveError, subprocess.SubprocessError) as error:
            return self._died(f"cannot start {self._command[0]}: {error}")
        assert child.stdin is not None and child.stdout is not None
        self._child, self._listener = child, listener
        self._ready_since = self._last_beat = None
        self._trouble = ""
        for pipe in (child.stdin, child.stdout):
            os.set_blocking(pipe.fileno(), False)
        # Whoever had a device once waits for it like all others: two must not throw each other out for ever.
        when_busy = "wait" if self._was_ready else self.assignment.when_busy
        with contextlib.suppress(OSError):
            child.stdin.write(encode(replace(self.assignment, when_busy=when_busy)))
        self._selector.register(child.stdout, selectors.EVENT_READ, self._read)
        self._selector.register(listener.pipe, selectors.EVENT_READ, self._hear)
        self._say(f"started process {child.pid} for port {port}")
        self.status = replace(self.status, pid=child.pid, started=now())

    def _reserve(self) -> None:
        """The first replica's port is reserved by whoever deployed it; the others see to that themselves."""
        if self.assignment.port == 0:
            self._reservation = reserve(self.assignment.host, 0)
            port = self._reservation.getsockname()[1]
            self.assignment = replace(self.assignment, port=port)
            self.status = replace(self.status, port=port)

    def _heed(self, child: subprocess.Popen[bytes], moment: float) -> None:
        """Take in what the process has said."""
        assert self._listener is not None
        while self._listener.said:
            match self._listener.said.popleft():
                case {"beat": str(trouble)}:
                    self._last_beat, self._trouble = moment, trouble
                case {"waiting": str(reason)}:
                    self._held_up = True
                    self.status = replace(self.status, life="Waiting", reason=one_line(reason))
                case {"order": str(number), "refused": str(why)}:
                    self.answers[number] = one_line(why)
        if self._ready_since is None:
            if self._listener.error == "":
                self._ready_since, self._was_ready, self.failures = moment, True, 0
                self._say(f"process {child.pid} is ready")
                self.status = replace(self.status, life="Healthy")
            return
        silent = 0.0 if self._last_beat is None else moment - self._last_beat
        if silent > HUNG_SECONDS:
            self._unhealthy(f"process {child.pid} is there and does not answer")
            if silent > HOPELESS_SECONDS:
                self._say(f"process {child.pid} has not answered for {HOPELESS_SECONDS:.0f} s and is killed")
                child.kill()
        elif self._trouble:
            self._unhealthy(one_line(self._trouble))
        elif self.status.life == "Unhealthy":
            self._say(f"process {child.pid} answers again")
            self.status = replace(self.status, life="Healthy")

    def _unhealthy(self, reason: str) -> None:
        if (self.status.life, self.status.reason) != ("Unhealthy", reason):
            self._say(reason)
            self.status = replace(self.status, life="Unhealthy", reason=reason)

    def _terminate(self, child: subprocess.Popen[bytes]) -> None:
        self._say(f"stopping process {child.pid}")
        child.terminate()
        self._kill_at = time.monotonic() + GRACE_SECONDS

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """The process has ended: close what it leaves, and see what is next."""
        assert child.stdin is not None and child.stdout is not None and self._listener is not None
        self._hear()
        self._heed(child, time.monotonic())
        self._read()
        for pipe in (child.stdout, self._listener.pipe):
            self._close(pipe)
        child.stdin.close()
        if self._line:
            self._write(self._line + b"\n", self.assignment.port)
            self._line = b""
        self._child = None
        self._kill_at = math.inf
        self.status = replace(self.status, pid=None, last_exit=exit_text(child.returncode))
        if self._ending:
            self._rest()
        elif self._renewed:
            self._renewed = False
        else:
            self._died(self._last_words(child))

    def _died(self, reason: str) -> None:
        lived = None if self._ready_since is None else time.monotonic() - self._ready_since
        self._ready_since = None
        self.failures = 0 if lived is not None else self.failures + 1
        pause = self._backoff.after(lived)
        self._next_start = time.monotonic() + pause
        self._say(f"{reason}; next start in {pause:.1f} s")
        refused = self._held_up and self._listener is not None and bool(self._listener.error)
        life: Life = "Waiting" if refused else "Failed" if self.failures >= FAILED_AFTER else "Restarting"
        restarts = self.status.restarts + 1
        self.status = replace(self.status, life=life, pid=None, restarts=restarts, reason=reason)

    def _rest(self) -> None:
        if self._reservation is not None:
            self._reservation.close()
        self.status = replace(self.status, life="Stopped", pid=None)

    def _last_words(self, child: subprocess.Popen[bytes]) -> str:
        if self._listener is not None and self._listener.error:
            return one_line(self._listener.error)
        if child.returncode < 0:
            return f"killed by {exit_text(child.returncode)}"
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return one_line(lines[-1]) if lines else f"ended with {exit_text(child.returncode)}"

    def _hear(self) -> None:
        assert self._listener is not None
        if not self._listener.hear():
            self._forget(self._listener.pipe)

    def _read(self) -> None:
        """Hand on what the process has written."""
        assert self._child is not None and self._child.stdout is not None
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._child.stdout.fileno(), _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._forget(self._child.stdout)
                return
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            lines, newline, rest = (self._line + data).rpartition(b"\n")
            if not newline and len(rest) > _LONGEST_LINE:
                lines, rest = rest, b""
            if lines or newline:
                self._write(lines + b"\n", self.assignment.port)
            self._line = rest

    def _close(self, pipe: IO[bytes] | BinaryIO) -> None:
        self._forget(pipe)
        pipe.close()

    def _forget(self, pipe: Any) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(pipe)
