"""The workspace: the folder in which everything that a project deploys is found again.

A project is marked by a file ``fieldwave.toml`` in its top folder, and its state is kept beside it, in
``.fieldwave/``. Outside a project the state is the user's: ``$XDG_DATA_HOME/fieldwave``, or
``~/.local/share/fieldwave`` (XDG Base Directory Specification 0.8). The file may be empty; what it may say::

    name = "vision"           # what people call the workspace; else the folder's name
    location = "Oslo"         # where it is, for people
    store = "../models"       # the folder of models and images, or oci://REGISTRY/NAME; else .fieldwave/store
    compute = "local"         # where services run unless they are told otherwise
    base = "debian:2"         # what images stand on, as `fieldwave images build --base` takes it
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import ConflictError, InputError, StorageError
from fieldwave.files import write_atomically

if TYPE_CHECKING:
    from fieldwave.images import Images
    from fieldwave.registry import Registry
    from fieldwave.store import Store

__all__ = ["Settings", "Workspace"]

_MARK = "fieldwave.toml"


@dataclass(frozen=True)
class Settings:
    """What ``fieldwave.toml`` says; empty where it says nothing."""

    name: str = ""
    location: str = ""
    store: str = ""
    compute: str = "local"
    base: str = ""

    @classmethod
    def read(cls, path: Path) -> Settings:
        """The settings of that file; the defaults where there is none.

        Raises:
            InputError: it is no TOML, or says something that is not known.
            StorageError: it cannot be read.
        """
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"{path} is no TOML: {error}") from None
        for key, value in said.items():
            if key not in cls.__dataclass_fields__:
                raise InputError(f"{path}: {key!r} is unknown; it may say {', '.join(cls.__dataclass_fields__)}")
            if not isinstance(value, str):
                raise InputError(f"{path}: {key} is {value!r}, expected a text in quotes")
        return cls(**said)


@dataclass(frozen=True)
class Workspace:
    """Where state is kept.

    Parameters:
        root: the project's top folder, or the user's data folder.
        folder: the folder for the state itself; ``root/.fieldwave`` when it is not given.

    Raises:
        InputError: on the first use of its settings, if ``fieldwave.toml`` is wrong.
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

    @classmethod
    def create(cls, folder: str | os.PathLike[str], *, name: str = "", location: str = "") -> Workspace:
        """Mark a folder as a project's, and make it if it is not there.

        Raises:
            ConflictError: it is one already.
            StorageError: it cannot be written.
        """
        root = Path(folder).absolute()
        if (root / _MARK).exists():
            raise ConflictError(f"{root / _MARK} is there already; edit it, or choose another folder")
        lines = [f"{key} = {_quoted(value)}\n" for key, value in (("name", name), ("location", location)) if value]
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {root}: {error.strerror or error}") from error
        write_atomically(root / _MARK, "".join(lines).encode())
        return cls(root)

    @classmethod
    def from_config(cls, start: str | os.PathLike[str] | None = None) -> Workspace:
        """The same as :meth:`find`, under the name that scripts of the retired service use."""
        return cls.find(start)

    @cached_property
    def settings(self) -> Settings:
        """What ``fieldwave.toml`` says.

        Raises:
            InputError: it is no TOML, or says something that is not known.
        """
        return Settings.read(self.root / _MARK)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.settings.name or self.root.name

    @property
    def store(self) -> Store:
        """The store of models and images; its folder need not exist yet."""
        from fieldwave.store import LayoutStore, RegistryStore

        configured = self.settings.store
        if configured.startswith("oci://"):
            return RegistryStore(configured)
        return LayoutStore((self.root / configured).resolve() if configured else self.folder / "store")

    @property
    def registry(self) -> Registry:
        """The models of its store."""
        from fieldwave.registry import Registry

        return Registry(self.store)

    @property
    def base(self) -> str:
        """What images stand on by its settings; a path in them begins at the project's top folder."""
        said = self.settings.base
        path = self.root / said.partition(":")[0]
        return str(self.root / said) if said and (path.is_file() or ("/" in said and path.exists())) else said

    @property
    def images(self) -> Images:
        """The images of its store."""
        from fieldwave.images import Images

        return Images(self.store)

    @property
    def services_folder(self) -> Path:
        """The folder that holds one folder for each service; it need not exist yet."""
        return self.folder / "services"

    def create_services_folder(self) -> Path:
        """The same, made if it is not there. Raises StorageError."""
        return self.create_folder("services")

    def create_folder(self, name: str) -> Path:
        """The folder of that name, made if it is not there; inside a project it is kept out of version control.

        Raises:
            StorageError: it cannot be made.
        """
        folder = self.folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if self.folder != self.root and not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise StorageError(f"cannot make {folder}: {error.strerror or error}") from error
        return folder


def _quoted(text: str) -> str:
    """A TOML basic string: the same escapes as JSON's."""
    return json.dumps(text, ensure_ascii=False)


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
