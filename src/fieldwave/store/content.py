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

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fieldwave.errors import ArtifactError, InputError

__all__ = [
    "EMPTY",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "MAX_MANIFEST_BYTES",
    "Descriptor",
    "Manifest",
    "check_digest",
    "check_repository",
    "check_tag",
    "digest_of",
    "parse_index",
    "parse_manifest",
    "to_json",
]

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
MAX_MANIFEST_BYTES = 4 << 20
"""Registries must take manifests of this size (distribution-spec 1.1) and few take larger ones."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# distribution-spec 1.1, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


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
    if not _DIGEST.fullmatch(digest):
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


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Read a manifest from outside; ``place`` says in errors where it came from.

    Raises:
        ArtifactError: it is no image manifest of the specification.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{place}: a manifest of {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        model = _ManifestModel.model_validate_json(data, strict=True)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"{place} is no OCI image manifest: {_first(error)}") from None
    if model.mediaType not in ("", IMAGE_MANIFEST):
        raise ArtifactError(f"{place} is a {model.mediaType}, expected {IMAGE_MANIFEST}")
    return Manifest(
        artifact_type=model.artifactType,
        config=model.config.descriptor(),
        layers=tuple(layer.descriptor() for layer in model.layers),
        annotations=model.annotations,
        subject=model.subject.descriptor() if model.subject else None,
    )


def parse_index(data: bytes, place: str) -> list[Descriptor]:
    """Read an image index from outside; ``place`` says in errors where it came from.

    Raises:
        ArtifactError: it is no image index of the specification.
    """
    try:
        model = _IndexModel.model_validate_json(data, strict=True)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"{place} is no OCI image index: {_first(error)}") from None
    return [entry.descriptor() for entry in model.manifests]


class _DescriptorModel(BaseModel):
    """A descriptor from outside; what the specification allows beyond this is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mediaType: str = Field(pattern=_MEDIA_TYPE.pattern, max_length=256)
    digest: str = Field(pattern=f"^{_DIGEST.pattern}$")
    size: int = Field(ge=0, le=1 << 50)
    artifactType: str = Field(default="", max_length=256)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=1000)

    def descriptor(self) -> Descriptor:
        """The same as a dataclass."""
        return Descriptor(self.mediaType, self.digest, self.size, self.artifactType, self.annotations)


class _ManifestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    schemaVersion: int = Field(ge=2, le=2)
    mediaType: str = Field(default="", max_length=256)
    artifactType: str = Field(default="", max_length=256)
    config: _DescriptorModel
    layers: list[_DescriptorModel] = Field(max_length=10_000)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=1000)
    subject: _DescriptorModel | None = None


class _IndexModel(BaseModel):
    """An image index from outside."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schemaVersion: int = Field(ge=2, le=2)
    manifests: list[_DescriptorModel] = Field(max_length=1_000_000)


def _first(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    text = found["msg"][:1].lower() + found["msg"][1:]
    return f"{place}: {text}" if place else text
