"""The workspace: the folder in which everything that a project deploys is found again.

A project is marked by a file ``fieldwave.toml`` in its top folder, and its state is kept beside it, in
``.fieldwave/``. Outside a project the state is the user's: ``$XDG_DATA_HOME/fieldwave``, or
``~/.local/share/fieldwave`` (XDG Base Directory Specification 0.8).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import StorageError

__all__ = ["Workspace"]

_MARK = "fieldwave.toml"


@dataclass(frozen=True)
class Workspace:
    """Where state is kept.

    Parameters:
        root: the project's top folder, or the user's data folder.
        folder: the folder for the state itself; ``root/.fieldwave`` when it is not given.
    """

    root: Path
    folder: Path = Path()

    def __post_init__(self) -> None:
        root = Path(self.root).absolute()
        folder = root / ".fieldwave" if self.folder == Path() else Path(self.folder).absolute()
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "folder", folder)

    @classmethod
    def find(cls, start: str | os.PathLike[str] | None = None) -> Workspace:
        """The project that ``start`` (else the working directory) lies in; outside any, the user's workspace.

        Raises:
            StorageError: outside any project, and the user has no home folder.
        """
        for folder in _upwards(start):
            if (folder / _MARK).is_file():
                return cls(folder)
        home = _user_data_folder()
        return cls(home, home)

    @property
    def services_folder(self) -> Path:
        """The folder that holds one folder for each service; it need not exist yet."""
        return self.folder / "services"

    def create_services_folder(self) -> Path:
        """The same, made if it is not there; inside a project it is kept out of version control.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            self.services_folder.mkdir(parents=True, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if self.folder != self.root and not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise StorageError(f"cannot make {self.services_folder}: {error.strerror or error}") from error
        return self.services_folder


def _upwards(start: str | os.PathLike[str] | None) -> tuple[Path, ...]:
    try:
        folder = Path(start or ".").resolve()
    except OSError:  # the working directory was deleted under us: it lies in no project
        return ()
    return (folder, *folder.parents)


def _user_data_folder() -> Path:
    # The specification: a relative path in the variable is to be ignored.
    configured = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (configured if configured.is_absolute() else _home() / ".local" / "share") / "fieldwave"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise StorageError(
            f"user {os.getuid()} has no home folder to keep services in; set XDG_DATA_HOME to a folder, "
            f"or mark the project's folder with an empty file {_MARK}"
        ) from None
