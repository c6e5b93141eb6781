"""What a process says of itself to its supervisor: ready, or why it cannot be.

It is said through a pipe: that works where no file can be written, and what a process before this one said cannot
be taken for it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["Listener", "listen", "report", "say"]

_VARIABLE = "FIELDWAVE_REPORT"
_ERROR_CHARACTERS = 500
_READ_BYTES = 65536
_SAID = 1000


def report(error: str = "") -> None:
    """Tell the supervisor, where there is one: ready, or the error."""
    _write(error[:_ERROR_CHARACTERS])


def say(**facts: Any) -> None:
    """Tell the supervisor, where there is one, something else, in at most 4000 bytes of JSON."""
    _write(facts)


class Listener:
    """The supervisor's end; of several reports the last one counts.

    Attributes:
        error: what was said last: empty when the process is ready, None while it has said nothing.
        said: what else was said, oldest first; who has dealt with it takes it away.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self.pipe = pipe
        self.error: str | None = None
        self.said: deque[dict[str, Any]] = deque(maxlen=_SAID)
        self._rest = b""

    def hear(self) -> bool:
        """Take in what there is; False when no more can come."""
        data = self.pipe.read(_READ_BYTES)
        *lines, self._rest = (self._rest + (data or b"")).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    self.said.append(message)
                else:
                    self.error = str(message)
        return data != b""


@contextlib.contextmanager
def listen() -> Iterator[tuple[Listener, int, dict[str, str]]]:
    """A listener, and what the process is given at its start: the descriptor to inherit, and the environment.

    The descriptor is closed at the end of the context, the listener's pipe only when that raises.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    pipe = open(reading, "rb", buffering=0)  # noqa: SIM115
    try:
        yield Listener(pipe), writing, {**os.environ, _VARIABLE: str(writing)}
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(writing)


def _write(message: Any) -> None:
    descriptor = os.environ.get(_VARIABLE)
    if descriptor is not None:
        with contextlib.suppress(OSError):  # it is gone, and whoever is left need not be told
            os.write(int(descriptor), json.dumps(message).encode() + b"\n")
