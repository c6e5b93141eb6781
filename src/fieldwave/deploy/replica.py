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

import math
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fieldwave.deploy.child import Child
from fieldwave.deploy.orders import Assignment, Order
from fieldwave.deploy.port import is_taken, reserve
from fieldwave.deploy.state import Life, ReplicaStatus, ServiceFolder, now
from fieldwave.errors import FieldwaveError
from fieldwave.processes.backoff import Backoff
from fieldwave.processes.child import one_line

__all__ = ["TICK_SECONDS", "Replica"]

FAILED_AFTER = 5
GRACE_SECONDS = 15.0  # the server itself drains for 10 s
GRACE_SECONDS_WHEN_HUNG = 2.0
HUNG_SECONDS = 5.0
HOPELESS_SECONDS = 60.0
TICK_SECONDS = 1.0
_START_TICK_SECONDS = 0.02


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
        self._http_reservation: socket.socket | None = None
        self._backoff = Backoff()
        self._child: Child | None = None
        self._next_start = 0.0
        self._ready_since: float | None = None
        self._last_beat: float | None = None
        self._trouble = ""
        self._held_up = False  # by those who hold the device
        self._was_ready = False
        self._renewed = self._ending = False
        self._kill_at = math.inf
        self._grace = GRACE_SECONDS

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
        elif self._child.has_ended():
            self._bury(self._child)
            return moment
        elif self._ending or self._renewed:
            if moment >= self._kill_at:
                self._say(f"process {self._child.pid} did not end within {self._grace:.0f} s and is killed")
                self._child.kill()
                self._kill_at = math.inf
        else:
            self._heed(self._child, moment)
            if self._ready_since is not None:
                return moment + TICK_SECONDS
        return moment + _START_TICK_SECONDS

    def order(self, order: Order) -> None:
        """Tell the process, which answers when it has done so; see ``answers``."""
        if self._child is not None:
            self._child.order(order)

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
        self._held_up = False
        try:
            self._reserve()
            host, port = self.assignment.host, self.assignment.port
            for one in (port, self.assignment.http_port or port):
                # A container of a process that was killed is removed by the next.
                if not self.assignment.container and is_taken(host, one):
                    return self._died(f"port {one} on {host} is taken by another process")
            # Whoever had a device once waits for it like all others: two must not throw each other out for ever.
            when_busy = "wait" if self._was_ready else self.assignment.when_busy
            self._child = Child(
                self._command,
                self._folder.path,
                replace(self.assignment, when_busy=when_busy),
                write=lambda lines: self._write(lines, port),
                selector=self._selector,
            )
        except (OSError, FieldwaveError, subprocess.SubprocessError) as error:
            return self._died(f"cannot start {self._command[0]}: {error}")
        self._ready_since = self._last_beat = None
        self._trouble = ""
        self._say(f"started process {self._child.pid} for port {port}")
        self.status = replace(self.status, pid=self._child.pid, started=now())

    def _reserve(self) -> None:
        """The first replica's port is reserved by whoever deployed it; all others are reserved here."""
        if self.assignment.port == 0:
            self._reservation = reserve(self.assignment.host, 0)
            port = self._reservation.getsockname()[1]
            self.assignment = replace(self.assignment, port=port)
            self.status = replace(self.status, port=port)
        wanted, kept = self.assignment.http_port, self._http_reservation
        if kept is not None and (wanted is None or wanted not in (0, kept.getsockname()[1])):
            kept.close()
            self._http_reservation = kept = None
        if wanted is not None and kept is None:
            self._http_reservation = kept = reserve(self.assignment.host, wanted)
        http_port = kept.getsockname()[1] if kept is not None else None
        self.assignment = replace(self.assignment, http_port=http_port)
        self.status = replace(self.status, http_port=http_port or 0)

    def _heed(self, child: Child, moment: float) -> None:
        """Take in what the process has said."""
        while child.said:
            match child.said.popleft():
                case {"beat": str(trouble)}:
                    self._last_beat, self._trouble = moment, trouble
                case {"waiting": str(reason)}:
                    self._held_up = True
                    self.status = replace(self.status, life="Waiting", reason=one_line(reason))
                case {"order": str(number), "refused": str(why)}:
                    self.answers[number] = one_line(why)
        if self._ready_since is None:
            if child.ready:
                self._ready_since, self._was_ready, self.failures = moment, True, 0
                self._say(f"process {child.pid} is ready")
                self.status = replace(self.status, life="Healthy")
            return
        silent = self._silence()
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

    def _terminate(self, child: Child) -> None:
        self._say(f"stopping process {child.pid}")
        child.terminate()
        self._grace = GRACE_SECONDS_WHEN_HUNG if self._silence() > HUNG_SECONDS else GRACE_SECONDS
        self._kill_at = time.monotonic() + self._grace

    def _silence(self) -> float:
        """Seconds since the process has last said that it is there; 0 for one that never has."""
        return 0.0 if self._last_beat is None else time.monotonic() - self._last_beat

    def _bury(self, child: Child) -> None:
        """The process has ended: see what it has left, and what is next."""
        child.close()
        self._heed(child, time.monotonic())
        self._child = None
        self._kill_at = math.inf
        self.status = replace(self.status, pid=None, last_exit=child.exit)
        if self._ending:
            self._rest()
        elif self._renewed:
            self._renewed = False
        else:
            self._died(child.last_words(), refused=self._held_up and child.failed)

    def _died(self, reason: str, *, refused: bool = False) -> None:
        lived = None if self._ready_since is None else time.monotonic() - self._ready_since
        self._ready_since = None
        self.failures = 0 if lived is not None else self.failures + 1
        pause = self._backoff.after(lived)
        self._next_start = time.monotonic() + pause
        self._say(f"{reason}; next start in {pause:.1f} s")
        life: Life = "Waiting" if refused else "Failed" if self.failures >= FAILED_AFTER else "Restarting"
        restarts = self.status.restarts + 1
        self.status = replace(self.status, life=life, pid=None, restarts=restarts, reason=reason)

    def _rest(self) -> None:
        for reservation in (self._reservation, self._http_reservation):
            if reservation is not None:
                reservation.close()
        self.status = replace(self.status, life="Stopped", pid=None)
