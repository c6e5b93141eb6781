"""Removing a service with all that it came from, and what nothing leads to any more.

What goes is planned first, so that it can be shown: the service, the image that it was deployed from, the model
that was built into it, and what that was converted from. What something else needs stays, and is named with who
needs it. What is to go is noted in the workspace before the first of it goes: should this be killed half-way, it
goes on where it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldwave.deploy import Service, target, users
from fieldwave.deploy.target import check_name
from fieldwave.deploy.users import user_name
from fieldwave.errors import NotFoundError, StorageError
from fieldwave.images import Image, Images
from fieldwave.processes.records import read, write
from fieldwave.registry import RegisteredModel, Registry
from fieldwave.store import LayoutStore
from fieldwave.workspace import Workspace

__all__ = ["Plan", "clean", "collect_garbage", "plan"]


@dataclass(frozen=True)
class Plan:
    """What goes with a service.

    Attributes:
        name: of the service.
        on: the name of the compute that it runs on; empty for the workspace's own.
        service: as it is now; None where it went already.
        image: what it was deployed from; None where it was no image, or where that stays.
        models: what was built into it, then what that was converted from.
        kept: what stays though the service came from it, with who needs it, in words.
    """

    name: str
    on: str
    service: Service | None
    image: Image | None
    models: tuple[RegisteredModel, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Begun:
    """A clean-up that was begun: what the service came from, as ``name:version@digest``."""

    image: str
    models: list[str]
    on: str


def plan(workspace: Workspace, name: str, on: str = "") -> Plan:
    """What goes with the service of that name on a compute.

    Raises:
        NotFoundError: there is no such service, and no clean-up of one was begun.
        InputError: no service can have this name.
    """
    check_name(name)
    begun = _begun(workspace, name)
    where = on or (begun.on if begun else "") or workspace.settings.compute
    try:
        service: Service | None = target(workspace, where).get(name)
    except NotFoundError:
        if begun is None:
            raise
        service = None
    needs = _Needs(workspace, where, name)
    kept: list[str] = []
    served = service.image if service else begun.image if begun else ""
    image = next((each for each in needs.images if _reference(each) == served), None)
    model = service.model or (image.model if image else "") if service else ""
    models = [*needs.lineage(model)] if service else needs.found(begun)
    if image is not None and (who := needs.of(image)):
        kept.append(f"image {image.id}, needed by {' and '.join(who)}")
        needs.staying_images.append(image)
        image = None
    needs.staying_images += [each for each in needs.images if _reference(each) != served]
    going: list[RegisteredModel] = []
    for each in models:
        if who := needs.of_model(each, going):
            kept.append(f"model {each.id}, needed by {' and '.join(who)}")
            break  # what it was converted from stays with it
        going.append(each)
    return Plan(name, on or (begun.on if begun else ""), service, image, tuple(going), tuple(kept))


def clean(workspace: Workspace, wanted: Plan, done: Callable[[str], None] = lambda line: None) -> int:
    """Delete what a plan says, and return how many bytes of the store that freed.

    Args:
        done: told what has gone, a line each.

    Raises:
        ConflictError: something of it is in use since it was planned; what went before is gone.
        ServiceError: the service cannot be stopped.
        StorageError: the store cannot be written.
    """
    image = _reference(wanted.image) if wanted.image else ""
    begun = _Begun(image, [_reference(model) for model in wanted.models], wanted.on)
    record = workspace.create_folder("clean") / f"{wanted.name}.json"
    write(record, begun)
    using = users(workspace)
    if wanted.service is not None:
        with contextlib.suppress(NotFoundError):
            wanted.service.target.delete(wanted.name)
        done(f"service {wanted.name} is deleted")
    if wanted.image is not None:
        with contextlib.suppress(NotFoundError):
            Images(workspace.store, users=using).delete(wanted.image)
        done(f"image {wanted.image.id} is deleted")
    for each in wanted.models:
        with contextlib.suppress(NotFoundError):
            Registry(workspace.store, users=using).delete(each)
        done(f"model {each.id} is deleted")
    freed = collect_garbage(workspace)
    try:
        record.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot delete {record}: {error.strerror or error}") from error
    return freed


def collect_garbage(workspace: Workspace) -> int:
    """Delete what nothing in the workspace's store leads to, and return how many bytes that were.

    A registry frees what nothing names by itself, when it is told to by who runs it: 0 there.
    """
    store = workspace.store
    if not isinstance(store, LayoutStore):
        return 0
    with contextlib.suppress(NotFoundError):  # nothing was ever stored
        return store.collect_garbage()
    return 0


class _Needs:
    """Who else needs what a service came from."""

    def __init__(self, workspace: Workspace, where: str, name: str) -> None:
        self._registry = workspace.registry
        self._own = user_name(name, where)
        self._users = users(workspace, unknown="name")
        self.images = workspace.images.find()
        self.staying_images: list[Image] = []

    def of(self, used: Image | RegisteredModel) -> Sequence[str]:
        """The services and jobs that need it, but for the one that goes."""
        return [who for who in self._users(used) if who != self._own]

    def of_model(self, model: RegisteredModel, going: Sequence[RegisteredModel]) -> Sequence[str]:
        """The same, with the images that it was built into and the models that were converted from it."""
        reference = _reference(model)
        images = [f"image {each.id}" for each in self.staying_images if each.model == reference]
        gone = {each.id for each in going}
        made = [f"model {each.id}" for each in self._registry.find() if each.source == reference]
        return [*self.of(model), *images, *(each for each in made if each.removeprefix("model ") not in gone)]

    def found(self, begun: _Begun | None) -> list[RegisteredModel]:
        """The models of a clean-up that are still there."""
        models = {_reference(each): each for each in self._registry.find()}
        return [models[reference] for reference in (begun.models if begun else []) if reference in models]

    def lineage(self, reference: str) -> Iterator[RegisteredModel]:
        """The model of that reference, and what it was converted from, as far as they are there."""
        models = {_reference(each): each for each in self._registry.find()}
        while reference in models:
            model = models.pop(reference)
            yield model
            reference = model.source


def _reference(used: Image | RegisteredModel) -> str:
    return f"{used.id}@{used.digest}"


def _begun(workspace: Workspace, name: str) -> _Begun | None:
    path: Path = workspace.folder / "clean" / f"{name}.json"
    with contextlib.suppress(FileNotFoundError):
        return read(_Begun, path, "delete the file")
    return None
