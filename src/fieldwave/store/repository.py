"""One repository of a registry: a method for each request of distribution-spec 1.1 that a store needs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator

from fieldwave.errors import ArtifactError, NotFoundError
from fieldwave.store.body import Body, digest_of_file, pieces_of
from fieldwave.store.content import (
    IMAGE_INDEX,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    check_digest,
    check_repository,
    digest_of,
    to_json,
)
from fieldwave.store.parse import Raw, parse_index, read_raw
from fieldwave.store.protocol import Layer, Stored
from fieldwave.store.transport import Transport

__all__ = ["Repository"]

_SMALL = 1024


class Repository:
    """Requests about one repository.

    Parameters:
        transport: to its registry.
        address: of the store, for messages.
        prefix: what stands before the names of all its repositories; empty, or ending in "/".
        name: of this one.
    """

    def __init__(self, transport: Transport, address: str, prefix: str, name: str) -> None:
        self.name = check_repository(name)
        self._transport, self._address, self._prefix = transport, address, prefix
        self._path = f"/v2/{prefix}{name}"
        self._manifests: dict[str, Raw] = {}
        self._known: set[str] = set()

    def tags(self) -> list[str]:
        """All tags; none where the registry does not know the repository."""
        return self._transport.pages(f"{self._path}/tags/list?n=1000", "tags", scope=self._scope())

    def get(self, reference: str) -> Raw:
        """The manifest of a tag or a digest.

        Raises:
            NotFoundError: there is none.
            ArtifactError: its bytes are not those that the digest names.
        """
        if reference in self._manifests:
            return self._manifests[reference]
        try:
            response = self._transport.request(
                "GET",
                f"{self._path}/manifests/{reference}",
                scope=self._scope(),
                headers={"Accept": ", ".join(MANIFEST_TYPES)},
            )
        except NotFoundError:
            raise self.missing(reference) from None
        data, digest = response.content, digest_of(response.content)
        if reference.startswith("sha256:") and digest != reference:
            raise ArtifactError(f"{self._address}/{self.name} is damaged: {reference[:19]}… holds other bytes")
        raw = read_raw(data, f"{self.name}@{digest}")
        if len(data) <= MAX_MANIFEST_BYTES:
            self._manifests[digest] = raw
        return raw

    def put(self, reference: str, data: bytes, media_type: str, within: float | None = None) -> bool:
        """Put a manifest under a tag or its digest; whether the registry keeps lists of referrers by itself."""
        response = self._transport.request(
            "PUT",
            f"{self._path}/manifests/{reference}",
            scope=self._scope("pull,push"),
            expected=(201,),
            content=data,
            headers={"Content-Type": media_type},
            within=within,
        )
        return "oci-subject" in response.headers

    def delete(self, reference: str) -> int:
        """Delete a manifest, or a tag where the registry can do that: the status that it answers with."""
        response = self._transport.request(
            "DELETE",
            f"{self._path}/manifests/{reference}",
            scope=self._scope("delete,pull"),
            expected=(200, 202, 400, 404, 405),
        )
        return response.status_code

    def read(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; the last one comes only if all are what the digest names. Errors as of a store."""
        digest = hashlib.sha256()
        path = f"{self._path}/blobs/{check_digest(descriptor.digest)}"
        last = b""
        with self._transport.stream(path, scope=self._scope()) as pieces:
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
                f"{self._address}/{self.name} is damaged: the blob {descriptor.digest[:19]}… holds other bytes; "
                "push again"
            )
        if last:
            yield last

    def add(self, layer: Layer) -> Descriptor:
        """Put what a layer holds, if it is not there."""
        data = layer.data
        if isinstance(data, bytes):
            digest, size = digest_of(data), len(data)
        elif isinstance(data, Stored):
            digest, size = data.descriptor.digest, data.descriptor.size
        else:
            digest, size = digest_of_file(data)
        if digest not in self._known and not self._has(digest):
            self._upload(layer, digest, size)
        if size <= _SMALL:
            self._known.add(digest)  # such as the empty configuration of every artifact
        return Descriptor(layer.media_type, digest, size, annotations=layer.annotations)

    def referrers(self, digest: str) -> list[Descriptor]:
        """The manifests whose subject has this digest, oldest first."""
        response = self._transport.request(
            "GET",
            f"{self._path}/referrers/{check_digest(digest)}",
            scope=self._scope(),
            expected=(200, 400, 404, 405),
        )
        if response.status_code == 200 and response.headers.get("content-type", "").startswith(IMAGE_INDEX):
            return parse_index(response.content, f"{self._address}/{self.name}")
        return self._listed(digest)

    def list_referrer(self, digest: str, referrer: Descriptor, within: float | None = None) -> None:
        """Add one to the list that a registry of version 1.0 wants to be kept for it, unless another writer
        does so at the same time.
        """
        known = self._listed(digest)
        if referrer.digest in {entry.digest for entry in known}:
            return
        value = {
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": [entry.to_value() for entry in (*known, referrer)],
        }
        self.put(digest.replace(":", "-"), to_json(value), IMAGE_INDEX, within)

    def missing(self, reference: str) -> NotFoundError:
        """That there is no such manifest."""
        mark = "@" if reference.startswith("sha256:") else ":"
        return NotFoundError(f"{self._address} has no {self.name}{mark}{reference}")

    def _listed(self, digest: str) -> list[Descriptor]:
        """The referrers as distribution-spec 1.1 has them for older registries: an index under a tag."""
        with contextlib.suppress(NotFoundError):
            tag = digest.replace(":", "-")
            return parse_index(self.get(tag).data, f"{self._address}/{self.name}:{tag}")
        return []

    def _has(self, digest: str) -> bool:
        path = f"{self._path}/blobs/{digest}"
        found = self._transport.request("HEAD", path, scope=self._scope("pull,push"), expected=(200, 404))
        return found.status_code == 200

    def _upload(self, layer: Layer, digest: str, size: int) -> None:
        address, scope = f"{self._path}/blobs/uploads/", self._scope("pull,push")
        data = layer.data
        if isinstance(data, Stored) and data.store is None:
            # "Mounting a blob from another repository": not a byte is sent.
            address += f"?mount={digest}&from={self._prefix}{data.repository}"
        begun = self._transport.request("POST", address, scope=scope, expected=(201, 202))
        if begun.status_code == 201:
            return
        place = begun.url.join(begun.headers["location"]).copy_merge_params({"digest": digest})
        self._transport.request(
            "PUT",
            str(place),
            scope=scope,
            expected=(201,),
            content=self._body(layer),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )

    def _body(self, layer: Layer) -> bytes | Iterable[bytes]:
        data = layer.data
        if isinstance(data, bytes):
            return data
        if not isinstance(data, Stored):
            return Body(lambda: pieces_of(data))
        if data.store is not None:
            store = data.store
            return Body(lambda: store.read(data.repository, data.descriptor))
        origin = Repository(self._transport, self._address, self._prefix, data.repository)
        return Body(lambda: origin.read(data.descriptor))

    def _scope(self, actions: str = "pull") -> str:
        """What a token must allow: reading asks for no more than reading."""
        return f"repository:{self._prefix}{self.name}:{actions}"
