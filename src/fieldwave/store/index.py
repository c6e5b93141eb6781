"""What stands in a layout's index.json: tagged manifests as "repository:tag", and manifests that refer to one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from fieldwave.errors import NotFoundError
from fieldwave.store.content import Descriptor
from fieldwave.store.parse import read_raw
from fieldwave.store.protocol import Tagged

__all__ = ["entry_of", "has_tag", "reachable", "repository_of", "tagged", "with_entry"]

_REF_NAME = "org.opencontainers.image.ref.name"
_REFERS = "dev.fieldwave.repository"
"""Annotation of untagged entries: the repository that a referrer lies in."""


def entry_of(repository: str, tag: str | None, descriptor: Descriptor) -> Descriptor:
    """The entry of a manifest under that tag, or of a referrer, which has none."""
    own = {_REFERS: repository} if tag is None else {_REF_NAME: f"{repository}:{tag}"}
    return replace(descriptor, annotations={**descriptor.annotations, **own})


def with_entry(index: Sequence[Descriptor], entry: Descriptor) -> list[Descriptor]:
    """The index with one more entry, in the place of the one that has its tag, or is the same without one."""
    name = entry.annotations.get(_REF_NAME)
    if name is None:
        kept = [old for old in index if old.digest != entry.digest or _REF_NAME in old.annotations]
    else:
        kept = [old for old in index if old.annotations.get(_REF_NAME) != name]
    return [*kept, entry]


def has_tag(entry: Descriptor, repository: str, tag: str) -> bool:
    """Whether the entry is that of this tag."""
    return entry.annotations.get(_REF_NAME) == f"{repository}:{tag}"


def repository_of(entry: Descriptor) -> str:
    """Where the entry's manifest lies."""
    name = entry.annotations.get(_REF_NAME, "")
    return name.rpartition(":")[0] if name else entry.annotations.get(_REFERS, "")


def tagged(index: Sequence[Descriptor], repository: str | None) -> list[Tagged]:
    """What has a tag in that repository, or in any."""
    found = []
    for entry in index:
        name, _, tag = entry.annotations.get(_REF_NAME, "").rpartition(":")
        if name and repository in (name, None):
            own = {key: value for key, value in entry.annotations.items() if key != _REF_NAME}
            found.append(Tagged(name, tag, replace(entry, annotations=own)))
    return found


def reachable(
    index: Sequence[Descriptor], read: Callable[[Descriptor], bytes]
) -> tuple[set[str], list[Descriptor]]:
    """The digests of all content that a tag leads to, and the entries that are to stay.

    What a tag names is kept with its parts; what refers to something kept, such as its log, is kept too.
    """
    live = {entry.digest for entry in index if _REF_NAME in entry.annotations}
    subjects = {entry.digest: _subject(read(entry), entry.digest) for entry in index if entry.digest not in live}
    kept: set[str] = set()
    for entry in index:
        if entry.digest in live:
            _mark(entry, read, kept)
    # A referrer may refer to another one, or to a manifest of an index.
    while more := {digest for digest, subject in subjects.items() if subject in kept} - kept:
        for entry in index:
            if entry.digest in more:
                _mark(entry, read, kept)
    return kept, [entry for entry in index if entry.digest in kept]


def _subject(data: bytes, place: str) -> str:
    subject = read_raw(data, place).subject
    return subject.digest if subject else ""


def _mark(entry: Descriptor, read: Callable[[Descriptor], bytes], kept: set[str]) -> None:
    """Add a manifest and all that it names, and the manifests of an index."""
    if entry.digest in kept:
        return
    kept.add(entry.digest)
    raw = read_raw(read(entry), entry.digest)
    kept.update(blob.digest for blob in raw.blobs)
    for child in raw.manifests:
        with contextlib.suppress(NotFoundError):  # other tools copy only the platform that they need
            _mark(child, read, kept)
