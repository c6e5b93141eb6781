"""What is deployed, wherever it is kept: a package's file, a registered model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import InputError
from fieldwave.registry import RegisteredModel

if TYPE_CHECKING:
    from fieldwave.package import Package
    from fieldwave.workspace import Workspace

__all__ = ["Found", "found"]


@dataclass(frozen=True)
class Found:
    """A package on this machine.

    Attributes:
        path: of its file.
        package: what is in it.
        model: the registered model that it is, ``name:version@digest``; empty if it is none.
        image: the image that it came in; empty if in none.
    """

    path: Path
    package: Package
    model: str = ""
    image: str = ""


@contextmanager
def found(source: str | os.PathLike[str] | RegisteredModel, workspace: Workspace) -> Iterator[Found]:
    """The package that ``source`` means; one that is not a file already is one in this context.

    Raises:
        NotFoundError: there is none.
        InputError: a model of another kind.
        PackageError: the package is damaged.
        StorageError: it cannot be read, or there is no room for a copy.
    """
    from fieldwave.package import read_package

    if not isinstance(source, RegisteredModel):
        yield Found(Path(source), read_package(source))
        return
    if source.kind != "package":
        raise InputError(
            f"model {source.id} is of kind {source.kind!r}, services serve packages; convert it first: "
            f"fieldwave convert {source.id}"
        )
    with tempfile.TemporaryDirectory(prefix="fieldwave-") as folder:
        (path,) = workspace.registry.download(source, folder)
        yield Found(path, read_package(path), model=f"{source.id}@{source.digest}")
