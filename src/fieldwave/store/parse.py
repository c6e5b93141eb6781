"""Manifests and indexes from outside: nothing of them is used before it was checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fieldwave.errors import ArtifactError
from fieldwave.store.content import (
    DIGEST,
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Manifest,
    digest_of,
)

__all__ = ["Raw", "parse_index", "parse_manifest", "read_raw"]

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True)
class Raw:
    """A manifest, or an index of manifests, whose bytes are to stay as they are.

    Attributes:
        data: its bytes.
        descriptor: their name; it repeats type and annotations, as a list of referrers must.
        blobs: the content that it names.
        manifests: of an index, the manifests that it names.
        subject: the manifest that it belongs to.
    """

    data: bytes
    descriptor: Descriptor
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None


def read_raw(data: bytes, place: str) -> Raw:
    """Read a manifest or an index of any type of :data:`MANIFEST_TYPES`; ``place`` as below.

    Raises:
        ArtifactError: it is none.
    """
    kind = _media_type(data, place) or IMAGE_MANIFEST
    if kind not in MANIFEST_TYPES:
        raise ArtifactError(f"{place} is a {kind}, expected {IMAGE_MANIFEST}")
    said: _IndexModel | _ManifestModel
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    if kind in INDEX_TYPES:
        said = index = _index(data, place)
        manifests = tuple(entry.descriptor() for entry in index.manifests)
    else:
        said = manifest = _manifest(data, place)
        parts = (part.descriptor() for part in (manifest.config, *manifest.layers))
        blobs = tuple({part.digest: part for part in parts}.values())
    descriptor = Descriptor(kind, digest_of(data), len(data), said.artifactType, said.annotations)
    return Raw(data, descriptor, blobs, manifests, said.subject.descriptor() if said.subject else None)


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Read a manifest from outside; ``place`` says in errors where it came from.

    Raises:
        ArtifactError: it is no image manifest of the specification.
    """
    model = _manifest(data, place)
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
    return [entry.descriptor() for entry in _index(data, place).manifests]


class _DescriptorModel(BaseModel):
    """A descriptor from outside; what the specification allows beyond this is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mediaType: str = Field(pattern=_MEDIA_TYPE.pattern, max_length=256)
    digest: str = Field(pattern=f"^{DIGEST.pattern}$")
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
    mediaType: str = Field(default="", max_length=256)
    artifactType: str = Field(default="", max_length=256)
    manifests: list[_DescriptorModel] = Field(max_length=1_000_000)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=1000)
    subject: _DescriptorModel | None = None


def _first(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    text = found["msg"][:1].lower() + found["msg"][1:]
    return f"{place}: {text}" if place else text


def _manifest(data: bytes, place: str) -> _ManifestModel:
    if len(data) > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{place}: a manifest of {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        return _ManifestModel.model_validate_json(data, strict=True)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"{place} is no OCI image manifest: {_first(error)}") from None


def _index(data: bytes, place: str) -> _IndexModel:
    try:
        return _IndexModel.model_validate_json(data, strict=True)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"{place} is no OCI image index: {_first(error)}") from None


def _media_type(data: bytes, place: str) -> str:
    """What the bytes say that they are; an index need not say so."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    if {"manifests", "layers"} <= set(value):  # read as one thing here, as another elsewhere: CVE-2021-41190
        raise ArtifactError(f"{place} is both a manifest and an index")
    return str(value.get("mediaType", "")) or (IMAGE_INDEX if "manifests" in value else "")
