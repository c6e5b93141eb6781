"""``fieldwave devices``: the NPUs of this machine, and who holds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.errors import FieldwaveError
from fieldwave.leases.ports import serial_ports

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=examples("fieldwave devices", "fieldwave devices --identify", "fieldwave devices --json"))
def devices(
    identify: Annotated[
        bool, typer.Option("--identify", help="Open each board that is free, and ask which NPU it has.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what can compute on this machine, and who holds it.

    NPUs are held by one service at a time; the processor and, unless they are counted, simulations by anybody.
    Serial ports on USB are listed, too: a board may hang on them.
    """
    from fieldwave.leases import read_machine, slot_states
    from fieldwave.leases.machine import Slot, machine_file, undescribed_slot

    machine = read_machine()
    described = {file for slot in machine.slots for file in slot.files}
    plugged = {undescribed_slot(port).name: port for port in serial_ports() if port not in described}
    if machine.given is None:
        found = tuple(undescribed_slot(port) for port in plugged.values())
        states = slot_states(dataclasses.replace(machine, boards=(*machine.boards, *found)))
    else:
        states = slot_states(machine)

    def device_of(slot: Slot) -> str:
        return f"board:{plugged[slot.name]}" if slot.name in plugged else slot.device

    rows: list[dict[str, Any]] = [
        {
            "name": plugged.get(state.slot.name, state.slot.name),
            "device": device_of(state.slot),
            "state": "allocated" if state.holder else _state(state.slot.files),
            "holder": state.holder.name if state.holder else "",
            "pid": state.holder.pid if state.holder else None,
            "since": state.holder.since if state.holder else "",
            "files": list(state.slot.files),
            "address": state.slot.address,
            "identity": "",
        }
        for state in states
    ]
    if identify:
        for row in rows:
            if row["device"].startswith("board:") and row["state"] == "free":
                row["identity"] = _identity(row["device"])
    shared = ["cpu"] if machine.given is not None or machine.rtl is not None else ["cpu", "rtl"]
    rows += [
        {
            "name": name,
            "device": name,
            "state": "shared",
            "holder": "",
            "pid": None,
            "since": "",
            "files": [],
            "address": "",
            "identity": "",
        }
        for name in shared
    ]
    if as_json:
        output.to_json(rows)
        return
    columns, titles = list(_COLUMNS), ["NAME", "DEVICE", "STATE", "HELD BY", "PID", "SINCE"]
    if identify:
        columns, titles = [*columns, "identity"], [*titles, "IS"]
    output.table(titles, [[output.plain(str(row[key] or "")) for key in columns] for row in rows])
    if not states:
        output.note(f"no NPUs are described in {machine_file()}")
    output.hint("fieldwave services deploy PACKAGE --name NAME --device DEVICE")


def _state(files: tuple[str, ...]) -> str:
    """Of a board that nobody holds."""
    return "free" if not files or any(Path(file).exists() for file in files) else "unplugged"


def _identity(device: str) -> str:
    """What a board says of itself, or why it does not."""
    from fieldwave.devices import lease_device
    from fieldwave.devices.board import BoardDevice

    try:
        with lease_device(device, "devices") as board:
            assert isinstance(board, BoardDevice)
            said = board.identity
            return f"{said.board} {said.fingerprint:016x} {said.clock / 1e6:g} MHz {said.memory_bytes >> 20} MiB"
    except FieldwaveError as error:
        return str(error)


_COLUMNS = ("name", "device", "state", "holder", "pid", "since")
