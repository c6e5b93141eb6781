"""The targets by the names of the compute that they run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fieldwave.deploy.local import LocalTarget
from fieldwave.deploy.target import Target
from fieldwave.errors import InputError
from fieldwave.workspace import Workspace

__all__ = ["target"]

_NONE: Mapping[str, Any] = MappingProxyType({})


def target(
    workspace: Workspace,
    name: str = "",
    *,
    settings: Mapping[str, Any] = _NONE,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, float], None] = lambda what, done: None,
) -> Target:
    """The target of that name; where it is empty, the one that ``fieldwave.toml`` says, else this machine.

    Parameters:
        settings: what may be said of services on a cluster besides; see `KubernetesTarget`.
        note: told what whoever deploys should know, a line each.
        progress: told what is being done, and the part of it that is done, 0 to 1.

    Raises:
        NotFoundError: there is none.
        InputError: a setting that it does not have.
    """
    from fieldwave.compute import Computes

    name = name or workspace.settings.compute
    compute = Computes(workspace).get(name)
    if compute.kind == "kubernetes":
        from fieldwave.deploy.kubernetes.target import KubernetesTarget

        return KubernetesTarget(compute, workspace, note=note, progress=progress, **settings)
    if settings:
        raise InputError(f"{', '.join(settings)}: services on {name} have no such setting, only those on clusters")
    if compute.kind == "edge":
        from fieldwave.compute.edge import host_of
        from fieldwave.deploy.edge import EdgeTarget

        return EdgeTarget(workspace, host_of(compute), note=note, progress=progress)
    return LocalTarget(workspace)
