"""The one place that prints.

Data goes to stdout, so that it can be piped; notes, hints, progress and errors go to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

__all__ = [
    "data",
    "error",
    "fields",
    "hint",
    "note",
    "pairs",
    "plain",
    "progress",
    "set_quiet",
    "size",
    "styled",
    "table",
    "to_json",
    "waiting",
]

Progress = Callable[[str, float], None]

_PATIENCE_SECONDS = 2.0
_BLINK_SECONDS = 0.5
_quiet = False


def set_quiet(quiet: bool) -> bool:
    """Leave out notes, hints and progress from now on, or not."""
    global _quiet
    _quiet = quiet
    return quiet


def data(text: str) -> None:
    """What the command was asked for."""
    typer.echo(text)


def to_json(value: Any) -> None:
    """The same, for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under a header, in columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for number, row in enumerate([header, *rows]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        data(styled(line, bold=True) if number == 0 else line)


def fields(facts: Mapping[str, Any]) -> int:
    """A line for each fact that there is, the names in a column; the width of that column."""
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in ("", None):
            data(f"{name.ljust(width)}  {value}")
    return width


def pairs(said: Mapping[str, str]) -> str:
    """Tags and the like: ``KEY=VALUE KEY=VALUE``."""
    return " ".join(f"{key}={value}" for key, value in said.items())


def size(octets: int) -> str:
    """So many bytes, for people."""
    return f"{octets / 1e6:.1f} MB" if octets >= 100_000 else f"{octets / 1e3:.1f} kB"


def note(text: str) -> None:
    """What happens, for who watches."""
    if not _quiet:
        typer.echo(text, err=True)


def hint(command: str) -> None:
    """The command that comes next."""
    note(f"next: {styled(command, fg='cyan', err=True)}")


def error(text: str) -> None:
    """Why it did not work, in one line."""
    typer.echo(f"{styled('error:', fg='red', bold=True, err=True)} {' '.join(text.split())}", err=True)


def plain(text: str) -> str:
    """Text from elsewhere, such as a service's labels: what could command the terminal is shown as its escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def styled(text: str, *, err: bool = False, **style: Any) -> str:
    """Coloured on a terminal, as it is elsewhere and under NO_COLOR (no-color.org)."""
    stream = sys.stderr if err else sys.stdout
    return typer.style(text, **style) if stream.isatty() and not os.environ.get("NO_COLOR") else text


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Says what is waited for when that takes more than two seconds."""
    timer = threading.Timer(_PATIENCE_SECONDS, note, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """A callback that shows how far the work is: what is being done, and the part of it that is done, 0 to 1.

    A bar on a terminal once the work takes longer than a blink; elsewhere a line now and then, after two seconds.
    """
    if _quiet:
        yield lambda what, done: None
    elif sys.stderr.isatty():
        with contextlib.ExitStack() as stack:
            yield _Bar(stack)
    else:
        yield _Lines()


class _Lines:
    """Progress as lines, at most one in two seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PATIENCE_SECONDS

    def __call__(self, what: str, done: float) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _PATIENCE_SECONDS
            note(f"{what}: {done:.0%}")


class _Bar:
    """Progress as a bar, which is gone when the work is done."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._start = time.monotonic() + _BLINK_SECONDS
        self._show: Progress | None = None

    def __call__(self, what: str, done: float) -> None:
        if self._show is None and time.monotonic() >= self._start:
            self._show = self._stack.enter_context(_bar())
        if self._show is not None:
            self._show(what, done)


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, done: bar.update(task, description=what, completed=done)
