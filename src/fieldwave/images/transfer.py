"""An image and its build log from one store to another; the bytes, and so the digests, stay what they are."""

from __future__ import annotations

from fieldwave.errors import ConflictError, NotFoundError
from fieldwave.images.image import Image, build_tag
from fieldwave.store import NextTag, Store, copy

__all__ = ["transfer"]


def transfer(source: Store, image: Image, target: Store, repository: str, tag: str | NextTag) -> str:
    """Copy an image, with what refers to it, and return the tag that it has there.

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
    log = build_tag(image.digest)
    try:
        # First what is said of the image, then the image: so there is never one of which nothing is said.
        copy(source, image.repository, log, target, to=repository, tag=log, referrers=False)
    except NotFoundError:
        source.manifest(image.repository, image.digest)  # it may have come here without its log
    return copy(source, image.repository, image.digest, target, to=repository, tag=tag).tag
