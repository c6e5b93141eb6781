"""``fieldwave devices``: the NPUs of this machine, and who holds them."""

from __future__ import annotations

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=examples("fieldwave devices", "fieldwave devices --json"))
def devices(as_json: Json = False, quiet: Quiet = False) -> None:
    """List what can compute on this machine, and who holds it.

    NPUs are held by one service at a time; the processor and, unless they are counted, simulations by anybody.
    """
    from fieldwave.leases import read_machine, slot_states
    from fieldwave.leases.machine import machine_file

    machine = read_machine()
    states = slot_states(machine)
    rows = [
        {
            "name": state.slot.name,
            "device": state.slot.device,
            "state": "allocated" if state.holder else "free",
            "holder": state.holder.name if state.holder else "",
            "pid": state.holder.pid if state.holder else None,
            "since": state.holder.since if state.holder else "",
            "files": list(state.slot.files),
            "address": state.slot.address,
        }
        for state in states
    ]
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
        }
        for name in shared
    ]
    if as_json:
        output.to_json(rows)
        return
    output.table(
        ["NAME", "DEVICE", "STATE", "HELD BY", "PID", "SINCE"],
        [
            [str(row[key] or "") if key != "holder" else output.plain(str(row[key])) for key in _COLUMNS]
            for row in rows
        ],
    )
    if not states:
        output.note(f"no NPUs are described in {machine_file()}")
    output.hint("fieldwave services deploy PACKAGE --name NAME --device DEVICE")


_COLUMNS = ("name", "device", "state", "holder", "pid", "since")
