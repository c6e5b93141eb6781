"""Where a base image comes from: an OCI layout, an archive of one, or a registry.

Each gives the same: one manifest for Linux on the wanted architecture, and its blobs, checked against their
digests. Docker's own manifests (application/vnd.docker.distribution...) name the same bytes by other media types.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from fieldwave.errors import ArtifactError, InputError, NotFoundError, StorageError
from fieldwave.store import Descriptor, LayoutStore, Manifest
from fieldwave.store.content import (
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    MAX_MANIFEST_BYTES,
    check_digest,
    digest_of,
    to_json,
)
from fieldwave.store.parse import parse_index, parse_manifest
from fieldwave.store.transport import Transport

__all__ = ["LayoutSource", "RegistrySource", "Source", "choose", "unpack_archive"]

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_AS_OCI = {
    _DOCKER_MANIFEST: IMAGE_MANIFEST,
    _DOCKER_INDEX: IMAGE_INDEX,
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
_REF_NAME = "org.opencontainers.image.ref.name"
_MEMBER = re.compile(r"(\./)?(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})")


class Source(Protocol):
    """A base image somewhere."""

    name: str
    """What it is called in messages and in the image's labels."""

    def top(self) -> bytes:
        """The manifest or index that the name leads to."""

    def get(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob or manifest, checked against its digest."""


def choose(source: Source, architecture: str) -> tuple[str, Manifest]:
    """The manifest for Linux on an architecture, and the digest that it has at the source.

    Raises:
        NotFoundError: the image is not for that architecture.
        ArtifactError: what is there is no image.
    """
    data = source.top()
    for _ in range(4):
        value = _json(data, source.name)
        if value.get("mediaType", "") not in (IMAGE_INDEX, _DOCKER_INDEX) and "manifests" not in value:
            return digest_of(data), parse_manifest(_as_oci(data), source.name)
        entry = _pick(value.get("manifests"), architecture, source.name)
        data = b"".join(source.get(entry))
    raise ArtifactError(f"{source.name} is an index of an index of an index; no image is")


class LayoutSource:
    """An image in an OCI layout: the one of this reference name, or the only one."""

    def __init__(self, folder: Path, reference: str = "") -> None:
        self.name = f"{folder}:{reference}" if reference else str(folder)
        self._store = LayoutStore(folder)
        self._index = folder / "index.json"
        self._reference = reference

    def top(self) -> bytes:
        try:
            entries = parse_index(self._index.read_bytes(), str(self._index))
        except OSError as error:
            raise StorageError(f"cannot read {self._index}: {error.strerror or error}") from error
        named = {entry.annotations.get(_REF_NAME, ""): entry for entry in entries}
        if self._reference:
            found = [named[self._reference]] if self._reference in named else []
        else:
            found = list({entry.digest: entry for entry in entries}.values())
        if len(found) != 1:
            names = ", ".join(sorted(name for name in named if name)) or "none by name"
            wanted = repr(self._reference) if self._reference else "one image"
            raise NotFoundError(f"{self._index.parent} does not hold {wanted}; it holds {names}")
        return b"".join(self.get(found[0]))

    def get(self, descriptor: Descriptor) -> Iterator[bytes]:
        return self._store.read("base", descriptor)


class RegistrySource:
    """An image in a registry: ``HOST/NAME:TAG`` or ``HOST/NAME@sha256:...``."""

    def __init__(self, reference: str, transport: Transport | None = None) -> None:
        self.name = reference
        host, _, rest = reference.partition("/")
        name, at, digest = rest.partition("@")
        name, _, tag = name.partition(":")
        self._repository, self._tag = name, check_digest(digest) if at else tag or "latest"
        self._scope = f"repository:{name}:pull"
        self._transport = transport or Transport(host)

    def top(self) -> bytes:
        return self._manifest(self._tag)

    def get(self, descriptor: Descriptor) -> Iterator[bytes]:
        if descriptor.media_type in (IMAGE_MANIFEST, IMAGE_INDEX):
            return iter([self._manifest(descriptor.digest)])
        return self._blob(descriptor)

    def _manifest(self, reference: str) -> bytes:
        accept = ", ".join((IMAGE_MANIFEST, IMAGE_INDEX, _DOCKER_MANIFEST, _DOCKER_INDEX))
        path = f"/v2/{self._repository}/manifests/{reference}"
        try:
            data = self._transport.request("GET", path, scope=self._scope, headers={"Accept": accept}).content
        except NotFoundError:
            raise NotFoundError(f"there is no image {self.name}") from None
        if reference.startswith("sha256:") and digest_of(data) != reference:
            raise ArtifactError(f"{self.name} is damaged: {reference[:19]}… holds other bytes")
        return data

    def _blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        path = f"/v2/{self._repository}/blobs/{descriptor.digest}"
        digest, size = hashlib.sha256(), 0
        with self._transport.stream(path, scope=self._scope) as pieces:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                if size > descriptor.size:
                    break
                yield piece
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise ArtifactError(f"{self.name} is damaged: the blob {descriptor.digest[:19]}… holds other bytes")


def unpack_archive(path: Path, folder: Path) -> None:
    """Write an archive of an OCI layout (``podman save --format oci-archive``) into an empty folder.

    Only the layout's own files are taken, by their names: nothing in an archive can lead out of the folder.

    Raises:
        InputError: it is no tar archive, or damaged.
        StorageError: it cannot be read, or the disk is full.
    """
    (folder / "blobs" / "sha256").mkdir(parents=True)
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                match = _MEMBER.fullmatch(member.name)
                content = archive.extractfile(member) if match and member.isfile() else None
                if match and content:
                    with (folder / match[2]).open("wb") as file, contextlib.closing(content):
                        while piece := content.read(1 << 20):
                            file.write(piece)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} is no tar archive, or damaged: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot unpack {path}: {error.strerror or error}") from error


def _json(data: bytes, place: str) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{place}: a manifest of {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ArtifactError(f"{place} is no manifest: {error}") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{place} is no manifest")
    return value


def _as_oci(data: bytes) -> bytes:
    """A manifest with Docker's media types replaced by OCI's; the blobs are the same."""
    value = json.loads(data)
    parts = [value, value.get("config"), *(value.get("layers") or [])]
    for part in parts:
        if isinstance(part, dict) and part.get("mediaType") in _AS_OCI:
            part["mediaType"] = _AS_OCI[part["mediaType"]]
    return to_json(value)


def _pick(entries: Any, architecture: str, place: str) -> Descriptor:
    """The entry of an index for an architecture; attestations, which have none, are passed over."""
    seen = []
    for each in entries if isinstance(entries, list) else ():
        platform = each.get("platform") if isinstance(each, dict) else None
        platform = platform if isinstance(platform, dict) else {}
        seen.append(f"{platform.get('os', '?')}/{platform.get('architecture', '?')}")
        if len(entries) == 1 or seen[-1] == f"linux/{architecture}":
            found = parse_index(to_json({"schemaVersion": 2, "manifests": [each]}), place)[0]
            return replace(found, media_type=_AS_OCI.get(found.media_type, found.media_type))
    raise NotFoundError(f"{place} is not for linux/{architecture}; it is for {', '.join(seen) or 'nothing'}")
