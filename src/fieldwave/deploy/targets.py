"""The targets by the names of the compute that they run on."""

from __future__ import annotations

from collections.abc import Callable

from fieldwave.deploy.local import LocalTarget
from fieldwave.deploy.target import Target
from fieldwave.errors import NotFoundError
from fieldwave.workspace import Workspace

__all__ = ["target"]


def target(
    workspace: Workspace,
    name: str = "",
    *,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, float], None] = lambda what, done: None,
) -> Target:
    """The target of that name; where it is empty, the one that ``fieldwave.toml`` says, else this machine.

    Parameters:
        note: told what whoever deploys should know, a line each.
        progress: told what is being done, and the part of it that is done, 0 to 1.

    Raises:
        NotFoundError: there is none.
    """
    name = name or workspace.settings.compute
    if name == "local":
        return LocalTarget(workspace)
    from fieldwave.compute import Computes

    compute = Computes(workspace).get(name)
    if compute.kind == "edge":
        from fieldwave.compute.edge import host_of
        from fieldwave.deploy.edge import EdgeTarget

        return EdgeTarget(workspace, host_of(compute), note=note, progress=progress)
    raise NotFoundError(f"compute target {name!r} is of kind {compute.kind}, which runs no services")
