"""The serving process of a local service: ``python -m fieldwave.deploy.serve_process FOLDER``.

What it is to serve comes on its standard input (`orders`), what it has to say goes to its supervisor (`report`):
that it is ready, why it cannot be, that it waits for a device, that it is alive, what became of an order.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fieldwave.deploy.orders import Assignment, Order, read_orders
from fieldwave.deploy.port import near
from fieldwave.errors import DeviceBusyError, FieldwaveError
from fieldwave.processes.report import report, say

if TYPE_CHECKING:
    from fieldwave.leases import WhenBusy
    from fieldwave.serving import Server

__all__ = ["main"]

BEAT_SECONDS = 1.0
_LONGEST = 1000


def main() -> int:
    # Before gRPC is imported. Else it writes a line about every handshake that fails, and strangers fill the log.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from fieldwave.serving import start_logging

    assignment, orders = read_orders()
    start_logging()
    try:
        _serve(assignment, orders)
    except FieldwaveError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, DeviceBusyError):
            _wait(str(error))
        report(str(error))
        return 1
    return 0


def _serve(assignment: Assignment, orders: Iterator[Order]) -> None:
    from fieldwave.serving import ServeOptions, serve

    def ready(server: Server) -> None:
        say(beat="")  # before all else: from now on one is expected
        report()
        for task in (_follow, orders), (_beat, assignment):
            threading.Thread(target=task[0], args=(server, task[1]), daemon=True).start()

    options = ServeOptions(
        package=Path(assignment.package),
        device=assignment.device,
        when_busy=cast("WhenBusy", assignment.when_busy),
        holder=assignment.name,
        host=assignment.host,
        grpc_port=assignment.port,
        keys=_path(assignment.keys),
        tls_cert=_path(assignment.tls_cert),
        tls_key=_path(assignment.tls_key),
        client_ca=_path(assignment.client_ca),
        probe_port=0 if assignment.tls_cert else None,
        http_port=assignment.http_port,
        socket=_path(assignment.socket),
        also=tuple(map(Path, assignment.also)),
    )
    serve(options, ready=ready, waiting=_wait)


def _wait(reason: str) -> None:
    say(waiting=reason[:_LONGEST])


def _follow(server: Server, orders: Iterator[Order]) -> None:
    """Carry out orders as they come; stop when there is nobody left who could give one."""
    for order in orders:
        refused = ""
        try:
            server.load(Path(order.package))
        except FieldwaveError as error:
            refused = str(error) or type(error).__name__
        except Exception as error:
            logging.exception("the package cannot be loaded")
            refused = f"{type(error).__name__}: {error}"
        say(order=order.number, refused=refused[:_LONGEST])
    os.kill(os.getpid(), signal.SIGTERM)


def _beat(server: Server, assignment: Assignment) -> None:
    """Tell every second that this process answers, after asking it as any caller would. No answer is no beat."""
    from fieldwave.deploy.pulse import pulse

    with pulse(f"{near(assignment.host)}:{server.probe_port or server.port}") as ask:
        while True:
            trouble = ask()
            if trouble is not None:
                say(beat=trouble)
            if server.wait(BEAT_SECONDS):
                return


def _path(name: str) -> Path | None:
    return Path(name) if name else None


if __name__ == "__main__":
    sys.exit(main())
