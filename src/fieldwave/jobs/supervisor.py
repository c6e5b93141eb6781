"""The process that looks after one job: ``python -m fieldwave.jobs.supervisor FOLDER``.

It starts the worker, keeps its output in the log and what it says in status.json, ends it when the job is
cancelled or has taken too long, and tells how it ended, whatever happened to it. It holds the job's lock, which it
inherited from the process that started the job, and imports nothing heavy.

::

    NotStarted ──▶ Running ──▶ Succeeded   the worker named its result
                          ├──▶ Failed      it raised, or was killed
                          ├──▶ Cancelled   there is a file ``cancel``
                          └──▶ TimedOut

A result that is being stored is waited for: cancelling and the timeout come too late then.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fieldwave.errors import StorageError
from fieldwave.jobs.seen import broken_off
from fieldwave.jobs.state import ENDED, JobFolder, State, Status
from fieldwave.processes.child import die_with_parent, exit_text
from fieldwave.processes.launch import belong_to_nobody, python
from fieldwave.processes.lock import inherited, sign
from fieldwave.processes.log import BoundedLog
from fieldwave.processes.records import now
from fieldwave.processes.report import Listener, listen

__all__ = ["Supervisor"]

COMMIT_SECONDS = 600.0
"""How long a result may take to be stored once the job is to end."""
_WORKER = python("fieldwave.jobs.worker")
_TICK_SECONDS = 0.2
_GRACE_SECONDS = 2.0
_PUBLISH_SECONDS = 1.0
_FULL_DISK_SECONDS = 60.0
_READ_BYTES = 65536
_MOST_STAGES = 200  # for work that names them anew all the time
_READS_AT_ONCE = 32  # more than a pipe holds, and an end to it for one that never stops writing


class Supervisor:
    """Looks after the job in ``folder`` until its worker has ended."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._spec = folder.read_spec()
        self._log = BoundedLog(folder.log)
        self._status = Status("Running", started=now())
        self._published: Status | None = None
        self._published_at = 0.0
        self._stage_since = time.monotonic()
        self._told_to_end = False
        self._is_ending = False

    def run(self) -> None:
        sign(self._folder.lock)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whoever started the job may have had them blocked
        try:
            self._folder.work.mkdir()
            # With the lock: the job has ended when both have, however they do.
            lock = inherited(self._folder.lock)
            with listen() as (listener, descriptor, environment):
                worker = subprocess.Popen(
                    [*_WORKER, str(self._folder.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=[descriptor, *([lock] if lock is not None else [])],
                    process_group=0,
                    preexec_fn=functools.partial(die_with_parent, os.getpid()),
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._end(replace(self._status, state="Failed", error=f"cannot start: {error}"))
            return
        self._publish(pid=worker.pid)
        reason = self._watch(worker, listener)
        self._end(self._last(worker, reason))

    def _watch(self, worker: subprocess.Popen[bytes], listener: Listener) -> State | None:
        """Until the worker has ended; why it was ended, if it was."""
        assert worker.stdout is not None
        os.set_blocking(worker.stdout.fileno(), False)
        timeout = self._spec.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        reason: State | None = None
        since = 0.0
        with selectors.DefaultSelector() as selector, worker.stdout, listener.pipe:
            selector.register(worker.stdout, selectors.EVENT_READ)
            selector.register(listener.pipe, selectors.EVENT_READ)
            while worker.poll() is None:
                # Both close with the worker, and would be ready ever after.
                for key, _ in selector.select(_TICK_SECONDS) or ():
                    if not (self._hear(listener) if key.fileobj is listener.pipe else self._read(worker)):
                        selector.unregister(key.fileobj)
                if not selector.get_map():
                    time.sleep(_TICK_SECONDS / 10)
                if reason is None and (reason := self._reason(deadline)) is not None:
                    since, self._is_ending = time.monotonic(), True
                    self._say({"Cancelled": "cancelled", "TimedOut": "timed out"}.get(reason, "told to end"))
                if reason is not None:
                    self._end_worker(worker, time.monotonic() - since)
                self._publish_sometimes()
            self._signal(worker, signal.SIGKILL)  # what it started and did not wait for
            self._hear(listener)
            self._read(worker)
        return reason

    def _reason(self, deadline: float | None) -> State | None:
        """Why the worker is to be ended, if it is."""
        if self._folder.is_cancelled or not self._folder.path.exists():
            return "Cancelled"
        if deadline is not None and time.monotonic() >= deadline:
            return "TimedOut"
        return "Failed" if self._told_to_end else None

    def _end_worker(self, worker: subprocess.Popen[bytes], seconds: float) -> None:
        """End the worker and all that it started: with a signal that asks, and after a while without asking."""
        if self._status.committing:
            if seconds >= COMMIT_SECONDS:
                self._signal(worker, signal.SIGKILL)
        else:
            self._signal(worker, signal.SIGTERM if seconds < _GRACE_SECONDS else signal.SIGKILL)

    def _signal(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, number)

    def _last(self, worker: subprocess.Popen[bytes], reason: State | None) -> Status:
        """How the job ended."""
        # What the worker said of itself counts more than what was done to it: it may have been faster.
        if self._status.result:
            return replace(self._status, state="Succeeded", error="")
        if self._status.error and (reason is None or self._status.committing):
            return replace(self._status, state="Failed")
        how = f"killed by {exit_text(worker.returncode)}" if worker.returncode < 0 else "ended without a result"
        if worker.returncode == -signal.SIGKILL and reason is None:
            how += "; if nobody did that, the machine ran out of memory"
        if reason == "Failed":
            how = "its supervisor was told to end"
        last = broken_off(self._folder, replace(self._status, error=""), how)
        if last.state == "Failed" and reason == "TimedOut":
            return replace(last, state="TimedOut", error=f"not done within {self._spec.timeout:g} s")
        return last

    def _end(self, status: Status) -> None:
        """Make the last status known; the lock goes with the process."""
        assert status.state in ENDED
        self._finish_stage()
        status = replace(status, stages=self._status.stages, pid=None, ended=now())
        shutil.rmtree(self._folder.work, ignore_errors=True)  # first: it may be what fills the disk
        self._say(f"{status.state}{f': {status.error}' if status.error else ''}")
        self._log.close()
        deadline = time.monotonic() + _FULL_DISK_SECONDS
        while self._folder.path.exists():
            try:
                self._folder.write_status(status)
                return
            except StorageError:
                if time.monotonic() >= deadline:
                    return
                time.sleep(_TICK_SECONDS)

    def _hear(self, listener: Listener) -> bool:
        """Take in what the worker says; False when no more can come."""
        is_open = listener.hear()
        while listener.said:
            said = listener.said.popleft()
            if "stage" in said:
                self._note(said["stage"], float(said["share"]))
            elif "commit" in said:
                if not self._is_ending:  # else it waits for our answer until it is ended
                    self._publish(committing=True)
            else:
                self._status = replace(self._status, **said)  # the result, or the error
        return is_open

    def _note(self, stage: str, share: float) -> None:
        if stage == self._status.stage:
            self._status = replace(self._status, share=share)
            return
        self._finish_stage()
        self._publish(stage=stage, share=share)

    def _finish_stage(self) -> None:
        seconds, self._stage_since = time.monotonic() - self._stage_since, time.monotonic()
        if (stage := self._status.stage) and len(self._status.stages) < _MOST_STAGES:
            stages = {**self._status.stages, stage: round(self._status.stages.get(stage, 0.0) + seconds, 3)}
            self._status = replace(self._status, stages=stages)

    def _read(self, worker: subprocess.Popen[bytes]) -> bool:
        """Copy what the worker has written to the log; False at its end."""
        assert worker.stdout is not None
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(worker.stdout.fileno(), _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._log.write(data)
        return True

    def _publish_sometimes(self) -> None:
        if self._published != self._status and time.monotonic() - self._published_at >= _PUBLISH_SECONDS:
            self._publish()

    def _publish(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)
        self._published_at = time.monotonic()
        # A full disk must not end the job: what could not be written is written at the next tick.
        with contextlib.suppress(StorageError):
            self._folder.write_status(self._status)
            self._published = self._status

    def _say(self, text: str) -> None:
        self._log.write(f"{now()} {text}\n".encode())

    def _on_end(self, *_: object) -> None:
        self._told_to_end = True


def main() -> None:
    belong_to_nobody(lambda path: Supervisor(JobFolder(Path(path))).run())


if __name__ == "__main__":
    main()
