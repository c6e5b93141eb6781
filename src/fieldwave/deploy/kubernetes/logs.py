"""The logs of a service's pods as one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fieldwave.deploy.kubernetes.pod import CONTAINER

__all__ = ["follow", "last_lines"]

_LOOK_SECONDS = 1.0
_EVERYTHING = 1_000_000


def last_lines(client: Any, pods: Sequence[Any], lines: int) -> list[str]:
    """The last lines of all pods, by time; where there are several, the end of the pod's name before each.

    Parameters:
        client: lightkube's.
    """
    stamped = [one for pod in pods for one in _read(client, pod, lines, mark=len(pods) > 1)]
    return [text for _, text in sorted(stamped, key=lambda one: one[0])[-lines:]] if lines else []


def follow(client: Any, pods: Callable[[], Sequence[Any] | None], lines: int) -> Iterator[str]:
    """The same, and each new line as it is written, also those of pods that come.

    Parameters:
        pods: the service's pods as they are now; None once it is deleted, which ends this.
    """
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    streams: dict[str, _Stream] = {}
    tail = lines
    while (now := pods()) is not None:
        for pod in now:
            stream = streams.setdefault(pod.metadata.uid, _Stream(client, pod, tail, found))
            stream.keep_going()
        tail = _EVERYTHING
        yield from _drain(found, _LOOK_SECONDS)
    for stream in streams.values():
        stream.end()
    yield from _drain(found, 0.0)


@dataclass
class _Stream:
    """One pod's log. It ends whenever the container does, and is taken up again where it ended."""

    client: Any
    pod: Any
    tail: int
    found: queue.SimpleQueue[str]
    seen: str = ""
    thread: threading.Thread | None = None

    def keep_going(self) -> None:
        if self.thread is None or not self.thread.is_alive():
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()

    def end(self) -> None:
        if self.thread is not None:
            self.thread.join(_LOOK_SECONDS)

    def _run(self) -> None:
        for moment, text in _read(self.client, self.pod, self.tail, mark=True, follow=True):
            if moment > self.seen:
                self.seen = moment
                self.found.put(text)
        if self.seen:
            self.tail = _EVERYTHING


def _drain(found: queue.SimpleQueue[str], seconds: float) -> Iterator[str]:
    """What is there, after a wait of at most ``seconds`` for the first line."""
    try:
        yield found.get(timeout=seconds) if seconds else found.get_nowait()
        while True:
            yield found.get_nowait()
    except queue.Empty:
        return


def _read(client: Any, pod: Any, lines: int, *, mark: bool, follow: bool = False) -> Iterator[tuple[str, str]]:
    """Each line's moment and text."""
    import httpx2

    name = pod.metadata.name
    start = f"{name.rpartition('-')[2]}: " if mark else ""
    try:
        for line in client.log(
            name, container=CONTAINER, tail_lines=lines, newlines=False, timestamps=True, follow=follow
        ):
            time, _, text = line.partition(" ")
            yield _moment(time), f"{start}{text}"
    except httpx2.HTTPError:
        return  # it has not started yet, or is gone


def _moment(time: str) -> str:
    """RFC 3339 with nanoseconds, whose last zeros are left out, in a form that sorts by time."""
    seconds, _, fraction = time.rstrip("Z").partition(".")
    return f"{seconds}.{fraction.ljust(9, '0')}"
