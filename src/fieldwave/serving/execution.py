"""The device, one prediction at a time, and only for callers who still wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from fieldwave.devices import Device
from fieldwave.errors import DeviceError

__all__ = ["Caller", "CallerGoneError", "Executor", "check_waiting"]

_log = logging.getLogger(__name__)


class Caller(Protocol):
    """Who waits for a prediction: the part of gRPC's ``ServicerContext`` that matters here."""

    def is_active(self) -> bool:
        """Whether the caller still wants the answer."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None if never."""


class CallerGoneError(Exception):
    """The caller cancelled, or its deadline passed, before the device was free."""


def check_waiting(caller: Caller) -> None:
    """Raise `CallerGoneError` if ``caller`` waits no longer."""
    patience = caller.time_remaining()
    if not caller.is_active() or (patience is not None and patience <= 0):
        raise CallerGoneError


class Executor:
    """Runs predictions on a device in turn.

    Parameters:
        device: an open device with its package loaded.
        report: told after each run whether the device answered, when that differs from the run before.
    """

    def __init__(self, device: Device, report: Callable[[bool], None] = lambda healthy: None) -> None:
        self._device = device
        self._report = report
        self._healthy = True
        self._turn = threading.Lock()

    @property
    def healthy(self) -> bool:
        """Whether the device answered its last run."""
        return self._healthy

    def run(self, inputs: Mapping[str, NDArray[Any]], caller: Caller) -> dict[str, NDArray[Any]]:
        """Wait for the device and run it.

        Raises:
            CallerGoneError: the caller went away while it waited; the device has not been used.
            DeviceError: the device failed.
        """
        patience = caller.time_remaining()
        timeout = -1 if patience is None else min(max(patience, 0), threading.TIMEOUT_MAX)
        if not self._turn.acquire(timeout=timeout):
            raise CallerGoneError
        try:
            check_waiting(caller)
            return self._run(inputs)
        finally:
            self._turn.release()

    def close(self, timeout: float) -> None:
        """Close the device, after the run under way if that ends within ``timeout`` seconds."""
        taken = self._turn.acquire(timeout=timeout)
        if not taken:
            _log.warning("the device is closed in the middle of a run that did not end in %g s", timeout)
        try:
            self._device.close()
        finally:
            if taken:
                self._turn.release()

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            results = self._device.run(inputs)
        except DeviceError:
            self._note(healthy=False)
            raise
        self._note(healthy=True)
        return results

    def _note(self, *, healthy: bool) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            self._report(healthy)
