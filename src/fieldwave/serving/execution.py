"""The device, one prediction at a time, and only for callers who still wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from fieldwave.devices import Device
from fieldwave.errors import DeviceError
from fieldwave.package import Package

__all__ = ["Caller", "CallerGoneError", "Executor", "ReplacedError", "check_waiting"]

_log = logging.getLogger(__name__)


class Caller(Protocol):
    """Who waits for a prediction: the part of gRPC's ``ServicerContext`` that matters here."""

    def is_active(self) -> bool:
        """Whether the caller still wants the answer."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None if never."""


class CallerGoneError(Exception):
    """The caller cancelled, or its deadline passed, before the device was free."""


class ReplacedError(Exception):
    """Another network runs by now than the one that the tensors were made for; make them anew."""


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

    Attributes:
        loads: how often another package has taken the place of the one before.
    """

    def __init__(self, device: Device, report: Callable[[bool], None] = lambda healthy: None) -> None:
        self._device = device
        self._report = report
        self._healthy = True
        self._turn = threading.Lock()
        self.loads = 0

    @property
    def healthy(self) -> bool:
        """Whether the device answered its last run."""
        return self._healthy

    def run(
        self, inputs: Mapping[str, NDArray[Any]], caller: Caller, loads: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Wait for the device and run it.

        Args:
            loads: what `loads` was when the inputs were made; None to run them on whatever is loaded.

        Raises:
            CallerGoneError: the caller went away while it waited; the device has not been used.
            ReplacedError: another package was loaded while it waited; the device has not been used.
            DeviceError: the device failed.
        """
        patience = caller.time_remaining()
        timeout = -1 if patience is None else min(max(patience, 0), threading.TIMEOUT_MAX)
        if not self._turn.acquire(timeout=timeout):
            raise CallerGoneError
        try:
            check_waiting(caller)
            if loads is not None and loads != self.loads:
                raise ReplacedError
            return self._run(inputs)
        finally:
            self._turn.release()

    def load(self, package: Package, first: Mapping[str, NDArray[Any]], loaded: Callable[[], None]) -> None:
        """Have another package take the place of the one that runs, between two runs.

        All that can be done beforehand is done while the one before still runs.

        Args:
            first: inputs for a first run, which finds what is broken.
            loaded: called before the next run: what callers are told from then on is of that package.

        Raises:
            DeviceError: the device cannot take it, or fails in the first run.
            PackageError: the package contradicts itself.
        """
        network = self._device.prepare(package)
        with self._turn:
            before = self._device.exchange(network)
            try:
                self._device.run(first)
            except BaseException:
                self._device.exchange(before)
                raise
            # In this order: who reads the count first and then what was told knows when they differ.
            loaded()
            self.loads += 1
            self._note(healthy=True)

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
