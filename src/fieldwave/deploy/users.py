"""Who uses a model or an image: what a service serves must not be deleted under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fieldwave.deploy.local import LocalTarget
from fieldwave.workspace import Workspace

__all__ = ["Versioned", "users"]


class Versioned(Protocol):
    """A registered model or an image: a name with a version, and the digest of its bytes."""

    @property
    def id(self) -> str: ...

    @property
    def digest(self) -> str: ...


def users(workspace: Workspace) -> Callable[[Versioned], Sequence[str]]:
    """From a model or an image to the workspace's services and running jobs on this machine that use it, in words.

    For ``Registry(store, users=...)`` and ``Images(store, users=...)``, which then refuse to delete it. Services
    elsewhere, and those of other workspaces over the same store, are not known here.
    """

    from fieldwave.jobs import Jobs

    def using(used: Versioned) -> list[str]:
        reference = f"{used.id}@{used.digest}"
        services = LocalTarget(workspace).list()
        # Who serves an image needs not the model that it was built from.
        serving = [f"service {one.name!r}" for one in services if reference == (one.image or one.model)]
        return [*serving, *Jobs(workspace).users(reference)]

    return using
