"""What a store holds: descriptors, manifests and the blobs that they name.

The formats are those of the OCI image specification 1.1 (image-spec: descriptor.md, manifest.md,
image-index.md), so that any OCI tool opens what we write. Content is named by its SHA-256; everything that
comes from outside is checked against its name before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldwave.errors import ArtifactError, InputError

__all__ = [
    "DIGEST",
    "EMPTY",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "MAX_MANIFEST_BYTES",
    "Descriptor",
    "Manifest",
    "check_digest",
    "check_repository",
    "check_tag",
    "digest_of",
    "to_json",
]

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER = "application/vnd.docker.distribution.manifest"
MANIFEST_TYPES = (IMAGE_MANIFEST, IMAGE_INDEX, f"{_DOCKER}.v2+json", f"{_DOCKER}.list.v2+json")
"""What a registry may hand out for a tag; Docker's own are read the same way, and copied as they are."""
INDEX_TYPES = (MANIFEST_TYPES[1], MANIFEST_TYPES[3])
MAX_MANIFEST_BYTES = 4 << 20
"""Registries must take manifests of this size (distribution-spec 1.1) and few take larger ones."""

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# distribution-spec 1.1, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True)
class Descriptor:
    """The name of some content, and what it is.

    Attributes:
        media_type: what the bytes are.
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: in bytes.
        artifact_type: of a manifest: what kind of artifact it describes; empty where it says nothing.
        annotations: what its holder says about it.
    """

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """The descriptor as JSON has it."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


EMPTY = Descriptor(
    "application/vnd.oci.empty.v1+json",
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    2,
)
"""The two bytes ``{}``: what an artifact has for a configuration when it has none (manifest.md)."""


@dataclass(frozen=True)
class Manifest:
    """An image manifest: one artifact, by the descriptors of its parts.

    Attributes:
        artifact_type: what kind of artifact it is; an image for containers has none.
        config: its configuration; :data:`EMPTY` where it has none.
        layers: its parts, in order.
        annotations: what is said about it.
        subject: the manifest that it belongs to: a log, a signature.
    """

    artifact_type: str = ""
    config: Descriptor = EMPTY
    layers: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None

    def to_json(self) -> bytes:
        """The bytes to store: equal manifests are equal bytes."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": self.config.to_value(),
            # "For portability, layers SHOULD have at least one entry" (manifest.md).
            "layers": [layer.to_value() for layer in self.layers or (EMPTY,)],
        }
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.subject is not None:
            value["subject"] = self.subject.to_value()
        return to_json(value)

    def descriptor(self) -> Descriptor:
        """The name of the stored manifest; it repeats type and annotations, as a list of referrers must."""
        data = self.to_json()
        return Descriptor(IMAGE_MANIFEST, digest_of(data), len(data), self.artifact_type, self.annotations)

    def blobs(self) -> tuple[Descriptor, ...]:
        """Configuration and layers, each once."""
        return tuple({part.digest: part for part in (self.config, *(self.layers or (EMPTY,)))}.values())


def to_json(value: Any) -> bytes:
    """Canonical JSON: keys sorted, ASCII only, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest_of(data: bytes) -> str:
    """``sha256:`` and the SHA-256 of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(digest: str) -> str:
    """Return ``digest`` if it is one.

    Raises:
        ArtifactError: it is not ``sha256:`` and 64 hexadecimal digits.
    """
    if not DIGEST.fullmatch(digest):
        raise ArtifactError(f"{digest!r} is no digest: expected 'sha256:' and 64 hexadecimal digits")
    return digest


def check_repository(name: str) -> str:
    """Return ``name`` if a repository may be called so.

    Raises:
        InputError: it is outside the grammar of the OCI distribution specification.
    """
    if len(name) > 200 or not _REPOSITORY.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a repository: use lower-case letters and digits, "
            "with '.', '_', '-' or '/' between them, at most 200"
        )
    return name


def check_tag(tag: str) -> str:
    """Return ``tag`` if it is one.

    Raises:
        InputError: it is outside the grammar of the OCI distribution specification.
    """
    if not _TAG.fullmatch(tag):
        raise InputError(
            f"{tag!r} is no tag: use letters, digits, '_', '.' and '-', beginning with a letter, "
            "a digit or '_', at most 128"
        )
    return tag
