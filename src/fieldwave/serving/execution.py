"""The device, one prediction at a time, and only for callers who still wait.

The device has a thread of its own: it goes from one prediction to the next without waiting for the thread of
either, and a run that never ends holds nobody but that thread. To hand a run over takes 20 us.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from fieldwave.devices import Counters, Device
from fieldwave.errors import DeviceError
from fieldwave.package import Package
from fieldwave.serving.caller import Caller, CallerGoneError, check_waiting
from fieldwave.serving.job import End, Job
from fieldwave.serving.periodic import Periodic
from fieldwave.serving.timings import Timings
from fieldwave.serving.turns import Turns

__all__ = ["Executor", "Network", "ReplacedError"]

_log = logging.getLogger(__name__)

_LONGER = 20
"""A run that takes so many times as long as usual is on its way to be taken for one that never ends."""


class ReplacedError(Exception):
    """Another network runs by now than the one that the tensors were made for; make them anew."""


class Network:
    """A package's network on a device that others share: it is there, or has been prepared and waits.

    Attributes:
        loads: how often another package has taken its place.
        prepared: what the device has made of it; None while it is the one that is there.
        usual: how many seconds a run takes for an image; None if it has not run.
        number: of those on one device.
    """

    def __init__(self, number: int = 0, prepared: Any = None) -> None:
        self.number = number
        self.prepared = prepared
        self.loads = 0
        self.usual: float | None = None


class Executor:
    """Runs predictions on a device in turn.

    Parameters:
        device: an open device with its package loaded.
        report: told after each run whether the device answered, when that differs from the run before.
        patience: how many seconds more than twenty times its usual time a run may take. The device is given up
            then, until the run ends after all: whoever waits, and whoever comes, is told so at once.

    Attributes:
        first: the network that is loaded; `add` adds others.
        counters: of the device, after its last run.
    """

    def __init__(
        self,
        device: Device,
        report: Callable[[bool], None] = lambda healthy: None,
        *,
        patience: float = float("inf"),
    ) -> None:
        self._device = device
        self._report = report
        self._patience = patience
        self._healthy = True
        self._hung = ""
        self._hung_since = 0.0
        self._running: Job | None = None
        self._watching = threading.Lock()
        self._turns: Turns[Job] = Turns()
        self._using = threading.Lock()  # the device
        self._next: Job | None = None
        self.first = self._current = Network()
        self._number = 0
        self.counters: Counters = device.counters()
        self._thread = threading.Thread(target=self._work, name="fieldwave-device", daemon=True)
        self._thread.start()
        self._watchdog = Periodic("watchdog", min(max(patience / 8, 0.02), 1.0), self._watch)
        if patience != float("inf"):
            self._watchdog.start()

    @property
    def healthy(self) -> bool:
        """Whether the device answered its last run."""
        return self._healthy

    @property
    def hung_seconds(self) -> float:
        """For how long the device has been given up; 0 if it has not."""
        with self._watching:
            return time.perf_counter() - self._hung_since if self._hung else 0.0

    @property
    def waiting(self) -> int:
        """How many predictions wait for the device."""
        return len(self._turns)

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        caller: Caller,
        loads: int | None = None,
        timings: Timings | None = None,
        network: Network | None = None,
        abandon: Callable[[Exception], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Wait for the device and run it.

        Who can be answered by another thread may run a device that is idle in this one, which saves two changes
        of threads. Should the run not end, that answer is ``abandon``'s, and this thread stays with the device.

        Args:
            loads: what the network's ``loads`` was when the inputs were made; None to run them in any case.
            timings: where to add what the waiting and the run took.
            network: which is to run; None for the first.
            abandon: answers the caller with an error; None where only this thread can do that.

        Raises:
            CallerGoneError: the caller went away while it waited; the device has not been used.
            ReplacedError: another package was loaded while it waited; the device has not been used.
            DeviceError: the device failed, or does not end its run.
        """

        def work(job: Job) -> dict[str, NDArray[Any]]:
            check_waiting(caller)
            if loads is not None and loads != wanted.loads:
                raise ReplacedError
            return self._run(inputs, job, wanted)

        wanted = network or self.first
        # Networks take turns as clients do.
        whose = f"{wanted.number} {caller.client}"

        if hung := self._hung:
            raise DeviceError(hung)
        job = Job(work, caller, max((len(value) for value in inputs.values() if value.ndim), default=1))
        patience = caller.time_remaining()
        idle = self._next is None and not len(self._turns)
        if abandon is not None and idle and self._using.acquire(blocking=False):
            job.abandon = abandon
            try:
                self._do(job)
            finally:
                self._using.release()
        else:
            self._turns.put(job, whose)
            if hung := self._hung:
                self._give_up(hung)  # it may have been put after all others were told
        try:
            results: dict[str, NDArray[Any]] = job.outcome(patience)
        except CallerGoneError:
            self._turns.remove(job, whose)
            raise
        if timings is not None:
            timings.queue += job.begun - job.put
            timings.device += job.ended - job.begun
        return results

    def withdraw(self, caller: Caller) -> None:
        """Let nobody wait for the device who waits for ``caller``: it has been sent away."""
        for whose, job in self._turns.waiting():
            if job.caller is caller and self._turns.remove(job, whose):
                job.settle(error=CallerGoneError())

    def add(self, package: Package) -> Network:
        """Let another package share the device; it is there when it is first run.

        Raises:
            DeviceError: the device cannot take it.
            PackageError: the package contradicts itself.
        """
        self._number += 1
        return Network(self._number, self._device.prepare(package))

    def load(
        self,
        package: Package,
        first: Mapping[str, NDArray[Any]],
        loaded: Callable[[], None],
        network: Network | None = None,
    ) -> None:
        """Have another package take the place of a network, between two runs.

        All that can be done beforehand is done while the one before still runs.

        Args:
            first: inputs for a first run, which finds what is broken.
            loaded: called before the next run: what callers are told from then on is of that package.
            network: whose place; None for the first.

        Raises:
            DeviceError: the device cannot take it, or fails in the first run.
            PackageError: the package contradicts itself.
        """
        prepared = self._device.prepare(package)
        wanted = network or self.first

        def exchange(job: Job) -> None:
            before = self._device.exchange(prepared)
            try:
                self._device.run(first)
            except BaseException:
                self._device.exchange(before)
                raise
            # In this order: who reads the count first and then what was told knows when they differ.
            loaded()
            self._current.prepared, self._current = before, wanted
            wanted.prepared = wanted.usual = None
            wanted.loads += 1
            self._note(healthy=True)

        if hung := self._hung:
            raise DeviceError(hung)
        job = Job(exchange)
        self._turns.put_first(job)
        job.outcome(None)

    def close(self, timeout: float) -> None:
        """Close the device, after the run under way if that ends within ``timeout`` seconds."""
        self._watchdog.stop()
        self._turns.put_first(Job(self._end))
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.warning("the device is closed in the middle of a run that did not end in %g s", timeout)
            if self._hung:
                return  # it would wait for the run, which does not end
        self._device.close()

    def _work(self) -> None:
        while True:
            job = self._next = self._turns.take()
            with self._using:
                self._next = None
                # It may have been given up while a run in another thread did not end.
                over = not job.settled and self._do(job)
            if over:
                return
            del job  # with its tensors

    def _do(self, job: Job) -> bool:
        """A job, by whoever uses the device; whether it was the last."""
        job.begun = job.ended = time.perf_counter()
        try:
            job.settle(job.work(job))
        except End:
            return True
        except BaseException as error:
            job.settle(error=error)
        return False

    def _run(self, inputs: Mapping[str, NDArray[Any]], job: Job, network: Network) -> dict[str, NDArray[Any]]:
        if network.usual is not None:
            job.limit = self._patience + _LONGER * job.images * network.usual
        self._running = job
        try:
            if network is not self._current:
                self._current.prepared = self._device.exchange(network.prepared)
                self._current, network.prepared = network, None
            results = self._device.run(inputs)
        except DeviceError:
            self._ended(job, healthy=False)
            raise
        except BaseException:
            self._ended(job, healthy=self._healthy)
            raise
        self._ended(job, healthy=True)
        seconds = (job.ended - job.begun) / job.images
        network.usual = seconds if network.usual is None else 0.9 * network.usual + 0.1 * seconds
        return results

    def _ended(self, job: Job, *, healthy: bool) -> None:
        job.ended = time.perf_counter()
        with self._watching:
            self._running = None
            self._hung = ""
        self.counters = self._device.counters()
        self._note(healthy=healthy)

    def _watch(self) -> None:
        with self._watching:
            job = self._running
            if job is None or self._hung or time.perf_counter() - job.begun <= job.limit:
                return
            self._hung = text = f"device {self._device.name} has not ended its run for {job.limit:.1f} s"
            self._hung_since = time.perf_counter()
        _log.error("%s; it is given up until it ends", self._hung)
        if job.settle(error=DeviceError(text)) and job.abandon is not None:
            job.abandon(DeviceError(text))
        self._give_up(text)
        self._note(healthy=False)

    def _give_up(self, text: str) -> None:
        for job in self._turns.clear():
            job.settle(error=DeviceError(text))
        following = self._next
        if following is not None:
            following.settle(error=DeviceError(text))

    def _end(self, job: Job) -> None:
        raise End

    def _note(self, *, healthy: bool) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            self._report(healthy)
