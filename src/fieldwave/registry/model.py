"""A registered model, and how it is written down as an OCI artifact.

The artifact of a version never changes: its parts are the files, its annotations what was said at registration.
What may change later, tags and description, stands in an artifact beside it::

    models/digits:3             the model: one layer a file, under its path (org.opencontainers.image.title)
    models/digits:3.notes.2     its tags, properties and description after the second change
    models/digits:production    an alias: the same manifest under another tag
    models/digits:4.deleted     version 4 existed: its number is not given again
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fieldwave.errors import ArtifactError, InputError
from fieldwave.store import Descriptor

__all__ = ["KINDS", "Notes", "RegisteredModel", "check_alias", "check_name", "check_notes", "read_model"]

KINDS = {
    "package": "application/vnd.fieldwave.package.v1",
    "onnx": "application/vnd.fieldwave.onnx.v1",
    "saved-model": "application/vnd.fieldwave.saved-model.v1",
    "folder": "application/vnd.fieldwave.folder.v1",
    "file": "application/vnd.fieldwave.file.v1",
}
"""The artifact type of each kind of model."""

_PREFIX = "dev.fieldwave."
_CREATED = "org.opencontainers.image.created"
_DESCRIPTION = "org.opencontainers.image.description"
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_ALIAS = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LONGEST = 1000


@dataclass(frozen=True)
class Notes:
    """What people say about a version: tags and description may change, properties are only ever added."""

    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def annotations(self) -> dict[str, str]:
        """As annotations of an artifact."""
        said = {f"{_PREFIX}tag.{key}": value for key, value in self.tags.items()}
        said |= {f"{_PREFIX}property.{key}": value for key, value in self.properties.items()}
        return {**said, _DESCRIPTION: self.description} if self.description else said

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Notes:
        """The same, read back."""

        def those(kind: str) -> dict[str, str]:
            start = f"{_PREFIX}{kind}."
            return {k.removeprefix(start): v for k, v in sorted(annotations.items()) if k.startswith(start)}

        return cls(those("tag"), those("property"), annotations.get(_DESCRIPTION, ""))


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a model.

    Attributes:
        name: of the model.
        version: counts from 1 for each name; a number is never given twice.
        kind: ``package``, ``onnx``, ``saved-model``, ``folder`` or ``file``.
        digest: of the artifact; it names these bytes for ever.
        size: of all files, in bytes.
        created: when it was registered, RFC 3339, in UTC.
        notes: tags, properties and description as they are now.
        facts: what was read out of the files, such as the network's name.
        source: the version that it was converted from, as ``name:version@digest``; empty if from none. That one
            may be deleted since: lineage is no use.
        aliases: other names of this version, sorted.
    """

    name: str
    version: int
    kind: str
    digest: str
    size: int
    created: str
    notes: Notes = Notes()
    facts: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags, which may change."""
        return self.notes.tags

    @property
    def properties(self) -> Mapping[str, str]:
        """The properties, which stay."""
        return self.notes.properties

    @property
    def description(self) -> str:
        """What it is, in a sentence."""
        return self.notes.description

    def annotations(self, registration: str) -> dict[str, str]:
        """The artifact's annotations; ``registration`` makes each of them unlike any other."""
        said = {
            _CREATED: self.created,
            f"{_PREFIX}registration": registration,
            f"{_PREFIX}size": str(self.size),
            f"{_PREFIX}facts": json.dumps(dict(self.facts), sort_keys=True),
            **self.notes.annotations(),
        }
        return {**said, f"{_PREFIX}source": self.source} if self.source else said

    def with_notes(self, annotations: Mapping[str, str]) -> RegisteredModel:
        """The same version with the notes of a later artifact."""
        return replace(self, notes=Notes.of(annotations))


def read_model(name: str, version: int, descriptor: Descriptor) -> RegisteredModel:
    """The version that an artifact's descriptor describes.

    Raises:
        ArtifactError: it is no model.
    """
    said = descriptor.annotations
    kinds = {artifact_type: kind for kind, artifact_type in KINDS.items()}
    try:
        facts = json.loads(said.get(f"{_PREFIX}facts", "{}"))
        return RegisteredModel(
            name=name,
            version=version,
            kind=kinds[descriptor.artifact_type],
            digest=descriptor.digest,
            size=int(said[f"{_PREFIX}size"]),
            created=said[_CREATED],
            notes=Notes.of(said),
            facts={str(key): str(value) for key, value in facts.items()},
            source=said.get(f"{_PREFIX}source", ""),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{name}:{version} ({descriptor.digest}) is no registered model: {error}") from None


def check_name(name: str) -> str:
    """Return ``name`` if a model may be called so.

    Raises:
        InputError: it is outside the grammar.
    """
    if len(name) > 100 or not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a model: use lower-case letters and digits, "
            "with single '.', '_' or '-' between them, at most 100"
        )
    return name


def check_alias(alias: str) -> str:
    """Return ``alias`` if a version may be called so.

    Raises:
        InputError: it is outside the grammar, or ``latest``, which is always the highest version.
    """
    if alias == "latest":
        raise InputError("'latest' is always the highest version: choose another alias, such as 'production'")
    if not _ALIAS.fullmatch(alias):
        raise InputError(
            f"{alias!r} is no alias: use lower-case letters, digits and '-', beginning with a letter, at most 63"
        )
    return alias


def check_notes(notes: Notes) -> Notes:
    """Return ``notes`` if they can be written down.

    Raises:
        InputError: a key outside the grammar, or a value that is too long.
    """
    for kind, said in (("tag", notes.tags), ("property", notes.properties)):
        for key, value in said.items():
            if not _KEY.fullmatch(key):
                raise InputError(
                    f"{key!r} is no key of a {kind}: use letters, digits, '_', '.' and '-', at most 100"
                )
            if len(value) > _LONGEST:
                raise InputError(f"the {kind} {key!r} has {len(value)} characters, at most {_LONGEST} are allowed")
    if len(notes.description) > _LONGEST:
        raise InputError(
            f"the description has {len(notes.description)} characters, at most {_LONGEST} are allowed"
        )
    return notes
