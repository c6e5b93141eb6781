"""A box at the edge now, asked by one command over ssh; the box needs a shell and nothing of ours."""

from __future__ import annotations

from fieldwave.compute.compute import Compute
from fieldwave.compute.status import ComputeStatus, Held, Npus, State
from fieldwave.errors import FieldwaveError, HostError, InputError
from fieldwave.leases.machine import parse_machine
from fieldwave.leases.slots import NOBODY, parse_holder
from fieldwave.ssh import Host, Ssh

__all__ = ["edge_status", "host_of"]

_SECONDS = 30.0
# Facts as "name value" lines; whatever follows the line "machine" is the file of that machine.
_SCRIPT = r"""
echo "arch $(uname -m)"
echo "cores $(nproc)"
echo "kib $(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
file=${FIELDWAVE_MACHINE:-/etc/fieldwave/machine.toml}
echo "file $file"
command -v podman >/dev/null && echo "podman yes"
command -v flock >/dev/null && echo "flock yes"
leases=${FIELDWAVE_LEASES:-/run/lock/fieldwave}
[ -d "$leases" ] || leases=/tmp/fieldwave-leases
for lease in "$leases"/*; do
  case "$lease" in *.replaced|*/\*) continue;; esac
  if command -v flock >/dev/null && ! flock -n -s "$lease" true; then
    echo "held ${lease##*/} $(head -c 4096 "$lease" | tr '\n' ' ')"
  fi
done
echo machine
if [ -e "$file" ]; then cat "$file"; fi
"""


def host_of(compute: Compute) -> Host:
    """How the box is reached. Raises InputError."""
    return Host(compute.destination, compute.port, compute.identity, compute.config, compute.folder)


def edge_status(compute: Compute) -> ComputeStatus:
    """The box now; what cannot be reached is Failed, and says why."""
    try:
        with Ssh(host_of(compute)) as ssh:
            answer = ssh.run(["sh", "-c", _SCRIPT], timeout=_SECONDS)
        if answer.code != 0:
            raise HostError(f"{compute.destination}: {answer.error.strip() or f'exit code {answer.code}'}")
        return _read(compute, answer.text)
    except FieldwaveError as error:
        return ComputeStatus("Failed", (str(error),), location=compute.location)


def _read(compute: Compute, text: str) -> ComputeStatus:
    said, _, described = text.partition("\nmachine\n")
    lines = [line.partition(" ") for line in said.splitlines()]
    facts = {key: value for key, _, value in lines if key != "held"}
    size = f"{facts['arch']}, {facts['cores']} cores, {int(facts['kib']) / (1 << 20):.0f} GiB"
    errors = []
    if "podman" not in facts:
        errors.append(f"{compute.destination} has no podman, which runs the services: apt-get install podman")
    try:
        slots = {slot.name for slot in parse_machine(described).slots}
    except InputError as error:
        errors.append(f"{facts['file']} on {compute.destination}: {error}")
        slots = set()
    if slots and "flock" not in facts:
        errors.append(f"who holds its NPUs cannot be seen: {compute.destination} has no flock (util-linux)")
    held = tuple(_held(*value.split(" ", 1)) for key, _, value in lines if key == "held")
    held = tuple(one for one in held if one.npu in slots)
    npus = Npus(used=len(held), allocatable=len(slots), allocated=len(held), held=held)
    state: State = "Succeeded" if "podman" in facts else "Failed"
    return ComputeStatus(state, tuple(errors), size, 1, compute.location, npus)


def _held(npu: str, record: str = "") -> Held:
    try:
        holder = parse_holder(record)
    except ValueError:
        holder = NOBODY
    return Held(npu, holder.name, since=holder.since)
