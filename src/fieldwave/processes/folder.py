"""The folder of a process that outlives its caller: where its lock and its log are, and whether it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldwave.errors import FieldwaveError, ServiceError
from fieldwave.processes.lock import holder, is_held

__all__ = ["ProcessFolder"]


@dataclass(frozen=True)
class ProcessFolder:
    """A folder, named as what runs in it. The process has its path on its command line.

    Attributes:
        kind: what runs there, for messages.
        ending: what people do to have it end, for messages.
        failure: the error that says that it cannot be ended.
    """

    path: Path

    kind: ClassVar[str] = "process"
    ending: ClassVar[str] = "end"
    failure: ClassVar[type[FieldwaveError]] = ServiceError

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def lock(self) -> Path:
        """Held by the process for its life, and signed by it."""
        return self.path / "lock"

    @property
    def log(self) -> Path:
        """What it says; the part before is beside it, under this name and ``.1``."""
        return self.path / f"{self.kind}.log"

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; False when there is no such folder."""
        return is_held(self.lock)

    def leader(self) -> int | None:
        """The process that signed the lock last, which leads a process group of that number."""
        return holder(self.lock)
