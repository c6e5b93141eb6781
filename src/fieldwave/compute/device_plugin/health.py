"""Whether a node's devices can be given to a pod."""

from __future__ import annotations

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


def check(machine: Machine, root: Path = Path("/")) -> tuple[Checked, ...]:
    """All that the machine advertises, as it is now.

    A board is in order when its device files are there and no process outside Kubernetes holds it (a pod that was
    given one holds no lease: the kubelet gives it to nobody else). A 'cpu' device always is.

    Parameters:
        root: where the node's root folder is seen: in a container not at ``/``.
    """
    return tuple(Checked(slot, _trouble(slot, root)) for slot in machine.advertised)


def _trouble(slot: Slot, root: Path) -> str:
    if slot.kind != "board":
        return ""
    missing = [file for file in slot.files if not (root / file.lstrip("/")).exists()]
    if missing:
        return f"{' and '.join(missing)} is not there"
    try:
        holder = read_holder(slot)
    except StorageError as error:
        return str(error)
    return f"held by service {holder.name} on the node itself" if holder is not None else ""
