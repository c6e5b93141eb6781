"""Whether a node's devices can be given to a pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import StorageError
from fieldwave.leases import Machine, Slot
from fieldwave.leases.slots import read_holder

__all__ = ["Checked", "check"]


@dataclass(frozen=True)
class Checked:
    """A device and what keeps it from being given away; ``trouble`` is empty where nothing does."""

    slot: Slot
    trouble: str = ""


def check(
    machine: Machine, root: Path = Path("/"), in_pod: Callable[[Slot], bool] = lambda slot: False
) -> tuple[Checked, ...]:
    """All that the machine advertises, as it is now.

    A board is in order when its device files are there and no process outside Kubernetes holds it. A 'cpu' device
    always is.

    Parameters:
        root: where the node's root folder is seen: in a container not at ``/``.
        in_pod: whether a pod has the device.
    """
    return tuple(Checked(slot, _trouble(slot, root, in_pod(slot))) for slot in machine.advertised)


def _trouble(slot: Slot, root: Path, in_pod: bool) -> str:
    if slot.kind != "board":
        return ""
    missing = [file for file in slot.files if not (root / file.lstrip("/")).exists()]
    if missing:
        return f"{' and '.join(missing)} is not there"
    if in_pod:
        return ""
    try:
        holder = read_holder(slot)
    except StorageError as error:
        return str(error)
    return f"held by service {holder.name} on the node itself" if holder is not None else ""
