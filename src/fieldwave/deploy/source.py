"""What is deployed, wherever it is kept: a package's file, a registered model, an image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import InputError, StorageError

if TYPE_CHECKING:
    from fieldwave.deploy.target import Source
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
            Of an image, the one that it was built from.
        image: the image that it came in, ``name:version@digest``; empty if in none.
        container: what container tools call that image; empty if there is none.
    """

    path: Path
    package: Package
    model: str = ""
    image: str = ""
    container: str = ""


@contextmanager
def found(source: Source, workspace: Workspace) -> Iterator[Found]:
    """The package that ``source`` means; one that is not a file already is one in this context.

    Raises:
        NotFoundError: there is none.
        InputError: a model of another kind.
        PackageError: the package is damaged.
        StorageError: it cannot be read, or there is no room for a copy.
    """
    from fieldwave.images import Image, Images
    from fieldwave.package import read_package

    if isinstance(source, str | os.PathLike):
        yield Found(Path(source), read_package(source))
        return
    with tempfile.TemporaryDirectory(prefix="fieldwave-") as folder:
        if isinstance(source, Image):
            path = Path(folder) / f"{source.name}.zip"
            try:
                path.write_bytes(Images(workspace.store).package(source))
            except OSError as error:
                raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
            reference = f"{source.id}@{source.digest}"
            yield Found(path, read_package(path), source.model, reference, source.reference())
            return
        if source.kind != "package":
            raise InputError(
                f"model {source.id} is of kind {source.kind!r}, services serve packages; convert it first: "
                f"fieldwave convert {source.id}"
            )
        (path,) = workspace.registry.download(source, folder)
        yield Found(path, read_package(path), model=f"{source.id}@{source.digest}")
