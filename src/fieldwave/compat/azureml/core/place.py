"""Where the services of a workspace run: the cluster that is attached, else this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldwave.errors import NotFoundError
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.deploy import Service, Target

__all__ = ["find_service", "place", "target"]


def place(workspace: Workspace) -> str:
    """The compute target that stands for a cluster of the retired service, by name."""
    from fieldwave.compute import Computes

    if workspace.settings.compute != "local":
        return workspace.settings.compute
    clusters = [one.name for one in Computes(workspace).list() if one.kind == "kubernetes"]
    return clusters[0] if clusters else "local"


def target(workspace: Workspace) -> Target:
    """That compute target, as one that runs services."""
    from fieldwave.deploy import target as open_target

    return open_target(workspace, place(workspace))


def find_service(name: str) -> Service | None:
    """The service of that name in the workspace that the working directory lies in."""
    try:
        return target(Workspace.find()).get(name)
    except NotFoundError:
        return None
