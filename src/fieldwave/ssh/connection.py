"""Commands on another machine, by the system's ssh: its configuration, its keys, its agent, its jump hosts.

One connection carries everything (ssh_config(5): ControlMaster); a command that finds it broken opens another.
There is never a question at the terminal, and a host whose key is unknown or has changed is never spoken to.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from fieldwave.errors import HostError
from fieldwave.ssh.diagnosis import diagnose
from fieldwave.ssh.host import Host

__all__ = ["ConnectionLost", "Result", "Ssh"]

CONNECT_SECONDS = 10
SILENCE_SECONDS = 15  # without an answer the link is given up
LINGER_SECONDS = 60  # how long a connection outlives who forgot to close it
_FAILED = 255  # ssh's own exit code for whatever kept the command from running or its end from being seen
_GREETING = b"fieldwave:"
_GREETING_LIMIT = 1 << 20


class ConnectionLost(HostError):
    """The link broke while a command ran: whether it ended there is not known."""


@dataclass(frozen=True)
class Result:
    """How a command ended there."""

    code: int
    output: bytes
    error: str

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode(errors="replace")


class Ssh:
    """A connection to a host, opened by the first command.

    Close it, or use it as a context manager; one that was forgotten ends by itself a minute later.

    Parameters:
        host: how it is reached.
        connect_seconds: how long a connection may take to open.
    """

    def __init__(self, host: Host, connect_seconds: int = CONNECT_SECONDS) -> None:
        self.host = host
        self._connect_seconds = connect_seconds
        # In /tmp whatever TMPDIR says: a socket's path has at most 108 bytes, and ssh adds 17 to it for a moment.
        self._folder = Path(tempfile.mkdtemp(prefix="fieldwave-ssh-", dir="/tmp"))
        self._close = weakref.finalize(self, _close, self._folder, tuple(self._options()), host.destination)
        self._forwards: dict[int, str] = {}  # port there to the connection that leads to it
        self._lock = threading.Lock()

    def __enter__(self) -> Ssh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. Commands after it fail."""
        self._close()

    def run(
        self, command: Sequence[str], *, stdin: IO[bytes] | bytes | None = None, timeout: float | None = None
    ) -> Result:
        """Run a program there and wait for its end, whatever its exit code.

        Args:
            command: the program and its arguments; none of them is interpreted by a shell.
            stdin: what it reads: bytes, or an open file from where it stands.
            timeout: seconds until it is given up.

        Raises:
            HostError: the host was not reached, or did not let us in.
            ConnectionLost: the link broke, or the time was over; the program may have run.
        """
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as nothing:
            process = self._start(
                command, errors, subprocess.PIPE if isinstance(stdin, bytes) else stdin or nothing
            )
            try:
                output, _ = process.communicate(stdin if isinstance(stdin, bytes) else None, timeout)
            except subprocess.TimeoutExpired:
                raise ConnectionLost(
                    f"{self.host.destination}: no answer to {command[0]!r} within {timeout:g} s"
                ) from None
            finally:
                _end(process)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        before, greeting, output = output.partition(_GREETING)
        if process.returncode == _FAILED:
            self._fail(command, bool(greeting), said)
        if not greeting:
            raise HostError(f"{self.host.destination}: no shell there that runs commands: {_last(said, before)}")
        return Result(process.returncode, output, said)

    def lines(self, command: Sequence[str]) -> Iterator[str]:
        """Run a program there and give its output line by line, as it comes.

        Its end, and ours, ends it there too.

        Raises:
            HostError: as `run`.
            ConnectionLost: the link broke.
        """
        with tempfile.TemporaryFile() as errors:
            process = self._start(command, errors, subprocess.PIPE)  # it ends there when this pipe does
            assert process.stdout is not None
            try:
                greeted = _skip_greeting(process.stdout)
                for line in process.stdout if greeted else ():
                    yield line.decode(errors="replace").rstrip("\n")
                process.wait()
            finally:
                _end(process)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if process.returncode == _FAILED:
            self._fail(command, greeted, said)

    def address(self) -> str:
        """The name or address that ssh connects to: what its configuration says that the destination stands for.

        Raises:
            HostError: ssh is not there, or its configuration is damaged.
        """
        asked = self._control("-G")
        found = [line.split(" ", 1)[1] for line in asked.stdout.splitlines() if line.startswith("hostname ")]
        if asked.returncode != 0 or not found:
            raise HostError(diagnose(self.host, asked.stderr))
        return found[0]

    def forward(self, port: int) -> Path:
        """A socket here that leads to ``port`` on loopback there, for as long as the connection lives.

        Raises:
            HostError: the sshd there does not allow it, or as `run`.
        """
        with self._lock:
            path = self._folder / f"{port}.sock"
            connection = self._connection()
            if not connection:
                self.run(["true"])
                connection = self._connection()
            if connection and self._forwards.get(port) == connection:
                return path
            path.unlink(missing_ok=True)
            asked = self._control("-O", "forward", "-L", f"{path}:127.0.0.1:{port}")
            if asked.returncode != 0:
                raise HostError(
                    f"{self.host.destination}: port {port} there cannot be reached: {_last(asked.stderr)}"
                )
            self._forwards[port] = connection
            return path

    def _connection(self) -> str:
        """What the open connection says of itself, with its process id; empty where there is none."""
        asked = self._control("-O", "check")
        return asked.stdout + asked.stderr if asked.returncode == 0 else ""

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask ssh itself something."""
        command = [*self._command(*words), self.host.destination]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError as error:
            self._unstartable(error)

    def _start(self, command: Sequence[str], errors: IO[bytes], stdin: IO[bytes] | int) -> subprocess.Popen[bytes]:
        if not self._close.alive:
            raise HostError(f"{self.host.destination}: the connection was closed")
        # The greeting parts what the program says from what a login script says before it; and once it is heard,
        # the exit code is not of ssh but of the program, except where the link breaks.
        script = f'printf {_GREETING.decode()}; "$@"; code=$?; [ $code = 255 ] && code=254; exit $code'
        line = " ".join(shlex.quote(word) for word in ["sh", "-c", script, "sh", *command])
        try:
            return subprocess.Popen(
                [*self._command(), self.host.destination, line], stdin=stdin, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            self._unstartable(error)

    def _unstartable(self, error: OSError) -> NoReturn:
        if shutil.which("ssh") is None:
            raise HostError("ssh is not installed here: apt-get install openssh-client") from None
        raise HostError(f"{self.host.destination}: cannot run ssh: {error.strerror or error}") from error

    def _command(self, *more: str) -> list[str]:
        # Forwards that the user's settings name are for the user's own sessions.
        others = () if "-L" in more else ("-o", "ClearAllForwardings=yes")
        return ["ssh", *self._options(), *others, *more, "--"]

    def _options(self) -> Iterator[str]:
        if self.host.config:
            yield from ("-F", os.path.expanduser(self.host.config))
        if self.host.port:
            yield from ("-p", str(self.host.port))
        if self.host.identity:
            yield from ("-i", os.path.expanduser(self.host.identity))
        settings = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",  # no banners
            "ConnectTimeout": str(self._connect_seconds),
            "ServerAliveInterval": str(SILENCE_SECONDS // 3),
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPath": str(self._folder / "mux"),
            "ControlPersist": str(LINGER_SECONDS),
            "RequestTTY": "no",
            "RemoteCommand": "none",
            "PermitLocalCommand": "no",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "StreamLocalBindUnlink": "yes",
        }
        for name, value in settings.items():
            yield from ("-o", f"{name}={value}")

    def _fail(self, command: Sequence[str], greeted: bool, said: str) -> NoReturn:
        # ssh is silent when a connection breaks that another command had opened.
        if greeted or not said.strip():
            raise ConnectionLost(f"{self.host.destination}: the connection broke while {command[0]!r} ran there")
        raise HostError(diagnose(self.host, said))


def _close(folder: Path, options: Sequence[str], destination: str) -> None:
    quiet = subprocess.DEVNULL
    if (folder / "mux").exists():
        with suppress(OSError):
            subprocess.run(
                ["ssh", *options, "-O", "exit", "--", destination],
                stdin=quiet,
                stdout=quiet,
                stderr=quiet,
                timeout=10,
            )
    shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()


def _skip_greeting(output: IO[bytes]) -> bool:
    """Read up to the greeting and over it; False when it does not come."""
    seen = b""
    while not seen.endswith(_GREETING):
        byte = output.read(1)
        if not byte or len(seen) > _GREETING_LIMIT:
            return False
        seen += byte
    return True


def _last(*texts: str | bytes) -> str:
    for text in texts:
        words = text.decode(errors="replace") if isinstance(text, bytes) else text
        if lines := [line for line in words.splitlines() if line.strip()]:
            return " ".join(lines[-1].split())
    return "it said nothing"
