"""An image as one file, for a machine without a network.

The archive is an OCI layout (image-spec 1.1, image-layout.md) for podman, skopeo and containerd, and has beside it
the ``manifest.json`` of ``docker save``, which is what older Dockers read; both name the same blobs.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fieldwave.errors import ConflictError, StorageError
from fieldwave.images.image import Image
from fieldwave.store import Descriptor, Manifest, Store
from fieldwave.store.content import IMAGE_INDEX, to_json

__all__ = ["export"]


def export(store: Store, image: Image, path: Path, *, overwrite: bool = False) -> None:
    """Write the archive; it appears whole or not at all, and its bytes follow from the image and its version.

    Raises:
        ConflictError: there is a file already, and ``overwrite`` is False.
        ArtifactError: the store's bytes are damaged.
        StorageError: it cannot be written; nothing is left behind.
    """
    if path.exists() and not overwrite:
        raise ConflictError(f"{path} is there already; choose another file, or overwrite it")
    descriptor, manifest = store.manifest(image.repository, image.digest)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                _write(store, image, descriptor, manifest, archive)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write {path}: {error.strerror or error}; nothing was left behind") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    store: Store, image: Image, descriptor: Descriptor, manifest: Manifest, archive: tarfile.TarFile
) -> None:
    name = image.reference()
    entry = Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations={"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name},
    )
    index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [entry.to_value()]}
    docker = {
        "Config": _blob(manifest.config),
        "RepoTags": [name],
        "Layers": [_blob(layer) for layer in manifest.layers],
    }
    for file, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        _add(archive, file, to_json(value))
    _add(archive, "manifest.json", to_json([docker]))
    _add(archive, _blob(descriptor), b"".join(store.read(image.repository, descriptor)))
    for blob in manifest.blobs():
        header = tarfile.TarInfo(_blob(blob))
        header.size = blob.size
        archive.addfile(header, _Stream(store.read(image.repository, blob)))  # type: ignore[arg-type]


def _blob(descriptor: Descriptor) -> str:
    return f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    archive.addfile(header, io.BytesIO(data))


class _Stream:
    """Pieces as a file that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        while len(self._left) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data
