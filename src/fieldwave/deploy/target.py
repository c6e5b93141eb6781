"""What a place that runs services can do, and what a service looks like from outside."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fieldwave.deploy.state import State
from fieldwave.errors import InputError, ServiceError

if TYPE_CHECKING:
    from fieldwave.client import PredictionClient

__all__ = ["Service", "Target", "check_name", "is_name"]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])")
_POLL_SECONDS = 0.02


class Target(Protocol):
    """A place that runs services: this machine, a cluster, a box at the edge."""

    def deploy(
        self,
        package: str | os.PathLike[str],
        name: str,
        *,
        device: str = "cpu",
        port: int = 0,
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run a package as a service, and return when it answers.

        Parameters:
            package: path of the package's file.
            name: 2 to 32 lower-case letters, digits and ``-``; what every other call finds it by.
            device: what computes, by name.
            port: to listen on; 0 for a free one, which the service then keeps.
            wait: False returns as soon as it is on its way; ``Service.wait`` waits later.
            timeout: seconds until it must be ready.

        Raises:
            InputError: the name or the package is not acceptable.
            ConflictError: the name or the port is taken.
            ServiceError: it did not become ready; nothing of it is left.
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

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it; requests that run have ``timeout`` seconds to finish.

        Raises:
            NotFoundError: no service of that name.
            ServiceError: it cannot be stopped.
        """


@dataclass(frozen=True)
class Service:
    """A service as it was when it was asked for.

    Attributes:
        state: Starting, Healthy (it answers), Restarting (it died and is started again), Failed (it keeps dying
            before it is ready, or nobody looks after it any more), Stopped.
        host, port: where it listens.
        pid: process id of what serves, None while there is none.
        restarts: how often it was started again after it died.
        package: digest of the package, ``sha256:...``.
        created: when it was deployed, ISO 8601 in UTC.
        error: in the states Restarting and Failed, why; else empty.
        target: where it runs.
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
    error: str
    target: Target = field(repr=False, compare=False)

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    def client(self) -> PredictionClient:
        """A client of this service; close it, or use it as a context manager."""
        from fieldwave.client import PredictionClient

        return PredictionClient(self.host, self.port, service_name=self.name)

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
                reason = f": {service.error}" if service.error else ""
                raise ServiceError(f"service {self.name!r} is {service.state}{reason}")
            if time.monotonic() >= deadline:
                reason = f": {service.error}" if service.error else ""
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
