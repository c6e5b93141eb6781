"""A store in an OCI registry (distribution-spec 1.1): Docker's, Harbor, Quay, a cloud's."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import ArtifactError, NotFoundError, StorageError
from fieldwave.store.body import FileBody, digest_of_file
from fieldwave.store.claims import TAKE_SECONDS, claim
from fieldwave.store.content import (
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Manifest,
    check_digest,
    check_repository,
    check_tag,
    digest_of,
    parse_index,
    parse_manifest,
    to_json,
)
from fieldwave.store.protocol import NOTHING, Artifact, Layer, NextTag, Stored, Tagged
from fieldwave.store.transport import Transport

if TYPE_CHECKING:
    import httpx

    from fieldwave.store.credentials import Credentials

__all__ = ["RegistryStore"]

_CLAIMS = "claims"
_CLAIM = "application/vnd.fieldwave.claim.v1"
_AT_ONCE = 8
_DELETED = (200, 202)
_SMALL = 1024


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
        self._manifests: dict[str, bytes] = {}
        self._known: set[tuple[str, str]] = set()

    def push(self, repository: str, artifact: Artifact, tag: str | NextTag | None = None) -> Tagged:
        check_repository(repository)
        if isinstance(tag, str):
            check_tag(tag)
        manifest = Manifest(
            artifact_type=artifact.artifact_type,
            config=self._put(repository, artifact.config or NOTHING),
            layers=tuple(self._put(repository, layer) for layer in artifact.layers or (NOTHING,)),
            annotations=artifact.annotations,
            subject=artifact.subject,
        )
        data = manifest.to_json()
        descriptor = manifest.descriptor()
        if tag is None:
            self._put_manifest(repository, descriptor.digest, data, manifest)
        elif isinstance(tag, str):
            self._put_manifest(repository, tag, data, manifest)
        else:
            choose = tag
            board = _Board(self, repository, lambda chosen: self._put_manifest(repository, chosen, data, manifest))
            tag = claim(board, lambda tags: check_tag(choose(tags)))
        return Tagged(repository, tag or "", descriptor)

    def repositories(self) -> list[str]:
        names = self._transport.pages("/v2/_catalog?n=1000", "repositories", scope="registry:catalog:*")
        ours = (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
        return sorted(name for name in ours if not name.endswith(f"/{_CLAIMS}") and self._tags(name))

    def tagged(self, repository: str | None = None) -> list[Tagged]:
        if repository is None:
            return [entry for name in self.repositories() for entry in self.tagged(name)]
        tags = sorted(self._tags(check_repository(repository)))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda tag: self._find(repository, tag), tags)
            # What was deleted between the list and the look is no more.
            return [Tagged(repository, tag, entry) for tag, entry in zip(tags, found, strict=True) if entry]

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, Manifest]:
        data = self._get_manifest(repository, reference)
        place = f"{repository}@{digest_of(data)}"
        manifest = parse_manifest(data, place)
        return replace(manifest.descriptor(), digest=digest_of(data), size=len(data)), manifest

    def read(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        check_digest(descriptor.digest)
        digest = hashlib.sha256()
        path = f"{self._path(repository)}/blobs/{descriptor.digest}"
        last = b""
        with self._transport.stream(path, scope=self._scope(repository)) as pieces:
            size = 0
            for piece in pieces:
                if last:
                    yield last
                size += len(piece)
                if size > descriptor.size:
                    break
                digest.update(piece)
                last = piece
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise ArtifactError(
                f"{self.address}/{repository} is damaged: the blob {descriptor.digest[:19]}… holds other bytes; "
                "push again"
            )
        if last:
            yield last

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Descriptor]:
        check_digest(digest)
        path = f"{self._path(repository)}/referrers/{digest}"
        response = self._transport.request(
            "GET", path, scope=self._scope(repository), expected=(200, 400, 404, 405)
        )
        if response.status_code == 200 and response.headers.get("content-type", "").startswith(IMAGE_INDEX):
            found = parse_index(response.content, f"{self.address}{path}")
        else:
            found = self._fallback(repository, digest)
        return [entry for entry in found if artifact_type in ("", entry.artifact_type)]

    def tag(self, repository: str, reference: str, tag: str) -> Tagged:
        check_tag(tag)
        data = self._get_manifest(repository, reference)
        descriptor, manifest = self.manifest(repository, digest_of(data))
        self._put_manifest(repository, tag, data, manifest)
        return Tagged(repository, tag, descriptor)

    def untag(self, repository: str, tag: str) -> None:
        check_repository(repository)
        check_tag(tag)
        if tag not in self._tags(repository):
            raise NotFoundError(f"{self.address} has no {repository}:{tag}")
        if self._delete(repository, tag) in _DELETED:
            return
        # Where only digests are deleted, all tags of a manifest go with it: so this tag gets one of its own.
        manifest = Manifest(_CLAIM, annotations={"dev.fieldwave.id": secrets.token_hex(16)})
        self._put(repository, NOTHING)
        self._put_manifest(repository, tag, manifest.to_json(), manifest)
        if self._delete(repository, manifest.descriptor().digest) not in _DELETED:
            raise StorageError(
                f"the registry {self._transport.host} does not delete; "
                "let it (for Docker's: storage.delete.enabled), and repeat"
            )

    def _delete(self, repository: str, reference: str) -> int:
        """The status that the registry answers with."""
        path = f"{self._path(repository)}/manifests/{reference}"
        response = self._transport.request(
            "DELETE", path, scope=self._scope(repository, "delete,pull"), expected=(200, 202, 400, 404, 405)
        )
        return response.status_code

    def _tags(self, repository: str) -> list[str]:
        path = f"{self._path(repository)}/tags/list?n=1000"
        tags = self._transport.pages(path, "tags", scope=self._scope(repository))
        # The lists of referrers that registries of version 1.0 need are no tags of ours.
        return [tag for tag in tags if not tag.startswith("sha256-")]

    def _find(self, repository: str, tag: str) -> Descriptor | None:
        try:
            return self.manifest(repository, tag)[0]
        except NotFoundError:
            return None

    def _get_manifest(self, repository: str, reference: str) -> bytes:
        check_repository(repository)
        if reference in self._manifests:
            return self._manifests[reference]
        path = f"{self._path(repository)}/manifests/{reference}"
        try:
            response = self._transport.request(
                "GET", path, scope=self._scope(repository), headers={"Accept": f"{IMAGE_MANIFEST}, {IMAGE_INDEX}"}
            )
        except NotFoundError:
            mark = "@" if reference.startswith("sha256:") else ":"
            raise NotFoundError(f"{self.address} has no {repository}{mark}{reference}") from None
        data = response.content
        if reference.startswith("sha256:") and digest_of(data) != reference:
            raise ArtifactError(f"{self.address}/{repository} is damaged: {reference[:19]}… holds other bytes")
        if len(data) <= MAX_MANIFEST_BYTES:
            self._manifests[digest_of(data)] = data
        return data

    def _put_manifest(self, repository: str, reference: str, data: bytes, manifest: Manifest) -> None:
        response = self._transport.request(
            "PUT",
            f"{self._path(repository)}/manifests/{reference}",
            scope=self._scope(repository, "pull,push"),
            expected=(201,),
            content=data,
            headers={"Content-Type": IMAGE_MANIFEST},
            within=TAKE_SECONDS,
        )
        if manifest.subject and "oci-subject" not in response.headers:
            self._add_fallback(repository, manifest.subject.digest, manifest.descriptor())

    def _fallback(self, repository: str, digest: str) -> list[Descriptor]:
        """The referrers as distribution-spec 1.1 has them for older registries: an index under a tag."""
        with contextlib.suppress(NotFoundError):
            tag = digest.replace(":", "-")
            return parse_index(self._get_manifest(repository, tag), f"{self.address}/{repository}:{tag}")
        return []

    def _add_fallback(self, repository: str, digest: str, referrer: Descriptor) -> None:
        known = self._fallback(repository, digest)
        if referrer.digest in {entry.digest for entry in known}:
            return
        value = {
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": [entry.to_value() for entry in (*known, referrer)],
        }
        self._transport.request(
            "PUT",
            f"{self._path(repository)}/manifests/{digest.replace(':', '-')}",
            scope=self._scope(repository, "pull,push"),
            expected=(201,),
            content=to_json(value),
            headers={"Content-Type": IMAGE_INDEX},
        )

    def _put(self, repository: str, layer: Layer) -> Descriptor:
        if isinstance(layer.data, bytes):
            digest, size = digest_of(layer.data), len(layer.data)
        elif isinstance(layer.data, Stored):
            digest, size = layer.data.descriptor.digest, layer.data.descriptor.size
        else:
            digest, size = digest_of_file(layer.data)
        descriptor = Descriptor(layer.media_type, digest, size, annotations=layer.annotations)
        if (repository, digest) in self._known:
            return descriptor
        scope, blobs = self._scope(repository, "pull,push"), f"{self._path(repository)}/blobs"
        found = self._transport.request("HEAD", f"{blobs}/{digest}", scope=scope, expected=(200, 404))
        if found.status_code == 404:
            self._upload(blobs, scope, layer, digest, size)
        if size <= _SMALL:
            self._known.add((repository, digest))  # such as the empty configuration of every artifact
        return descriptor

    def _upload(self, blobs: str, scope: str, layer: Layer, digest: str, size: int) -> None:
        address = f"{blobs}/uploads/"
        if isinstance(layer.data, Stored):  # "Mounting a blob from another repository": not a byte is sent
            address += f"?mount={digest}&from={self._prefix}{layer.data.repository}"
        begun = self._transport.request("POST", address, scope=scope, expected=(201, 202))
        if begun.status_code == 201:
            return
        place = begun.url.join(begun.headers["location"]).copy_merge_params({"digest": digest})
        self._transport.request(
            "PUT",
            str(place),
            scope=scope,
            expected=(201,),
            content=self._body(layer.data),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )

    def _body(self, data: bytes | Path | Stored) -> bytes | Iterable[bytes]:
        if isinstance(data, Stored):
            return self.read(data.repository, data.descriptor)
        return data if isinstance(data, bytes) else FileBody(data)

    def _path(self, repository: str) -> str:
        return f"/v2/{self._prefix}{repository}"

    def _scope(self, repository: str, actions: str = "pull") -> str:
        """What a token must allow: reading asks for no more than reading."""
        return f"repository:{self._prefix}{repository}:{actions}"


class _Board:
    """The claims of one repository's tags, as tags of a repository beside it."""

    def __init__(self, store: RegistryStore, repository: str, take: Callable[[str], None]) -> None:
        self._store = store
        self._repository = repository
        self._take = take

    def tags(self) -> Sequence[str]:
        return self._store._tags(self._repository)

    def claims(self) -> Sequence[str]:
        return self._store._tags(f"{self._repository}/{_CLAIMS}")

    def put_claim(self, claim: str, writer: str) -> None:
        self._store.push(f"{self._repository}/{_CLAIMS}", _claim_of(writer), claim)

    def clear_claims(self, writer: str) -> bool:
        # All claims of a writer are tags of one manifest, and nobody else's: they go with it.
        manifest = Manifest(_CLAIM, annotations=_claim_of(writer).annotations)
        while (
            status := self._store._delete(f"{self._repository}/{_CLAIMS}", manifest.descriptor().digest)
        ) == 404:
            # Docker's registry forgets the manifest, but keeps its tags, when other tags go at the same moment.
            self.put_claim(f"out_9999_{writer}", writer)
        return status in _DELETED

    def take(self, tag: str) -> None:
        self._take(tag)


def _claim_of(writer: str) -> Artifact:
    return Artifact(_CLAIM, annotations={"dev.fieldwave.writer": writer})
