"""A process that takes an NPU and holds it until SIGTERM: ``lease_child.py DEVICE HOLDER [WHEN_BUSY]``."""

from __future__ import annotations

import signal
import sys
import threading

from fieldwave.leases import acquire

device, holder, *rest = sys.argv[1:]
told = threading.Event()


def say(reason: str) -> None:
    if rest == ["wait"]:
        print(reason, flush=True)


signal.signal(signal.SIGTERM, lambda *_: told.set())
lease = acquire(device, holder, *rest, waiting=say)  # type: ignore[arg-type]
print(lease.device, lease.slot.name if lease.slot else "none", flush=True)
told.wait()
print(f"replaced by {lease.replaced_by or 'nobody'}", flush=True)
lease.release()
