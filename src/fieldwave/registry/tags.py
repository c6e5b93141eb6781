"""What the tags of a repository say: which versions there are, what they are called, which notes are theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fieldwave.registry.model import RegisteredModel, check_name, read_model
from fieldwave.store import Descriptor, NextTag, Tagged

__all__ = ["ChangedError", "models", "next_note", "next_version", "note_numbers", "numbers", "repository"]


class ChangedError(Exception):
    """Somebody else changed the version in between: look again."""


def repository(name: str) -> str:
    """Where the versions of a model are kept."""
    return f"models/{check_name(name)}"


def numbers(tags: Iterable[str]) -> list[int]:
    """All version numbers that were ever given, deleted ones too."""
    plain = (tag.removesuffix(".deleted") for tag in tags)
    return [int(tag) for tag in plain if tag.isdecimal()]


def next_version(tags: Sequence[str]) -> str:
    """The tag of the version after all that there ever were."""
    return str(max(numbers(tags), default=0) + 1)


def note_numbers(tags: Iterable[str], version: int) -> list[int]:
    """The changes of a version's notes that have tags, oldest first."""
    start = f"{version}.notes."
    return sorted(int(tag.removeprefix(start)) for tag in tags if tag.startswith(start))


def next_note(version: int, before: Sequence[int]) -> NextTag:
    """The tag of a change that was made with the changes ``before`` in sight; ChangedError if there are others."""

    def next_tag(tags: Sequence[str]) -> str:
        last = max(before, default=0)
        # Those before the last are on their way out.
        if max(note_numbers(tags, version), default=0) > last or str(version) not in tags:
            raise ChangedError
        return f"{version}.notes.{last + 1}"

    return next_tag


def models(entries: Sequence[Tagged]) -> list[RegisteredModel]:
    """The versions among the tags of one or of all repositories, by name and version."""
    notes: dict[tuple[str, str], tuple[int, Descriptor]] = {}
    aliases: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        version, _, number = entry.tag.partition(".notes.")
        if number.isdecimal():
            key = (entry.repository, version)
            notes[key] = max(
                notes.get(key, (0, entry.descriptor)), (int(number), entry.descriptor), key=lambda n: n[0]
            )
        elif not entry.tag[0].isdecimal():
            aliases.setdefault((entry.repository, entry.descriptor.digest), []).append(entry.tag)
    found = []
    for entry in entries:
        if entry.tag.isdecimal() and entry.repository.startswith("models/"):
            model = read_model(entry.repository.removeprefix("models/"), int(entry.tag), entry.descriptor)
            later = notes.get((entry.repository, entry.tag))
            model = model.with_notes(later[1].annotations) if later else model
            named = aliases.get((entry.repository, entry.descriptor.digest), [])
            found.append(replace(model, aliases=tuple(sorted(named))))
    return sorted(found, key=lambda model: (model.name, model.version))
