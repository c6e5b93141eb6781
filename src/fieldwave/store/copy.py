"""From one store to another: a folder or a registry, and over a disk that is carried to a site without a net."""

from __future__ import annotations

from fieldwave.store.protocol import NextTag, Store, Tagged

__all__ = ["copy"]


def copy(
    source: Store,
    repository: str,
    reference: str,
    target: Store,
    *,
    to: str = "",
    tag: str | NextTag | None = None,
    referrers: bool = True,
) -> Tagged:
    """Copy the manifest or index of a tag or digest with all that it names; only what is not there moves.

    The bytes stay as they are, so that digests and signatures hold; all of them are checked on the way. What
    refers to the manifest, such as logs and signatures, goes first, and what refers to these: where the tag is,
    they are.

    Args:
        to: the repository in ``target``; the same where empty.
        tag: as in :meth:`Store.push`; the manifest has none there where None.
        referrers: whether what refers to it goes with it.

    Raises:
        NotFoundError: ``source`` does not have it.
        ArtifactError: its bytes are damaged.
        StorageError: a store cannot be reached, or written; nothing was tagged.
    """
    place = to or repository
    digest = source.raw(repository, reference).descriptor.digest
    if referrers:
        _referrers(source, repository, digest, target, place, {digest})
    tagged = target.receive(source, repository, digest, place, tag)
    if referrers:
        # A collection in between takes what refers to something that had no tag yet.
        _referrers(source, repository, digest, target, place, {digest})
    return tagged


def _referrers(source: Store, repository: str, digest: str, target: Store, place: str, seen: set[str]) -> None:
    """Copy what refers to a manifest and is not there, and what refers to these."""
    there = {entry.digest for entry in target.referrers(place, digest)}
    for entry in source.referrers(repository, digest):
        if entry.digest not in seen:
            seen.add(entry.digest)
            if entry.digest not in there:
                target.receive(source, repository, entry.digest, place)
            _referrers(source, repository, entry.digest, target, place, seen)
