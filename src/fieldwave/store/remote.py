"""A store in an OCI registry (distribution-spec 1.1): Docker's, Harbor, Quay, a cloud's."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from fieldwave.errors import NotFoundError, StorageError
from fieldwave.store.board import CLAIMS, DELETED, ClaimBoard, list_referrer
from fieldwave.store.claims import TAKE_SECONDS, claim
from fieldwave.store.content import IMAGE_MANIFEST, Descriptor, Manifest, check_digest, check_repository, check_tag
from fieldwave.store.parse import Raw, parse_manifest
from fieldwave.store.protocol import NOTHING, Artifact, Layer, NextTag, Store, Stored, Tagged
from fieldwave.store.repository import Repository
from fieldwave.store.transport import Transport

if TYPE_CHECKING:
    import httpx

    from fieldwave.store.credentials import Credentials

__all__ = ["RegistryStore"]

_PLACE = "application/vnd.fieldwave.place.v1"
_AT_ONCE = 8
_REFERRERS = re.compile(r"sha256-[0-9a-f]{64}.*")
"""The lists of referrers that registries of version 1.0 need, and cosign's signatures: no tags of ours."""


class RegistryStore:
    """A :class:`fieldwave.store.Store` in a registry.

    Parameters:
        address: ``host:port``, or ``host:port/prefix`` to put all repositories below a name.
        plain: speak HTTP without TLS; a registry on loopback is spoken to so in any case.
        credentials: who we are; what ``podman login`` or ``docker login`` has stored if not given.
        client: an httpx client, for tests.
    """

    def __init__(
        self,
        address: str,
        *,
        plain: bool = False,
        credentials: Credentials | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        host, _, prefix = address.removeprefix("oci://").strip("/").partition("/")
        self.address = f"{host}/{prefix}" if prefix else host
        self._prefix = f"{check_repository(prefix)}/" if prefix else ""
        self._transport = Transport(host, plain=plain, credentials=credentials, client=client)
        self._opened: dict[str, Repository] = {}

    def push(self, repository: str, artifact: Artifact, tag: str | NextTag | None = None) -> Tagged:
        place = self._at(repository)
        if isinstance(tag, str):
            check_tag(tag)
        manifest = Manifest(
            artifact_type=artifact.artifact_type,
            config=place.add(artifact.config or NOTHING),
            layers=tuple(place.add(layer) for layer in artifact.layers or (NOTHING,)),
            annotations=artifact.annotations,
            subject=artifact.subject,
        )
        return self._put(place, Raw(manifest.to_json(), manifest.descriptor(), subject=manifest.subject), tag)

    def receive(
        self, source: Store, place: str, reference: str, repository: str, tag: str | NextTag | None = None
    ) -> Tagged:
        own = self._at(repository)
        if isinstance(tag, str):
            check_tag(tag)
        raw = source.raw(place, reference)
        for child in raw.manifests:
            self.receive(source, place, child.digest, repository)
        for blob in raw.blobs:
            own.add(Layer(blob.media_type, Stored(place, blob, source)))
        return self._put(own, raw, tag)

    def _put(self, place: Repository, raw: Raw, tag: str | NextTag | None) -> Tagged:
        """Put a manifest whose parts are there, under the tag and in the list of its subject's referrers."""
        listed = True

        def put(reference: str) -> None:
            nonlocal listed
            listed = place.put(reference, raw.data, raw.descriptor.media_type, TAKE_SECONDS)

        beside = self._at(f"{place.name}/{CLAIMS}")
        if callable(tag):
            choose = tag
            board = ClaimBoard(beside, lambda: self._tags(place), put)
            tag = claim(board, lambda tags: check_tag(choose(tags)))
        else:
            put(tag or raw.descriptor.digest)
        if raw.subject is not None and not listed:
            list_referrer(place, beside, raw.subject.digest, raw.descriptor)
        return Tagged(place.name, tag or "", raw.descriptor)

    def repositories(self) -> list[str]:
        names = self._transport.pages("/v2/_catalog?n=1000", "repositories", scope="registry:catalog:*")
        ours = (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
        return sorted(name for name in ours if not name.endswith(f"/{CLAIMS}") and self._tags(self._at(name)))

    def tagged(self, repository: str | None = None) -> list[Tagged]:
        if repository is None:
            return [entry for name in self.repositories() for entry in self.tagged(name)]
        place = self._at(repository)
        tags = sorted(self._tags(place))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda tag: _find(place, tag), tags)
            # What was deleted between the list and the look is no more, nor what was all but deleted.
            entries = [Tagged(repository, tag, entry) for tag, entry in zip(tags, found, strict=True) if entry]
        return [entry for entry in entries if entry.descriptor.artifact_type != _PLACE]

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, Manifest]:
        raw = self.raw(repository, reference)
        manifest = parse_manifest(raw.data, f"{repository}@{raw.descriptor.digest}")
        return replace(raw.descriptor, media_type=IMAGE_MANIFEST), manifest

    def raw(self, repository: str, reference: str) -> Raw:
        return self._at(repository).get(reference)

    def read(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        return self._at(repository).read(descriptor)

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Descriptor]:
        found = self._at(repository).referrers(check_digest(digest))
        return [entry for entry in found if artifact_type in ("", entry.artifact_type)]

    def tag(self, repository: str, reference: str, tag: str) -> Tagged:
        return self._put(self._at(repository), self.raw(repository, reference), check_tag(tag))

    def untag(self, repository: str, tag: str) -> None:
        place = self._at(repository)
        if check_tag(tag) not in self._tags(place):
            raise place.missing(tag)
        if place.delete(tag) in DELETED:
            return
        # Where only digests are deleted, all tags of a manifest go with it: so this tag gets one of its own.
        place.add(NOTHING)
        own = Manifest(_PLACE, annotations={"dev.fieldwave.id": secrets.token_hex(16)})
        place.put(tag, own.to_json(), IMAGE_MANIFEST)
        if place.delete(own.descriptor().digest) not in DELETED:
            raise StorageError(
                f"the registry {self._transport.host} does not delete; "
                "let it (for Docker's: storage.delete.enabled), and repeat"
            )

    def _at(self, repository: str) -> Repository:
        if repository not in self._opened:
            self._opened[repository] = Repository(self._transport, self.address, self._prefix, repository)
        return self._opened[repository]

    def _tags(self, place: Repository) -> list[str]:
        return [tag for tag in place.tags() if not _REFERRERS.fullmatch(tag)]


def _find(place: Repository, tag: str) -> Descriptor | None:
    try:
        return place.get(tag).descriptor
    except NotFoundError:
        return None
