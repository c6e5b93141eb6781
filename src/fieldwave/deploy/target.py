"""What a place that runs services can do, and what a service looks like from outside."""

from __future__ import annotations

import os
import re
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from fieldwave.errors import InputError, ServiceError

if TYPE_CHECKING:
    from fieldwave.client import PredictionClient
    from fieldwave.images import Image
    from fieldwave.keys import KeyName, Keys
    from fieldwave.registry import RegisteredModel

__all__ = [
    "Replicas",
    "Runtime",
    "Service",
    "Source",
    "State",
    "Target",
    "Way",
    "WhenBusy",
    "check_name",
    "check_replicas",
    "is_name",
]

Source: TypeAlias = "str | os.PathLike[str] | RegisteredModel | Image"
"""What can be deployed: a package's file, a registered package, an image."""
State = Literal["Transitioning", "Healthy", "Unhealthy", "Failed", "Unschedulable", "Stopped"]
Runtime = Literal["process", "podman"]
"""How a service runs on this machine: as processes of it, or as containers of its image."""
WhenBusy = Literal["refuse", "wait", "replace"]
"""What a deployment does when every device that it could have is held: give up, wait, or end who holds one."""

MOST_REPLICAS = 100
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])")
_POLL_SECONDS = 0.02


class Way(Protocol):
    """A way to a service from a network that is not its own.

    Attributes:
        address: ``host:port`` here that leads to it.
        server_name: the name that its certificate has.
    """

    address: str
    server_name: str

    def close(self) -> None:
        """End it for those who come."""


class Target(Protocol):
    """A place that runs services: this machine, a cluster, a box at the edge."""

    def deploy(
        self,
        source: Source,
        name: str,
        *,
        device: str = "cpu",
        port: int = 0,
        replicas: int = 1,
        secure: bool | None = None,
        when_busy: WhenBusy = "refuse",
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run a package as a service, and return when it answers.

        Parameters:
            source: what to serve: a package's file, one that is registered, or an image of one.
            name: 2 to 32 lower-case letters, digits and ``-``; what every other call finds it by.
            device: what computes, by name.
            port: to listen on; 0 for a free one, which the service then keeps.
            replicas: how many processes serve it, each with a device of its own.
            secure: whether callers need a key; None for what is good at this place.
            when_busy: what to do when every such device is held.
            wait: False returns as soon as it is on its way; ``Service.wait`` waits later.
            timeout: seconds until all replicas must be ready.

        Raises:
            InputError: the name, the number or the package is not acceptable.
            ConflictError: the name or the port is taken.
            ServiceError: it did not become ready; nothing of it is left.
        """

    def update(
        self,
        name: str,
        source: Source | None = None,
        *,
        device: str | None = None,
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Serve another package, or on another device, under the same name and address; None leaves as it is.

        Raises:
            NotFoundError: no service of that name.
            ConflictError: it is being changed already.
            ServiceError: the new one did not become ready; the old one serves on.
        """

    def scale(self, name: str, replicas: int, *, wait: bool = True, timeout: float = 600.0) -> Service:
        """Change how many processes serve it; those that go finish their requests first.

        Raises:
            InputError: no such number.
            NotFoundError, ConflictError, ServiceError: as `update`.
        """

    def get(self, name: str) -> Service:
        """The service of that name as it is now. Raises NotFoundError."""

    def list(self) -> tuple[Service, ...]:
        """All services as they are now, by name."""

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines of a service's log; with ``follow`` each new one too, until the service is deleted.

        Raises:
            NotFoundError: no service of that name.
        """

    def keys(self, name: str) -> Keys:
        """The two keys that open a service.

        Raises:
            NotFoundError: no service of that name.
            InputError: callers of it need no key.
        """

    def regenerate_key(self, name: str, which: KeyName) -> Keys:
        """Put a new key into the place of one, and return both; the other goes on opening the service.

        The service takes the new one and refuses the old one within seconds. Raises as `keys`.
        """

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it.

        Requests that run have 10 seconds to finish, or ``timeout`` where that is less: then what still runs is
        killed.

        Raises:
            NotFoundError: no service of that name.
            ServiceError: it cannot be stopped.
        """


@dataclass(frozen=True)
class Replicas:
    """How many processes serve: as many as are wanted, and those of them that answer."""

    wanted: int
    ready: int


@dataclass(frozen=True)
class Service:
    """A service as it was when it was asked for.

    Attributes:
        state: Transitioning (it starts, changes, or starts again after it died), Healthy (as many replicas as
            are wanted have said that they are ready, and are there), Unhealthy (one is there and does not answer,
            or some serve and others cannot), Unschedulable (it waits for a device that others hold), Failed (it
            keeps dying before it is ready, or nobody looks after it any more), Stopped.
        host, port: where it listens, or its first replica.
        pid: process id of what serves, None while there is none or where that says nothing.
        restarts: how often a process of it was started again after it died.
        package: digest of the package, ``sha256:...``.
        created: when it was deployed, ISO 8601 in UTC.
        reason: why it is in that state, in words; empty when it is Healthy or Stopped.
        target: where it runs.
        replicas: how many are wanted, and how many are ready.
        addresses: ``host:port`` of every replica that is or was ready; a client spreads its calls over them.
        model: the registered model that it serves, ``name:version@digest``; empty where it was a file.
        image: the image that it was deployed from, ``name:version@digest``; empty where there was none.
        secure: whether callers need a key, or a token that one has signed.
        certificate: what its clients trust, PEM; empty where the connection is not encrypted, or where they trust
            the authorities that the system does.
        encrypted: whether the connection is encrypted, also where there is no ``certificate``.
        follow: whether an open client may ask for the addresses again, which costs little here: it learns of
            replicas that come and go.
        http: where REST, metrics and the page are, ``http://host:port`` of every replica; empty where nowhere.
        socket: the Unix socket that it listens on as well; empty for none.
        also: the networks that take turns with ``network`` on its device.
        also_models: the registered models that they are, as ``model``.
        way: opens a way to it where its addresses are those of another network; None where they lead to it. What
            it returns is None as well where they do after all.
    """

    name: str
    state: State
    host: str
    port: int
    pid: int | None
    restarts: int
    package: str
    network: str
    device: str
    created: str
    reason: str
    target: Target = field(repr=False, compare=False)
    replicas: Replicas = Replicas(1, 0)
    addresses: tuple[str, ...] = ()
    model: str = ""
    image: str = ""
    secure: bool = False
    certificate: str = field(default="", repr=False)
    encrypted: bool = False
    follow: bool = False
    http: tuple[str, ...] = ()
    socket: str = ""
    also: tuple[str, ...] = ()
    also_models: tuple[str, ...] = ()
    way: Callable[[], Way | None] | None = field(default=None, repr=False, compare=False)

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    def client(self, model: str = "") -> PredictionClient:
        """A client of this service; close it, or use it as a context manager.

        It shows the primary key, and looks it up again when the service refuses it: keys may be regenerated. A
        service in a cluster is reached from outside through the cluster's API server, if there is no Gateway.

        Parameters:
            model: the network that is meant, where the service has several; else the first.

        Raises:
            HostError, ServiceError: there is no way to it.
        """
        from fieldwave.client import PredictionClient

        trusted = self.certificate.encode() or None
        way = self.way() if self.way is not None else None
        client = PredictionClient(
            way.address if way else self._addresses_now if self.follow else self.addresses or self.address,
            use_ssl=self.encrypted or trusted is not None,
            access_token=(lambda: self.target.keys(self.name).primary) if self.secure else "",
            service_name=self.name,
            root_certificates=trusted,
            server_name=way.server_name if way else "",
            model=model,
        )
        if way is not None:
            weakref.finalize(client, way.close)  # not when it is closed: it may be used again
        return client

    def _addresses_now(self) -> tuple[str, ...]:
        now = self.target.get(self.name)
        return now.addresses or (now.address,)

    def wait(self, timeout: float = 60.0) -> Service:
        """The service once it is Healthy.

        Raises:
            NotFoundError: it was deleted.
            ServiceError: it is Failed or Stopped, or not Healthy after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            service = self.target.get(self.name)
            if service.state == "Healthy":
                return service
            if service.state in ("Failed", "Stopped"):
                reason = f": {service.reason}" if service.reason else ""
                raise ServiceError(f"service {self.name!r} is {service.state}{reason}")
            if time.monotonic() >= deadline:
                reason = f": {service.reason}" if service.reason else ""
                raise ServiceError(
                    f"service {self.name!r} is still {service.state} after {timeout:g} s{reason}; "
                    f"see fieldwave services logs {self.name}"
                )
            time.sleep(_POLL_SECONDS)


def is_name(name: str) -> bool:
    """Whether a service may be called so: a DNS label (RFC 1123) of 2 to 32 characters, a letter first."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises InputError when a service may not be called so."""
    if not is_name(name):
        raise InputError(
            f"{name!r} is no name for a service: 2 to 32 lower-case letters, digits and '-', "
            "a letter first and no '-' last"
        )


def check_replicas(replicas: int) -> None:
    """Raises InputError when there cannot be so many."""
    if not 1 <= replicas <= MOST_REPLICAS:
        raise InputError(f"{replicas} replicas are not possible; give a number from 1 to {MOST_REPLICAS}")
