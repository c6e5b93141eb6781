"""Who uses a model or an image: what a service serves must not be deleted under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

from fieldwave.deploy.target import Service
from fieldwave.deploy.targets import target
from fieldwave.errors import ConflictError, FieldwaveError
from fieldwave.workspace import Workspace

__all__ = ["Unknown", "Versioned", "user_name", "users"]

Unknown: TypeAlias = Literal["refuse", "name", "ignore"]
"""What to do about a compute target that cannot be asked: raise, name it among the users, or leave it out."""


class Versioned(Protocol):
    """A registered model or an image: a name with a version, and the digest of its bytes."""

    @property
    def id(self) -> str: ...

    @property
    def digest(self) -> str: ...


def users(workspace: Workspace, *, unknown: Unknown = "refuse") -> Callable[[Versioned], Sequence[str]]:
    """From a model or an image to the services and running jobs of the workspace that use it, in words.

    For ``Registry(store, users=...)`` and ``Images(store, users=...)``, which then refuse to delete it. Every
    compute target of the workspace is asked, each time. Services of other workspaces over the same store are
    not known here.

    What is returned raises a ConflictError where a compute target cannot be asked, if ``unknown`` is ``refuse``.
    """
    from fieldwave.compute import Computes
    from fieldwave.jobs import Jobs

    def serving(used: Versioned, compute: str) -> Iterator[str]:
        reference = f"{used.id}@{used.digest}"
        try:
            found: Sequence[Service] = target(workspace, compute).list()
        except FieldwaveError as error:
            if unknown == "refuse":
                raise ConflictError(
                    f"whether {used.id} is used on compute target {compute} is not known: {error}; "
                    "--force deletes it all the same"
                ) from error
            if unknown == "name":
                yield f"compute target {compute}, perhaps, which cannot be asked"
            return
        for one in found:
            # Who serves an image needs not the model that it was built from.
            if reference in (one.image or one.model, *one.also_models):
                yield user_name(one.name, compute)

    def using(used: Versioned) -> list[str]:
        places = [compute.name for compute in Computes(workspace).list()]
        there = [who for place in places for who in serving(used, place)]
        return [*there, *Jobs(workspace).users(f"{used.id}@{used.digest}")]

    return using


def user_name(service: str, compute: str) -> str:
    """A service in words; where nothing is said of it, it is on this machine."""
    return f"service {service!r}" + (f" on {compute}" if compute != "local" else "")
