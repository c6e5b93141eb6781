"""The targets by the names of the compute that they run on."""

from __future__ import annotations

from fieldwave.deploy.local import LocalTarget
from fieldwave.deploy.target import Target
from fieldwave.errors import NotFoundError
from fieldwave.workspace import Workspace

__all__ = ["target"]


def target(workspace: Workspace, name: str = "") -> Target:
    """The target of that name; where it is empty, the one that ``fieldwave.toml`` says, else this machine.

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

        return EdgeTarget(workspace, host_of(compute))
    raise NotFoundError(f"compute target {name!r} is of kind {compute.kind}, which runs no services")
