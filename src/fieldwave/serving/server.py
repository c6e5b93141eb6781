"""The server: from a package to a service that answers, and back to nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fieldwave.devices import Device, open_device
from fieldwave.errors import DeviceError, ServiceError
from fieldwave.leases import Lease, acquire
from fieldwave.package import Package, read_package
from fieldwave.serving.answered import Answered
from fieldwave.serving.authentication import Authentication
from fieldwave.serving.caller import CallerGoneError
from fieldwave.serving.execution import Executor
from fieldwave.serving.exposure import warn_if_exposed
from fieldwave.serving.grpc_front import GrpcFront
from fieldwave.serving.grpc_methods import GrpcMethods
from fieldwave.serving.health import Health
from fieldwave.serving.http_front import start_http
from fieldwave.serving.inference_service import InferenceService
from fieldwave.serving.metrics import Metrics
from fieldwave.serving.model_service import ModelService
from fieldwave.serving.models import Models
from fieldwave.serving.options import ServeOptions
from fieldwave.serving.periodic import Periodic
from fieldwave.serving.places import Places
from fieldwave.serving.predictor import Model, Predictor
from fieldwave.serving.probe import Probe
from fieldwave.serving.service import PredictionService
from fieldwave.serving.signature import Signature
from fieldwave.serving.warm_up import Nobody, first_inputs, warm_up

if TYPE_CHECKING:
    from fieldwave.serving.http import HttpServer

__all__ = ["Server"]

_log = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
_KEYS_SECONDS = 1.0
"""How long a key that was regenerated still opens the service."""
_LAST_TASK_SECONDS = 1.0


class Server:
    """One model, or several by turns, on one device behind one port; a context manager that starts and stops it.

    Parameters:
        options: what to serve, and where.
        device: an open device to use instead of opening ``options.device``; it is closed when the server stops.
        waiting: called with the reason when the server begins to wait for an NPU that others hold.
        cancelled: asked while it waits; True ends the start.

    From `start` on, the server answers. Until the device has answered a warm-up request, health is NOT_SERVING
    and predictions are answered with UNAVAILABLE, which clients may retry.
    """

    def __init__(
        self,
        options: ServeOptions,
        device: Device | None = None,
        *,
        waiting: Callable[[str], None] = lambda reason: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._options = options
        self._device = device
        self._waiting = waiting
        self._cancelled = cancelled
        self._lease: Lease | None = None
        self._health = Health()
        self._port = 0
        self._probe_port = 0
        self._http: HttpServer | None = None
        self._http_port = 0
        self._probe: Probe | None = None
        self._authentication: Authentication | None = None
        self._grpc: GrpcFront | None = None
        self._metrics = Metrics()
        self._models: Models | None = None
        self._executor: Executor | None = None
        self._sweep = Periodic("sweep", min(_SWEEP_SECONDS, options.receive_seconds), self._end_overdue)
        self._recovery = Periodic("recovery", options.recovery_seconds, self._recover)
        self._rotation = Periodic("rotation", _KEYS_SECONDS, self._refresh_keys)
        self._stopping = threading.Lock()
        self._stopped = threading.Event()

    @property
    def replaced_by(self) -> str:
        """The service that has told this one to give up its NPU; empty if none did."""
        return self._lease.replaced_by if self._lease is not None else ""

    @property
    def port(self) -> int:
        """The port that the server listens on; 0 before `start`."""
        return self._port

    @property
    def probe_port(self) -> int:
        """The port that answers health checks alone; 0 before `start`, and where there is none."""
        return self._probe_port

    @property
    def http_port(self) -> int:
        """The port for HTTP; 0 before `start`, and where there is none."""
        return self._http_port

    def start(self) -> None:
        """Listen, load the package, let the device answer a warm-up request, and be SERVING.

        Raises:
            NotFoundError: there is no package, device, key or certificate of that name.
            PackageError: the package is damaged.
            InputError: keys or certificates are none.
            ConflictError: the port is taken.
            DeviceBusyError: others hold the NPUs that would do, and it was not to wait.
            DeviceError: the device cannot run the package.
        """
        if self._models is not None or self._stopped.is_set():
            raise ServiceError("the server has been started already; make a new one")
        try:
            self._start()
        except BaseException:
            self.stop(0)
            raise

    def load(self, package: Package | Path) -> None:
        """Serve another package from now on in place of the first, on the same device and without a pause.

        Every request is answered by the one or by the other. After an error the one before goes on.

        Raises:
            NotFoundError, PackageError: there is no such package, or it is damaged.
            ServiceError: the server is not serving.
            DeviceError: the device cannot run it.
        """
        predictor = None if self._models is None else self._models.first
        executor = self._executor
        if predictor is None or executor is None or predictor.executor is None:
            raise ServiceError("the server is not serving; it takes another package when it is")
        package = package if isinstance(package, Package) else read_package(package)
        model = _model(package, self._options, self._device)
        signature = model.signature

        def loaded() -> None:
            predictor.model = model
            self._describe()

        executor.load(package, first_inputs(signature), loaded)
        self._warm_up = partial(warm_up, executor, signature)
        _log.info("serving %s from now on, %s", signature.model, package.digest)

    @property
    def hung(self) -> bool:
        """Whether the device has not ended a run for so long that only another process can help."""
        return self._executor is not None and self._executor.hung_seconds > self._options.hung_seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has stopped; False if it has not after ``timeout`` seconds."""
        return self._stopped.wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Stop: health turns NOT_SERVING, requests in hand get ``grace`` seconds, then the device is closed.

        Stopping again, also from another thread, waits until the server has stopped.
        """
        with self._stopping:
            if self._stopped.is_set():
                return
            grace = self._options.grace_seconds if grace is None else grace
            self._health.drain()
            for predictor in () if self._models is None else self._models.all:
                predictor.state = "stopping"
            self._recovery.stop()
            self._rotation.stop()
            http = None if self._http is None else threading.Thread(target=self._http.stop, args=(grace,))
            if http is not None:
                http.start()
            if self._grpc is not None:
                self._grpc.stop(grace)
            if http is not None:
                http.join()
            self._sweep.stop()
            for predictor in () if self._models is None else self._models.all:
                predictor.executor = None
            if self._executor is not None:
                self._executor.close(grace)
            elif self._device is not None:
                self._device.close()
            if self._lease is not None:
                self._lease.release()
            if self._probe is not None:
                self._probe.stop()
            for task in (self._sweep, self._recovery, self._rotation):
                task.join(_LAST_TASK_SECONDS)
            self._stopped.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        options = self._options
        packages = [
            each if isinstance(each, Package) else read_package(each) for each in (options.package, *options.also)
        ]
        places = Places(options.places)
        self._models = models = Models(
            [
                Predictor(_model(package, options, first=not number), places=places, metrics=self._metrics)
                for number, package in enumerate(packages)
            ]
        )
        name = models.first.model.signature.model
        answered = Answered(self._metrics, log=options.log_requests)
        services = (
            PredictionService(models, max_batch=options.max_batch),
            ModelService(models),
            InferenceService(models, max_batch=options.max_batch),
        )
        if options.keys is not None:
            self._authentication = Authentication(options.keys)
        self._grpc = GrpcFront(options, self._authentication)
        methods = GrpcMethods(self._grpc.receiving, answered)
        # The port first: that it is taken is said at once, and clients can wait for health while a device loads.
        self._port = self._grpc.listen((service.handlers(methods) for service in services), self._health)
        warn_if_exposed(options.host, keys=options.keys is not None, tls=options.tls_cert is not None)
        if options.http_port is not None:
            self._http, self._http_port = start_http(
                options, options.http_port, models, answered, self._authentication, grpc_port=self._port
            )
        if options.probe_port is not None:
            self._probe = Probe(self._health)
            self._probe_port = self._probe.start(options.host, options.probe_port)
        self._grpc.start()
        self._sweep.start()
        if self._authentication is not None:
            self._rotation.start()
        if self._device is None:
            self._lease = acquire(
                options.device,
                options.holder or name,
                options.when_busy,
                waiting=self._wait_for_npu,
                cancelled=self._cancelled,
            )
            self._device = open_device(self._lease.device)
        for predictor in models.all:
            predictor.state = "programming"
        self._device.load(packages[0])
        self._executor = executor = Executor(self._device, self._report, patience=options.device_seconds)
        places.taken = executor.withdraw
        self._metrics.watch(
            in_hand=lambda: len(places), waiting=lambda: executor.waiting, counters=lambda: executor.counters
        )
        self._warm_up = partial(warm_up, executor, models.first.model.signature)
        for predictor, package in zip(models.all, packages, strict=True):
            predictor.model = _model(package, options, self._device, first=predictor is models.first)
            predictor.network = executor.first if predictor is models.first else executor.add(package)
            warm_up(executor, predictor.model.signature, Nobody(), predictor.network)
        self._describe()
        for predictor in models.all:
            predictor.executor = executor
            predictor.state = "serving"
        self._report(True)
        self._recovery.start()
        _log.info(
            "serving %s on %s:%d, device %s%s",
            " and ".join(predictor.model.signature.model for predictor in models.all),
            options.host,
            self._port,
            self._device.name,
            options.protection,
        )

    def _describe(self) -> None:
        models = () if self._models is None else self._models.all
        self._metrics.describe(
            (each.model.signature.model, each.model.device, each.model.digest) for each in models
        )

    def _report(self, healthy: bool) -> None:
        self._health.report(healthy)
        self._metrics.healthy(healthy)

    def _wait_for_npu(self, reason: str) -> None:
        _log.info("waiting for an NPU: %s", reason)
        self._waiting(reason)

    def _end_overdue(self) -> None:
        if self._grpc is not None:
            self._grpc.end_overdue()
        if self._probe is not None:
            self._probe.end_overdue()

    def _refresh_keys(self) -> None:
        if self._authentication is not None:
            self._authentication.refresh()

    def _recover(self) -> None:
        """Without this, a service that nobody asks while it is unhealthy would stay so for ever."""
        executor = self._executor
        if executor is None or executor.healthy:
            return
        try:
            self._warm_up(Nobody(gone=self._recovery.stopped))
        except (DeviceError, CallerGoneError):
            return  # said when it failed; it is tried again
        _log.info("the device answers again")


def _model(package: Package, options: ServeOptions, device: Device | None = None, *, first: bool = True) -> Model:
    signature = Signature.of(package, options.name if first else "")
    manifest, name = package.manifest.to_json().decode(), "" if device is None else device.name
    return Model(signature, manifest, name, package.digest, _npu(device))


def _npu(device: Device | None) -> tuple[str, str] | None:
    configuration = getattr(device, "configuration", None)
    if configuration is None:
        return None
    from fieldwave.npu import CONFIGURATIONS

    names = [name for name, one in CONFIGURATIONS.items() if one == configuration]
    return names[0] if names else "", f"{configuration.fingerprint:016x}"
