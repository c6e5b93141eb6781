"""What is sent to a box: an image as one archive file, whatever it was deployed from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.deploy.edge.archive import Archive, read_archive
from fieldwave.deploy.edge.copying import Progress
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.deploy.target import Source
    from fieldwave.workspace import Workspace

__all__ = ["Shipment", "shipment"]


@dataclass(frozen=True)
class Shipment:
    """An image that is ready to be sent.

    Attributes:
        reference: the name that it gets in podman on the box; it names the bytes.
        image: what people call it, ``name:version@digest`` or the archive's name.
        model: the registered model that it was built from; empty where that is not known.
    """

    archive: Archive
    reference: str
    image: str
    model: str = ""

    def fields(self) -> dict[str, Any]:
        """What a `Record` keeps of it."""
        return {
            "image": self.image,
            "reference": self.reference,
            "layout": self.archive.digest.removeprefix("sha256:"),
            "package": self.archive.package,
            "network": self.archive.network,
            "model": self.model,
        }


@contextmanager
def shipment(
    source: Source,
    name: str,
    workspace: Workspace,
    machine: str,
    progress: Progress,
) -> Iterator[Shipment]:
    """The image that ``source`` means, as an archive that is there in this context.

    Parameters:
        source: an image; the file of an archive or of a package; a registered package.
        name: what an image is called that has to be built first.
        machine: the processor that it must be for, where it is built.

    Raises:
        InputError: it is none of these.
        ArtifactError, PackageError: it is damaged.
        NotFoundError, StorageError: it is not there, or cannot be read.
    """
    from fieldwave.images import Image, Images

    if isinstance(source, (str, os.PathLike)) and _is_archive(Path(source)):
        archive = read_archive(source)
        _check(archive)
        title = Path(source).stem.lower()
        known = archive.name if archive.name.startswith("localhost/fieldwave/") else ""
        fallback = f"localhost/fieldwave/archive:file-{archive.digest.removeprefix('sha256:')[:12]}"
        yield Shipment(archive, known or fallback, f"{title}@{archive.digest}")
        return
    images = Images(workspace.store)
    if not isinstance(source, Image):
        progress(f"building an image of {name}", 0.0)
        source = images.build(source, name, architecture=machine)
    with tempfile.TemporaryDirectory(prefix="fieldwave-") as folder:
        path = Path(folder) / f"{source.name}.tar"
        progress(f"packing {source.id}", 0.0)
        images.export(source, path)
        archive = read_archive(path)
        yield Shipment(archive, source.reference(), f"{source.id}@{source.digest}", source.model)


def _is_archive(path: Path) -> bool:
    """Whether the file is a tar archive; a package is a zip."""
    try:
        with path.open("rb") as file:
            return file.read(262)[257:] == b"ustar"
    except OSError:
        return False


def _check(archive: Archive) -> None:
    if not archive.package:
        raise InputError(
            f"{archive.path} holds an image that Fieldwave did not build; it would not serve a package"
        )
