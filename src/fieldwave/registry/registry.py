"""The registry: register, find, tag, download and delete models."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.registry.contents import download, inspect
from fieldwave.registry.copying import copy_model
from fieldwave.registry.model import KINDS, Notes, RegisteredModel, check_alias, check_notes
from fieldwave.registry.tags import (
    ChangedError,
    models,
    next_note,
    next_version,
    note_numbers,
    numbers,
    repository,
)
from fieldwave.store import Artifact, Descriptor, Layer, Store

__all__ = ["Registry"]

_NOTES = "application/vnd.fieldwave.notes.v1"
_DELETED = "application/vnd.fieldwave.deleted.v1"

Users = Callable[[RegisteredModel], Sequence[str]]
"""From a model to those who use it, each in words, such as "service digits"."""


class Registry:
    """The models of one store.

    Parameters:
        store: where they are kept.
        users: asked before a deletion; who is named there prevents it.
    """

    def __init__(self, store: Store, users: Users = lambda model: ()) -> None:
        self._store = store
        self._users = users

    def register(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        source: RegisteredModel | None = None,
    ) -> RegisteredModel:
        """Store a file or folder as the next version of ``name``.

        Raises:
            InputError: a name outside the grammar, or nothing that can be registered.
            PackageError: the package is damaged.
            NotFoundError: there is nothing at ``path``.
            StorageError: the store cannot be written; nothing was registered.
        """
        place = repository(name)
        notes = check_notes(Notes(dict(tags or {}), dict(properties or {}), description))
        contents = inspect(path)
        model = RegisteredModel(
            name=name,
            version=0,
            kind=contents.kind,
            digest="",
            size=contents.size,
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            notes=notes,
            facts=contents.facts,
            source=f"{source.id}@{source.digest}" if source else "",
        )
        artifact = Artifact(
            KINDS[contents.kind], contents.layers, annotations=model.annotations(secrets.token_hex(16))
        )
        tagged = self._store.push(place, artifact, next_version)
        return replace(model, version=int(tagged.tag), digest=tagged.descriptor.digest)

    def get(self, reference: str) -> RegisteredModel:
        """The model ``name`` (its latest version), ``name:3`` or ``name:alias``.

        Raises:
            NotFoundError: there is none; the message names what there is.
        """
        name, _, wanted = reference.partition(":")
        versions = models(self._store.tagged(repository(name)))
        if not versions:
            known = sorted({model.name for model in self.find()})
            others = f"it has {', '.join(known[:10])}" if known else "it is empty; register one first"
            raise NotFoundError(f"the registry has no model {name!r}: {others}")
        if wanted in ("", "latest"):
            return versions[-1]
        for model in versions:
            if wanted == str(model.version) or wanted in model.aliases:
                return model
        numbers = ", ".join(str(model.version) for model in versions[-10:])
        raise NotFoundError(f"model {name!r} has no version or alias {wanted!r}: it has {numbers}")

    def find(
        self,
        name: str | None = None,
        *,
        tags: Iterable[str] = (),
        properties: Iterable[str] = (),
        latest: bool = False,
    ) -> list[RegisteredModel]:
        """The models that fit all filters, by name and version.

        Args:
            name: of the model; all where None.
            tags, properties: ``key`` or ``key=value``, each of which must hold.
            latest: only the highest version of each.
        """
        found = models(self._store.tagged(repository(name) if name is not None else None))
        if latest:
            found = list({model.name: model for model in found}.values())
        wanted = [(_filter(text), "tags") for text in tags] + [
            (_filter(text), "properties") for text in properties
        ]
        return [model for model in found if all(_fits(getattr(model, kind), key) for key, kind in wanted)]

    def update(
        self,
        model: RegisteredModel,
        *,
        add_tags: Mapping[str, str] | None = None,
        remove_tags: Iterable[str] = (),
        add_properties: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> RegisteredModel:
        """Change what is said about a version; two who do so at once both succeed.

        Raises:
            NotFoundError: it was deleted, or a tag to remove is not there.
            ConflictError: a property to add is there already.
            InputError: a key or value that cannot be written down.
        """
        removed = set(remove_tags)
        while True:
            entries = self._store.tagged(repository(model.name))
            current = next((m for m in models(entries) if m.version == model.version), None)
            if current is None:
                raise NotFoundError(f"model {model.id} was deleted")
            for key in sorted(removed - set(current.tags)):
                raise NotFoundError(f"model {model.id} has no tag {key!r}")
            for key in sorted(set(add_properties or {}) & set(current.properties)):
                raise ConflictError(
                    f"model {model.id} has the property {key!r} already; "
                    "properties stay, use a tag for what changes"
                )
            notes = Notes(
                {k: v for k, v in current.tags.items() if k not in removed} | dict(add_tags or {}),
                {**current.properties, **(add_properties or {})},
                current.description if description is None else description,
            )
            artifact = Artifact(_NOTES, annotations=check_notes(notes).annotations())
            before = note_numbers((entry.tag for entry in entries), model.version)
            try:
                self._store.push(repository(model.name), artifact, next_note(model.version, before))
            except ChangedError:
                continue
            for number in before:
                self._forget(model.name, f"{model.version}.notes.{number}")
            return replace(current, notes=notes)

    def alias(self, model: RegisteredModel, alias: str) -> RegisteredModel:
        """Call this version ``alias``; another version of the model that was called so is so no more."""
        self._store.tag(repository(model.name), model.digest, check_alias(alias))
        return self.get(model.id)

    def remove_alias(self, name: str, alias: str) -> None:
        """Take an alias away.

        Raises:
            NotFoundError: no version is called so.
        """
        try:
            self._store.untag(repository(name), check_alias(alias))
        except NotFoundError:
            raise NotFoundError(f"model {name!r} has no alias {alias!r}") from None

    def download(
        self, model: RegisteredModel, folder: str | os.PathLike[str], *, overwrite: bool = False
    ) -> list[Path]:
        """Write the version's files into a folder and return their paths.

        Raises:
            ConflictError: a file is there already, and ``overwrite`` is False.
            ArtifactError: the store's bytes are damaged.
            StorageError: they cannot be written.
        """
        place = repository(model.name)
        _, manifest = self._store.manifest(place, model.digest)
        return download(self._store, place, manifest, Path(folder), overwrite=overwrite)

    def copy(self, model: RegisteredModel, target: Store, *, renumber: bool = False) -> RegisteredModel:
        """Copy a version to another store, with what is said about it and what belongs to it; not its aliases.

        Its digest stays, and so does its number. Only what is not there moves; copied again, nothing changes.

        Args:
            renumber: it may get the next number there; if its bytes are there already, the one that they have.

        Raises:
            ConflictError: its number is, or was, another model's there, and ``renumber`` is False.
            ArtifactError: the store's bytes are damaged.
            StorageError: the other store cannot be written.
        """
        return copy_model(self._store, model, target, renumber=renumber)

    def source(self, model: RegisteredModel) -> RegisteredModel:
        """The version that a model was converted from.

        Raises:
            NotFoundError: it was converted from none, or from one that was deleted since.
        """
        reference, _, digest = model.source.partition("@")
        if not reference:
            raise NotFoundError(f"model {model.id} was not converted from a registered model")
        for found in self.find(reference.partition(":")[0]):
            if found.digest == digest:
                return found
        raise NotFoundError(f"model {model.id} was converted from {reference}, which was deleted since")

    def attach(self, model: RegisteredModel, artifact_type: str, data: bytes, media_type: str) -> Descriptor:
        """Store something that belongs to a version, such as the log of its conversion."""
        descriptor, _ = self._store.manifest(repository(model.name), model.digest)
        artifact = Artifact(artifact_type, (Layer(media_type, data),), subject=descriptor)
        return self._store.push(repository(model.name), artifact).descriptor

    def attachments(self, model: RegisteredModel, artifact_type: str) -> list[bytes]:
        """What belongs to a version, of one type, oldest first."""
        place = repository(model.name)
        found = self._store.referrers(place, model.digest, artifact_type)
        manifests = [self._store.manifest(place, each.digest)[1] for each in found]
        return [b"".join(self._store.read(place, manifest.layers[0])) for manifest in manifests]

    def delete(self, model: RegisteredModel) -> None:
        """Delete a version with its aliases; its number is never given again.

        Raises:
            ConflictError: something uses it; the message names all who do.
            NotFoundError: it is deleted already.
        """
        users = list(self._users(model))
        if users:
            raise ConflictError(f"model {model.id} is used by {' and '.join(users)}; delete that first")
        place = repository(model.name)
        current = self.get(model.id)
        self._store.push(place, Artifact(_DELETED), f"{model.version}.deleted")
        for alias in current.aliases:
            self._forget(model.name, alias)
        self._store.untag(place, str(model.version))
        tags = [entry.tag for entry in self._store.tagged(place)]
        for number in note_numbers(tags, model.version):
            self._forget(model.name, f"{model.version}.notes.{number}")
        # Only the highest number that was ever given need be remembered.
        for tag in tags:
            if tag.endswith(".deleted") and int(tag.removesuffix(".deleted")) < max(numbers(tags)):
                self._forget(model.name, tag)

    def _forget(self, name: str, tag: str) -> None:
        with contextlib.suppress(NotFoundError):  # somebody else was faster
            self._store.untag(repository(name), tag)


def _filter(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key:
        raise InputError(f"{text!r} is no filter: write 'key' or 'key=value'")
    return key, value if equals else None


def _fits(said: Mapping[str, str], wanted: tuple[str, str | None]) -> bool:
    key, value = wanted
    return key in said and value in (None, said[key])
