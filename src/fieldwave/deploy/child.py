"""A serving process with its pipes: what it is told, what it says, what it writes."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from fieldwave.deploy.orders import Assignment, Order, encode
from fieldwave.processes.child import die_with_parent, exit_text, one_line
from fieldwave.processes.report import listen

__all__ = ["Child"]

_TAIL_BYTES = 4096
_LONGEST_LINE = 65536
_READ_BYTES = 65536
_READS_AT_ONCE = 32  # more than a pipe holds, and an end to it for one that never stops writing


class Child:
    """A serving process of this one, which dies with it.

    Parameters:
        command: its command line, to which the service's folder is added.
        assignment: what it is told first.
        write: takes whole lines of what it writes.
        selector: is given the pipes, with the method to call when there is something in them.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        assignment: Assignment,
        *,
        write: Callable[[bytes], None],
        selector: selectors.BaseSelector,
    ) -> None:
        self._write = write
        self._selector = selector
        self._tail = self._line = b""
        with listen() as (self._listener, descriptor, environment):
            self._process = subprocess.Popen(
                [*command, str(folder)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[descriptor],
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        for pipe in (self._input, self._output):
            os.set_blocking(pipe.fileno(), False)
        self._tell(assignment)
        selector.register(self._output, selectors.EVENT_READ, self._read)
        selector.register(self._listener.pipe, selectors.EVENT_READ, self._hear)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> Any:
        """What it has said but for reports, oldest first; who has dealt with it takes it away."""
        return self._listener.said

    @property
    def ready(self) -> bool:
        """Whether its last report was that it is ready."""
        return self._listener.error == ""

    @property
    def failed(self) -> bool:
        """Whether its last report was an error."""
        return bool(self._listener.error)

    @property
    def exit(self) -> str:
        """How it ended: ``exit code 1``, ``SIGKILL``."""
        return exit_text(self._process.returncode)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def order(self, order: Order) -> None:
        """Tell it; what becomes of that it says itself."""
        self._tell(order)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """After its end: take in what it has left in the pipes, and close them."""
        self._hear()
        self._read()
        for pipe in (self._output, self._listener.pipe):
            self._forget(pipe)
            pipe.close()
        self._input.close()
        if self._line:
            self._write(self._line + b"\n")

    def last_words(self) -> str:
        """Why it ended, in its own words where it had any."""
        if self._listener.error:
            return one_line(self._listener.error)
        if self._process.returncode < 0:
            return f"killed by {self.exit}"
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return one_line(lines[-1]) if lines else f"ended with {self.exit}"

    def _tell(self, message: Assignment | Order) -> None:
        with contextlib.suppress(OSError):  # it is gone or deaf, and that shows
            self._input.write(encode(message))

    def _hear(self) -> None:
        if not self._listener.hear():
            self._forget(self._listener.pipe)

    def _read(self) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._output.fileno(), _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._forget(self._output)
                return
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            lines, newline, rest = (self._line + data).rpartition(b"\n")
            if not newline and len(rest) > _LONGEST_LINE:
                lines, rest = rest, b""
            if lines or newline:
                self._write(lines + b"\n")
            self._line = rest

    def _forget(self, pipe: IO[bytes] | BinaryIO) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(pipe)
