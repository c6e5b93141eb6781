"""A version on its way to another store."""

from __future__ import annotations

from collections.abc import Sequence

from fieldwave.errors import ConflictError
from fieldwave.registry.model import RegisteredModel
from fieldwave.registry.tags import models, next_version, note_numbers, numbers, repository
from fieldwave.store import NextTag, Store, copy

__all__ = ["copy_model"]


def copy_model(source: Store, model: RegisteredModel, target: Store, *, renumber: bool) -> RegisteredModel:
    """Copy a version with what belongs to it; see :meth:`fieldwave.registry.Registry.copy`."""
    place = repository(model.name)
    there = models(target.tagged(place))
    same = next((one for one in there if one.digest == model.digest), None)
    tag: str | NextTag = _exactly(model, target)
    if same is not None and (renumber or same.version == model.version):
        tag = str(same.version)  # it is there: what it lacks of its logs follows
    elif renumber:
        tag = next_version
    tagged = copy(source, place, model.digest, target, tag=tag)
    # The version first: notes of a number that nobody has would be those of whoever gets it.
    before = [entry.tag for entry in source.tagged(place)]
    if not note_numbers([entry.tag for entry in target.tagged(place)], int(tagged.tag)):
        for number in note_numbers(before, model.version)[-1:]:
            last = f"{model.version}.notes.{number}"
            copy(source, place, last, target, tag=f"{tagged.tag}.notes.{number}")
    return next(one for one in models(target.tagged(place)) if one.version == int(tagged.tag))


def _exactly(model: RegisteredModel, target: Store) -> NextTag:
    """The number that the version has, if nobody ever got it there."""

    def next_tag(tags: Sequence[str]) -> str:
        if model.version in numbers(tags):
            what = "is another model" if str(model.version) in tags else "was deleted"
            raise ConflictError(
                f"{model.id} {what} in {target.address}; copy it with --next, as the next version there"
            )
        return str(model.version)

    return next_tag
