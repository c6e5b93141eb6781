"""What runs a local service's container: ``python -m fieldwave.deploy.container_process FOLDER``.

To the supervisor it is a serving process like any other (`serve_process`): it ends when the container does, the
container ends when it is told to, and it holds the NPU meanwhile. A container does not die with those who started
it, so this process outlives a supervisor that is killed for the moment that it takes to remove the container.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fieldwave.deploy.orders import Assignment, Order, read_orders
from fieldwave.deploy.port import near
from fieldwave.errors import DeviceBusyError, FieldwaveError
from fieldwave.processes.child import outlive_parent
from fieldwave.processes.report import report, say

if TYPE_CHECKING:
    from fieldwave.leases import Lease, WhenBusy

__all__ = ["main"]

_BEAT_SECONDS = 1.0
_START_SECONDS = 0.05


def main() -> int:
    outlive_parent()
    folder = Path(sys.argv[1])
    assignment, orders = read_orders()
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    threading.Thread(target=_follow, args=(orders, told), daemon=True).start()
    try:
        return _serve(folder, assignment, told)
    except FieldwaveError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, DeviceBusyError):
            say(waiting=str(error))
        report(str(error))
        return 0 if told.is_set() else 1


def _serve(folder: Path, assignment: Assignment, told: threading.Event) -> int:
    from fieldwave.deploy import podman
    from fieldwave.leases import acquire

    podman.remove(folder, assignment)  # of one before this, which was killed
    with acquire(
        assignment.device,
        assignment.name,
        cast("WhenBusy", assignment.when_busy),
        waiting=lambda reason: say(waiting=reason),
        cancelled=told.is_set,
    ) as lease:
        return _watch(folder, assignment, lease, told)


def _watch(folder: Path, assignment: Assignment, lease: Lease, told: threading.Event) -> int:
    from fieldwave.deploy import podman
    from fieldwave.deploy.pulse import pulse

    ready = False
    with (
        subprocess.Popen(podman.run_command(folder, assignment, lease), stdin=subprocess.DEVNULL) as container,
        pulse(f"{near(assignment.host)}:{assignment.port}") as ask,
    ):
        while container.poll() is None and not told.is_set():
            trouble = ask()
            if not ready and trouble == "":
                ready = True
                say(beat="")
                report()
            elif ready and trouble is not None:
                say(beat=trouble)
            told.wait(_BEAT_SECONDS if ready else _START_SECONDS)
        if container.poll() is None:
            subprocess.run(podman.stop_command(folder, assignment), capture_output=True, check=False)
        code = container.wait()
    podman.remove(folder, assignment)
    return 0 if told.is_set() else code


def _follow(orders: Iterator[Order], told: threading.Event) -> None:
    """What an image serves is in its last layer; when there is nobody left who could give orders, end."""
    for order in orders:
        say(order=order.number, refused="a container goes on with the package of its image")
    told.set()


if __name__ == "__main__":
    sys.exit(main())
