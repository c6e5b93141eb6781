"""A container image as one file: the OCI archive that ``fieldwave images copy`` writes.

OCI image layout specification 1.1, in a tar archive. Only what is needed to send it is read; its blobs stay where
they are.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldwave.errors import ArtifactError, StorageError

__all__ = ["Archive", "Blob", "read_archive"]

_LARGEST = 4 << 20  # of a manifest or a configuration
_NAME = "org.opencontainers.image.ref.name"
_OURS = "dev.fieldwave."


@dataclass(frozen=True)
class Blob:
    """A part of an image, and where in the archive it begins.

    Attributes:
        hex: its SHA-256, 64 hexadecimal digits.
        size, offset: in bytes.
    """

    hex: str
    size: int
    offset: int


@dataclass(frozen=True)
class Archive:
    """What an archive says of its image.

    Attributes:
        blobs: the manifest first, the configuration, then the layers.
        machine: the processor that it is for, in OCI's words: ``amd64``, ``arm64``.
        notes: the manifest's annotations.
    """

    path: Path
    blobs: tuple[Blob, ...]
    machine: str
    notes: Mapping[str, str]
    name: str = ""

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return f"sha256:{self.blobs[0].hex}"

    @property
    def package(self) -> str:
        """The digest of the package in it; empty where the image is none of ours."""
        return self.notes.get(f"{_OURS}package", "")

    @property
    def network(self) -> str:
        """The package's network."""
        return self.notes.get(f"{_OURS}network", "")

    @property
    def size(self) -> int:
        """Bytes to send to a box that has none of it."""
        return sum(blob.size for blob in self.blobs)


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """What is in the archive.

    Raises:
        StorageError: it cannot be read.
        ArtifactError: it is no OCI archive, holds no image or several, or a part of it is missing.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
            return _read(Path(path), tar, members)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} is no archive of a container image; make one with 'fieldwave images copy'"
        ) from None


def _read(path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Archive:
    def document(name: str) -> Any:
        file = tar.extractfile(members[name]) if members[name].size <= _LARGEST else None
        if file is None:
            raise ValueError(name)
        return json.loads(file.read())

    def blob(digest: str) -> Blob:
        member = members.get(f"blobs/{digest.replace(':', '/')}")
        if member is None or not digest.startswith("sha256:"):
            raise ArtifactError(f"{path} lacks {digest}, which its image is made of; write it again")
        return Blob(digest.removeprefix("sha256:"), member.size, member.offset_data)

    found = document("index.json")["manifests"]
    if len(found) != 1:
        raise ArtifactError(f"{path} holds {len(found)} images, expected one")
    digest = found[0]["digest"]
    top = blob(digest)
    manifest = document(f"blobs/sha256/{top.hex}")
    parts = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    config = document(f"blobs/{parts[0].replace(':', '/')}")
    return Archive(
        path=path,
        blobs=(top, *(blob(part) for part in dict.fromkeys(parts))),
        machine=str(config["architecture"]),
        notes=manifest.get("annotations") or {},
        name=str((found[0].get("annotations") or {}).get(_NAME, "")),
    )
