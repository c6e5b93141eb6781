"""The one interface of a store: an OCI layout in a folder, or an OCI registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fieldwave.store.content import EMPTY, Descriptor, Manifest
from fieldwave.store.parse import Raw

__all__ = ["NOTHING", "Artifact", "Layer", "NextTag", "Store", "Stored", "Tagged"]

NextTag = Callable[[Sequence[str]], str]
"""From the tags that a repository has to the one to take: how versions are counted."""


@dataclass(frozen=True)
class Stored:
    """Content that a store holds already: a part of what was pushed to this repository.

    Attributes:
        store: where it is; the store that it is pushed to where None, and nothing is copied then.
    """

    repository: str
    descriptor: Descriptor
    store: Store | None = None


@dataclass(frozen=True)
class Layer:
    """One part of an artifact to be pushed: bytes in memory, a file that is read in pieces, or what is stored."""

    media_type: str
    data: bytes | Path | Stored
    annotations: Mapping[str, str] = field(default_factory=dict)


NOTHING = Layer(EMPTY.media_type, b"{}")
"""What stands for the configuration, and for the layers, of an artifact that has none."""


@dataclass(frozen=True)
class Artifact:
    """What is pushed as one: its parts, and what is said about it.

    Attributes:
        artifact_type: what kind of artifact it is; empty for an image that containers run.
        layers: its parts, in order.
        config: its configuration; none by default.
        annotations: what is said about it.
        subject: the manifest that it belongs to, for a log or a signature.
    """

    artifact_type: str
    layers: tuple[Layer, ...] = ()
    config: Layer | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None


@dataclass(frozen=True)
class Tagged:
    """A manifest under the tag that it has in a repository."""

    repository: str
    tag: str
    descriptor: Descriptor


class Store(Protocol):
    """Content-addressed artifacts in named repositories.

    What is pushed appears whole, under its tag, or not at all. What is read is checked against its digest.
    Names follow the OCI distribution specification 1.1; one outside its grammar is an InputError.
    """

    @property
    def address(self) -> str:
        """The folder or the registry's address, for messages."""

    def push(self, repository: str, artifact: Artifact, tag: str | NextTag | None = None) -> Tagged:
        """Store an artifact; the tag is empty in the answer where none was asked for.

        A tag that exists moves to the new artifact. With a function the tag is chosen by the tags that exist,
        and no other writer gets the same, however many push at once; what it raises ends the push untagged.

        Raises:
            NotFoundError: a part that is said to be stored is not there.
            StorageError: the disk is full, access is denied, or the registry is down; nothing was tagged.
        """

    def receive(
        self, source: Store, place: str, reference: str, repository: str, tag: str | NextTag | None = None
    ) -> Tagged:
        """Store the manifest or index ``place:reference`` of another store, its bytes as they are, and all that
        it names; what is here already is not read. The tag is as in :meth:`push`, and so are the errors.
        """

    def repositories(self) -> list[str]:
        """The names of all repositories that have a tag, sorted."""

    def tagged(self, repository: str | None = None) -> list[Tagged]:
        """Everything that has a tag there, or anywhere, sorted; nothing for an unknown repository."""

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, Manifest]:
        """The manifest of a tag or a digest.

        Raises:
            NotFoundError: there is no such tag or digest.
            ArtifactError: its bytes are not those that the digest names.
        """

    def raw(self, repository: str, reference: str) -> Raw:
        """The same for a manifest or an index of any type, Docker's too, and its bytes. Raises the same."""

    def read(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces. The last piece comes only if all of them are what the digest names.

        Raises:
            NotFoundError: it is not there.
            ArtifactError: its bytes are not those that the digest names.
        """

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Descriptor]:
        """The manifests whose subject has this digest, of that type where one is given, oldest first."""

    def tag(self, repository: str, reference: str, tag: str) -> Tagged:
        """Give a manifest one more tag.

        Raises:
            NotFoundError: there is no such manifest.
        """

    def untag(self, repository: str, tag: str) -> None:
        """Take a tag away; the content stays until :meth:`collect_garbage`, or the registry's own.

        Raises:
            NotFoundError: there is no such tag.
        """
