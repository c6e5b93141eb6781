"""An image, and how it is written down beside the OCI manifest that containers run.

The manifest of an image holds nothing but what its bytes follow from, so that two builds give one digest. What
is said of a build, when it was and from which model, stands in an artifact beside it::

    images/digits:3               the image
    images/digits:build-<hex>     its build: log, tags, time; its subject is the image, so it is a referrer, too
    images/digits:4.deleted       version 4 existed: its number is not given again
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldwave.errors import ArtifactError, InputError
from fieldwave.store import Descriptor

__all__ = [
    "BUILD",
    "Image",
    "build_annotations",
    "build_tag",
    "check_labels",
    "check_name",
    "manifest_annotations",
    "read_image",
]

BUILD = "application/vnd.fieldwave.build.v1"
"""The artifact type of what stands beside an image: its build log, as text."""

_PREFIX = "dev.fieldwave."
_CREATED = "org.opencontainers.image.created"
_BASE_DIGEST = "org.opencontainers.image.base.digest"
_BASE_NAME = "org.opencontainers.image.base.name"
_TITLE = "org.opencontainers.image.title"
_OURS = (_PREFIX, "org.opencontainers.image.base.")
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_LONGEST = 1000


@dataclass(frozen=True)
class Image:
    """One version of an image.

    Attributes:
        name: of the image.
        version: counts from 1 for each name; a number is never given twice.
        digest: of its manifest; it names these bytes for ever.
        size: of its layers as they are stored and sent, in bytes.
        created: when it was first built here, RFC 3339, in UTC.
        package: the digest of its package.
        network: the package's network.
        model: the registered version that it was built from, as ``name:version@digest``; empty if from a file.
        platform: such as ``linux/amd64``.
        base: what it stands on, by digest; the base's name before it where it has one.
        fieldwave: the version inside.
        tags: what people say about it; they change with another build of the same.
        labels: what is written into the image itself.
    """

    name: str
    version: int
    digest: str
    size: int
    created: str
    package: str
    network: str
    model: str = ""
    platform: str = "linux/amd64"
    base: str = ""
    fieldwave: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    @property
    def repository(self) -> str:
        """Where it is kept in its store."""
        return f"images/{self.name}"

    def reference(self, registry: str = "") -> str:
        """What to write in a manifest or after ``podman run``.

        Parameters:
            registry: ``HOST[/PREFIX]``, where the image was pushed to; empty for the name that it has inside an
                exported archive, and so in podman after ``podman load``.
        """
        if registry:
            return f"{registry.removeprefix('oci://').rstrip('/')}/{self.name}@{self.digest}"
        return f"localhost/fieldwave/{self.name}:{self.version}-{self.digest.removeprefix('sha256:')[:12]}"


def manifest_annotations(
    package: str,
    network: str,
    size: int,
    platform: str,
    base: tuple[str, str],
    fieldwave: str,
    labels: Mapping[str, str],
) -> dict[str, str]:
    """What the image's manifest and configuration say: it follows from what the image was made of."""
    said = {"package": package, "size": str(size), "platform": platform, "version": fieldwave}
    reference, digest = base
    return {
        **labels,
        **{f"{_PREFIX}{key}": value for key, value in said.items()},
        _TITLE: labels.get(_TITLE, network),
        f"{_PREFIX}network": network,
        _BASE_DIGEST: digest,
        **({_BASE_NAME: reference} if reference else {}),
    }


def build_annotations(created: str, model: str, tags: Mapping[str, str]) -> dict[str, str]:
    """What the artifact beside it says."""
    said = {_CREATED: created, **{f"{_PREFIX}tag.{key}": value for key, value in tags.items()}}
    return {**said, f"{_PREFIX}model": model} if model else said


def build_tag(digest: str) -> str:
    """The tag of the artifact beside the image of this digest."""
    return f"build-{digest.removeprefix('sha256:')}"


def read_image(name: str, version: int, descriptor: Descriptor, build: Mapping[str, str]) -> Image:
    """The image that a manifest's descriptor describes, with the annotations of its build.

    Raises:
        ArtifactError: it is none of ours.
    """
    said = descriptor.annotations
    start = f"{_PREFIX}tag."
    try:
        network = said[f"{_PREFIX}network"]
        base = f"{said[_BASE_NAME]}@{said[_BASE_DIGEST]}" if _BASE_NAME in said else said[_BASE_DIGEST]
        labels = {key: value for key, value in said.items() if not key.startswith(_OURS)}
        if labels.get(_TITLE) == network:
            del labels[_TITLE]
        return Image(
            name=name,
            version=version,
            digest=descriptor.digest,
            size=int(said[f"{_PREFIX}size"]),
            created=build.get(_CREATED, ""),
            package=said[f"{_PREFIX}package"],
            network=network,
            model=build.get(f"{_PREFIX}model", ""),
            platform=said[f"{_PREFIX}platform"],
            base=base,
            fieldwave=said[f"{_PREFIX}version"],
            tags={key.removeprefix(start): value for key, value in sorted(build.items()) if key.startswith(start)},
            labels=labels,
        )
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{name}:{version} ({descriptor.digest}) is no image of a package: {error}") from None


def check_name(name: str) -> str:
    """Return ``name`` if an image may be called so.

    Raises:
        InputError: it is outside the grammar.
    """
    if len(name) > 100 or not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for an image: use lower-case letters and digits, "
            "with single '.', '_' or '-' between them, at most 100"
        )
    return name


def check_labels(labels: Mapping[str, str]) -> None:
    """Let labels pass that can be written into an image.

    Raises:
        InputError: a key outside the grammar or one of ours, or a value that is too long.
    """
    for key, value in labels.items():
        if not _LABEL.fullmatch(key):
            raise InputError(
                f"{key!r} is no key of a label: use letters, digits, '.', '_', '/' and '-', at most 100"
            )
        if key.startswith(_OURS):
            raise InputError(f"the label {key!r} is written by fieldwave itself; choose another key")
        if len(value) > _LONGEST:
            raise InputError(f"the label {key!r} has {len(value)} characters, at most {_LONGEST} are allowed")
