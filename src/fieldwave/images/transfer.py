"""An image and its build log from one store to another; the bytes, and so the digests, stay what they are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fieldwave.errors import ArtifactError, ConflictError, NotFoundError, StorageError
from fieldwave.images.image import Image, build_tag
from fieldwave.store import Artifact, Descriptor, Layer, NextTag, Store

__all__ = ["transfer"]


def transfer(source: Store, image: Image, target: Store, repository: str, tag: str | NextTag) -> str:
    """Copy an image, and after it its build log; return the tag that it has there.

    Raises:
        ConflictError: the tag is another image's there.
        ArtifactError: the source's bytes are damaged.
        StorageError: the target cannot be written.
    """
    if isinstance(tag, str):
        try:
            there = target.manifest(repository, tag)[0].digest
        except NotFoundError:
            there = image.digest
        if there != image.digest:
            raise ConflictError(
                f"{target.address}/{repository}:{tag} is another image, {there[:19]}…; "
                "delete it there, or copy to another place"
            )
    with tempfile.TemporaryDirectory() as scratch:
        # First what is said of the image, then the image: so there is never one of which nothing is said.
        log = build_tag(image.digest)
        for reference, called in ((log, log), (image.digest, tag)):
            try:
                descriptor, manifest = source.manifest(image.repository, reference)
            except NotFoundError:
                if reference == log:
                    continue
                raise
            config, *layers = (
                _fetch(source, image.repository, part, Path(scratch))
                for part in (manifest.config, *manifest.layers)
            )
            parts = (manifest.artifact_type, tuple(layers), config, manifest.annotations, manifest.subject)
            pushed = target.push(repository, Artifact(*parts), called)
            if pushed.descriptor.digest != descriptor.digest:
                raise ArtifactError(f"{image.repository}@{descriptor.digest} was not written by fieldwave")
    return pushed.tag


def _fetch(source: Store, repository: str, part: Descriptor, scratch: Path) -> Layer:
    path = scratch / part.digest.removeprefix("sha256:")
    if not path.exists():
        try:
            with path.open("wb") as file:
                file.writelines(source.read(repository, part))
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    return Layer(part.media_type, path, part.annotations)
