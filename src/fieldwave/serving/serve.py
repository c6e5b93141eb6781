"""A process that serves one model until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from fieldwave.devices import Device
from fieldwave.errors import DeviceBusyError, DeviceError
from fieldwave.serving.log import start_logging
from fieldwave.serving.memory import keep_freed_memory
from fieldwave.serving.options import ServeOptions
from fieldwave.serving.server import Server

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


def serve(
    options: ServeOptions,
    *,
    ready: Callable[[Server], None] | None = None,
    waiting: Callable[[str], None] = lambda reason: None,
    device: Device | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand and return.

    It is for the main thread of a process that does nothing else: it handles signals and tunes the memory
    allocator and the garbage collector for serving. A second signal ends the process at once.

    Parameters:
        ready: called once the service is ready, with the server, whose port is known then.
        waiting: called with the reason when it begins to wait for an NPU that others hold.
        device: an open device, as for `Server`.

    Raises:
        FieldwaveError: as `Server.start`.
        DeviceError: the device has hung for too long.
    """
    if options.log_json or options.log_requests:
        start_logging(json=options.log_json)
    keep_freed_memory()
    told = threading.Event()
    previous: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        for name, handler in previous.items():
            signal.signal(name, handler)
        told.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        previous[name] = signal.signal(name, stop)
    try:
        with Server(options, device, waiting=waiting, cancelled=told.is_set) as server:
            # What lives now lives for ever: the collector need not walk it in the middle of a request.
            gc.collect()
            gc.freeze()
            if ready is not None:
                ready(server)
            while not told.wait(_LOOK_SECONDS):
                if server.hung:
                    raise DeviceError(f"the device has hung for {options.hung_seconds:g} s; the service ends")
            if server.replaced_by:
                _log.info("service %s takes the NPU", server.replaced_by)
            _log.info("stopping; requests in hand get %g s", options.grace_seconds)
    except DeviceBusyError:
        if not told.is_set():  # else it was told to stop while it waited for an NPU
            raise
    finally:
        gc.unfreeze()
        for name, handler in previous.items():
            signal.signal(name, handler)
    _log.info("stopped")
