"""Packages on a box that take turns with the one of a service's image: kept with the service, as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fieldwave.deploy.beside import found_beside
from fieldwave.deploy.edge.archive import Blob
from fieldwave.deploy.edge.box import Box
from fieldwave.deploy.edge.copying import Progress, send
from fieldwave.deploy.state import Shared

if TYPE_CHECKING:
    from fieldwave.deploy.target import Source
    from fieldwave.workspace import Workspace

__all__ = ["forget_others", "give", "sent_beside"]


def sent_beside(
    box: Box, sources: Sequence[Source], workspace: Workspace, network: str, progress: Progress
) -> tuple[Shared, ...]:
    """Send packages to a box, what it lacks of them; what a service's record says of them. `give` comes next.

    Parameters:
        network: of the service's image.

    Raises:
        InputError: two are of one network, by which callers say which they mean.
        NotFoundError, PackageError: there is no such package, or it is damaged.
        StorageError: there is no room on the box.
        HostError: the link broke and did not come back in time; what has arrived stays there.
    """
    with found_beside(sources, workspace, network) as beside:
        for path, one in zip(beside.paths, beside.shared, strict=True):
            send(box, path, [Blob(_hex(one), path.stat().st_size, 0)], progress)
        return tuple(replace(one, file=f"{_hex(one)}.zip") for one in beside.shared)


def give(box: Box, name: str, also: Sequence[Shared]) -> None:
    """Put them with a service, which has been claimed or is there."""
    for one in also:
        box.call("share", name, _hex(one))


def forget_others(box: Box, name: str, also: Sequence[Shared]) -> None:
    """Remove those of a service that are not among these."""
    box.call("unshare", name, *map(_hex, also))


def _hex(one: Shared) -> str:
    return one.package.removeprefix("sha256:")
