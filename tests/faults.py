"""Faults at every step of an operation: a full disk, a broken one, a lost connection, kill -9.

The operation runs in a forked child whose system calls are counted: those that change files below one folder, and
those that talk over a socket. At the chosen one the fault happens instead of the call, or in the middle of it.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldwave.errors import FieldwaveError

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_DISK = ("full", "broken", "kill")
_FAULTS = {"write": ("full", "full halfway", "broken", "kill", "kill halfway"), "fsync": ("broken", "kill")}
_FAULTS |= {"flock": ("broken", "kill"), "spawn": ("broken", "kill"), "send": ("lost", "kill", "kill halfway")}
_FAULTS |= {"recv": ("lost", "kill")}
_ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "lost": errno.ECONNRESET}


@dataclass(frozen=True)
class Outcome:
    """How an operation ended: ``done``, ``refused`` by an error of ours, ``crashed`` by another, or ``killed``."""

    end: str
    text: str
    points: tuple[str, ...]
    """The kind of each call that was counted."""


def faults_of(point: str) -> tuple[str, ...]:
    """What may go wrong at a point of that kind."""
    return _FAULTS.get(point, _DISK)


def run(act: Callable[[], object], folder: Path, at: int = -1, fault: str = "") -> Outcome:
    """Run the operation in a child; the fault happens at the call of that number, if one is given."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(act, _Injector(folder, at, fault), writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Outcome("killed" if os.WTERMSIG(status) == signal.SIGKILL else "crashed", "", ())
    end, text, points = json.loads(said)
    return Outcome(end, text, tuple(points))


def _child(act: Callable[[], object], injector: _Injector, writer: int) -> None:
    end, text = "done", ""
    try:
        injector.install()
        act()
    except FieldwaveError as error:
        end, text = "refused", str(error)
    except BaseException:
        end, text = "crashed", traceback.format_exc()
    injector.armed = False
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(json.dumps([end, text, injector.points]).encode())
    os._exit(0)


class _Injector:
    """Counts calls, and makes one of them fail."""

    def __init__(self, folder: Path, at: int, fault: str) -> None:
        self._folder = str(folder.resolve())
        self._at, self._fault = at, fault
        self.points: list[str] = []
        self.armed = True

    def install(self) -> None:
        """Come between Python and the system, in this process for ever."""
        sys.addaudithook(self._audit)
        opened = io.open
        for module, name in ((io, "open"), (builtins, "open")):
            setattr(module, name, lambda *args, **kwargs: self._open(opened, *args, **kwargs))
        for name, point in (("fsync", "fsync"), ("fdatasync", "fsync")):
            self._before(os, name, point)
        self._parts(os, "write", "write", lambda args: args[1])
        for name in ("sendfile", "copy_file_range"):
            self._before(os, name, "write")
        for name in ("send", "sendall"):
            self._parts(socket.socket, name, "send", lambda args: args[1])
        self._before(socket.socket, "recv", "recv")

    def point(self, kind: str) -> str:
        """One more call of that kind; the chosen one raises, or kills, or returns a fault for its middle."""
        if not self.armed:
            return ""
        self.points.append(kind)
        if len(self.points) - 1 != self._at:
            return ""
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault.endswith("halfway"):
            return self._fault
        raise self.error()

    def error(self) -> OSError:
        """The error of the chosen fault."""
        number = _ERRORS[self._fault.split()[0]]
        return OSError(number, os.strerror(number))

    def halfway(self) -> None:
        """The first half was written; what follows is the fault."""
        if self._fault.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise self.error()

    def ours(self, place: Any) -> bool:
        """Whether a path, or the file of a descriptor, lies below the folder."""
        try:
            path = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fsdecode(place)
        except (OSError, TypeError):
            return False
        return os.path.abspath(path).startswith(self._folder)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITES and self.ours(args[0]):
            self.point("open")
        elif event in _CHANGES and self.ours(args[0]):
            self.point(event.removeprefix("os."))
        elif event == "fcntl.flock" and self.ours(args[0]):
            self.point("flock")
        elif event == "subprocess.Popen":
            self.point("spawn")

    def _before(self, holder: Any, name: str, kind: str) -> None:
        call = getattr(holder, name)

        def counted(first: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(first, socket.socket) or self.ours(first):
                self._point_of(first, kind)
            return call(first, *args, **kwargs)

        setattr(holder, name, counted)

    def _point_of(self, first: Any, kind: str) -> str:
        """A point about a file or a connection; one that is lost is lost for what follows, too."""
        try:
            return self.point(kind)
        except OSError:
            if isinstance(first, socket.socket):
                first.shutdown(socket.SHUT_RDWR)
            raise

    def _parts(self, holder: Any, name: str, kind: str, data: Callable[[tuple[Any, ...]], Any]) -> None:
        call = getattr(holder, name)

        def counted(*args: Any) -> Any:
            if (isinstance(args[0], socket.socket) or self.ours(args[0])) and self._point_of(args[0], kind):
                half = memoryview(data(args))[: len(data(args)) // 2]
                call(args[0], bytes(half), *args[2:])
                self.halfway()
            return call(*args)

        setattr(holder, name, counted)

    def _open(self, opened: Callable[..., Any], file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """As ``open``, with a file whose every write(2) is counted."""
        if not self.armed or not set(mode) & set("wxa+") or not self.ours(file):
            return opened(file, mode, *args, **kwargs)
        opener = kwargs.pop("opener", None)
        raw = _CountedFile(self, file, mode.replace("b", "").replace("t", ""), opener)
        buffering = args[0] if args else kwargs.pop("buffering", -1)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, kwargs.pop("encoding", None), write_through=buffering == 1, **kwargs)


class _CountedFile(io.FileIO):
    def __init__(self, injector: _Injector, file: Any, mode: str, opener: Any) -> None:
        super().__init__(file, mode, opener=opener)
        self._injector = injector

    def write(self, data: Any) -> int:
        if self._injector.point("write"):
            super().write(bytes(memoryview(data)[: memoryview(data).nbytes // 2]))
            self._injector.halfway()
        return super().write(data)


def everything(points: tuple[str, ...], every: int = 1) -> Iterator[tuple[int, str, str]]:
    """Each call with each of its faults, or every so many of them: its number, its kind, the fault."""
    pairs = [(at, kind, fault) for at, kind in enumerate(points) for fault in faults_of(kind)]
    yield from pairs[::every]
