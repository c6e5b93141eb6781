"""What a service is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fieldwave.errors import InputError
from fieldwave.leases import WhenBusy
from fieldwave.package import Package
from fieldwave.serving.exposure import check_exposure

__all__ = ["ServeOptions"]


@dataclass(frozen=True)
class ServeOptions:
    """What a service is started with.

    Attributes:
        package: the package to serve: its file, or one that has been read.
        name: the model's name for clients; the network's name when empty.
        also: packages that take turns with it on the device, under their networks' names.
        device: the device's name, as `fieldwave.devices.create_device` takes it.
        when_busy: what to do when others hold all the NPUs that would do; see `fieldwave.leases.acquire`.
        holder: the name under which the NPU is held; the model's name when empty.
        host: the address to listen on.
        grpc_port: the port to listen on; 0 takes a free one.
        socket: a Unix socket to listen on as well, for callers on this machine who may open the file. Without TLS;
            keys are asked for if there are any.
        http_port: a port for REST, metrics and health over HTTP/1.1, with the same TLS and keys; 0 takes a free
            one, None has none.
        page: whether the HTTP port has a page at ``/`` to try the network on.
        max_message_bytes: the largest request. 40 MiB take 64 images of 224 x 224 as float32 (36.75 MiB), and any
            image file that is decoded (20 MiB).
        max_batch: the most images in one request.
        workers: how many predictions are in hand at once: one on the device while others are received,
            decoded and answered. As many again may wait; whoever comes then is sent away at once.
        receive_seconds: how long a request may take to arrive, or a new connection to say hello.
        max_connection_age_seconds: how long a connection lasts, more or less: its calls are finished, its client
            makes another, and finds the replicas that have come since.
        device_seconds: how much longer than twenty times its usual time a run of the device may take, until it is
            taken for hung.
        hung_seconds: how long the device may stay hung, until the process ends and whoever looks after it starts
            another.
        recovery_seconds: how often a device that failed is tried again while nobody asks for it.
        grace_seconds: how long requests in hand may take when the service is told to stop.
        keys: a folder of keys (`fieldwave.keys`); callers must send one of them, or a token signed by one. Read
            again when it changes. None to let everybody call.
        tls_cert, tls_key: PEM files: the service's certificate, with those between it and its root, and its
            private key. Read again when they change. Both, or neither for plain text.
        client_ca: PEM file of authorities: callers must have a certificate by one of them (mutual TLS).
        probe_port: a second port that answers health checks alone, in plain text; 0 takes a free one, None has
            none.
        log_requests: a line in the log for each answer.
        log_json: a log of JSON, for programs.
        insecure: allow to listen where other machines can reach it without keys or without TLS.
    """

    package: Path | Package
    name: str = ""
    also: tuple[Path | Package, ...] = ()
    device: str = "cpu"
    when_busy: WhenBusy = "refuse"
    holder: str = ""
    host: str = "127.0.0.1"
    grpc_port: int = 50051
    socket: Path | None = None
    http_port: int | None = None
    page: bool = True
    max_message_bytes: int = 40 << 20
    max_batch: int = 64
    workers: int = 4
    receive_seconds: float = 30.0
    max_connection_age_seconds: float = 300.0
    device_seconds: float = 5.0
    hung_seconds: float = 30.0
    recovery_seconds: float = 1.0
    grace_seconds: float = 10.0
    keys: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    probe_port: int | None = None
    log_requests: bool = False
    log_json: bool = False
    insecure: bool = False

    def __post_init__(self) -> None:
        for port in (self.grpc_port, self.probe_port or 0, self.http_port or 0):
            if not 0 <= port <= 65535:
                raise InputError(f"port {port} does not exist; choose one from 1 to 65535, or 0 for a free one")
        if self.probe_port and self.probe_port == self.grpc_port:
            raise InputError(f"predictions and probes are both to be on port {self.grpc_port}; choose two ports")
        if self.http_port and self.http_port in (self.grpc_port, self.probe_port):
            raise InputError(f"HTTP is to be on port {self.http_port}, as something else is; choose two ports")
        if self.when_busy not in get_args(WhenBusy):
            raise InputError(f"when_busy is {self.when_busy!r}; it must be refuse, wait or replace")
        for name in ("max_message_bytes", "max_batch", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        seconds = (
            "receive_seconds",
            "max_connection_age_seconds",
            "device_seconds",
            "hung_seconds",
            "recovery_seconds",
        )
        for name in seconds:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if not self.grace_seconds >= 0:
            raise InputError(f"grace_seconds is {self.grace_seconds}; it must be at least 0")
        self._check_security()

    @property
    def places(self) -> int:
        """Requests in hand at once; one more is refused."""
        return 2 * self.workers

    @property
    def protection(self) -> str:
        """What protects the service, as the end of a line about it: ``, with keys and TLS``; empty for nothing."""
        tls = "" if self.tls_cert is None else "TLS" if self.client_ca is None else "mutual TLS"
        parts = ["keys"] * (self.keys is not None) + [tls] * bool(tls)
        return ", with " + " and ".join(parts) if parts else ""

    def _check_security(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("key", "certificate") if self.tls_cert is None else ("certificate", "key")
            raise InputError(f"TLS has a {given} but no {missing}; give both --tls-cert and --tls-key")
        if self.client_ca is not None and self.tls_cert is None:
            raise InputError(
                "--client-ca asks for certificates of clients, which only TLS has; give --tls-cert too"
            )
        check_exposure(
            self.host, keys=self.keys is not None, tls=self.tls_cert is not None, insecure=self.insecure
        )
