"""Packages that share the device of a service with the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.deploy.source import found
from fieldwave.deploy.state import Shared
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.deploy.target import Source
    from fieldwave.workspace import Workspace

__all__ = ["FoundBeside", "check_apart", "found_beside"]


@dataclass(frozen=True)
class FoundBeside:
    """Packages on this machine.

    Attributes:
        shared: what a service's record says of them.
        paths: of their files, in the same order.
    """

    shared: list[Shared]
    paths: list[Path]


def check_apart(network: str, shared: Sequence[Shared]) -> None:
    """Let it pass if a service's network is none of those beside it. Raises InputError."""
    if network in (each.network for each in shared):
        raise InputError(
            f"network {network!r} is beside it already; say --also with what is to be there, or --alone"
        )


@contextmanager
def found_beside(sources: Sequence[Source], workspace: Workspace, network: str) -> Iterator[FoundBeside]:
    """The packages that ``sources`` mean, as files in this context.

    Parameters:
        network: of the service's first package.

    Raises:
        InputError: two are of one network, by which callers say which they mean.
        Exception: as `found`.
    """
    names = [network]
    with ExitStack() as stack:
        contents = [stack.enter_context(found(source, workspace)) for source in sources]
        for content in contents:
            name = content.package.manifest.network
            if name in names:
                raise InputError(f"two packages are of network {name!r}; callers could not say which they mean")
            names.append(name)
        shared = [
            Shared(f"also.{number}.zip", content.package.manifest.network, content.package.digest, content.model)
            for number, content in enumerate(contents, 1)
        ]
        yield FoundBeside(shared, [content.path for content in contents])
