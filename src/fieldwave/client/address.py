"""Where a service is: host and port."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from fieldwave.errors import InputError

__all__ = ["Addresses", "is_loopback", "is_name", "target_of", "targets_of"]

Addresses = str | Sequence[str] | Callable[[], str | Sequence[str]]

_SOCKET = "unix:"


def targets_of(addresses: str | Sequence[str] | None, port: int | None, *, use_ssl: bool) -> tuple[str, ...]:
    """``host:port`` of each replica of a service, each once; see `target_of`.

    Raises:
        InputError: as `target_of`; or there is no address at all.
    """
    if not addresses or isinstance(addresses, str):
        return (target_of(addresses if isinstance(addresses, str) else None, port, use_ssl=use_ssl),)
    return tuple(dict.fromkeys(target_of(address, port, use_ssl=use_ssl) for address in addresses))


def target_of(address: str | None, port: int | None, *, use_ssl: bool) -> str:
    """``host:port`` of a service: the port in ``address``, or ``port``, or else 443 with TLS and 80 without.

    An address that begins with ``unix:`` is a socket on this machine, and stays what it is.

    Raises:
        InputError: no address, a URL instead of a host, two different ports, or a port that does not exist.
    """
    if not address:
        raise InputError(f"address is {address!r}; give the host name or the IP address of the service")
    if address.startswith(_SOCKET):
        if port is not None or use_ssl:
            raise InputError(f"address {address!r} is a Unix socket, which has no port and no TLS; leave them out")
        return address
    if "/" in address:
        raise InputError(f"address {address!r} is no host name; leave out the scheme and the path")
    if port is not None and not hasattr(port, "__index__"):
        raise InputError(f"port is {port!r}; give a number from 1 to 65535")
    host, found = _split(address)
    if found is not None and port is not None and found != port:
        raise InputError(f"address {address!r} and port {port} contradict each other; give the port once")
    number = next(number for number in (found, port, 443 if use_ssl else 80) if number is not None)
    if not 1 <= number <= 65535:
        raise InputError(f"port {number} does not exist; give one from 1 to 65535")
    return f"{host}:{number}"


def is_loopback(target: str) -> bool:
    """Whether ``target``, as `target_of` gives it, is on this machine."""
    if target.startswith(_SOCKET):
        return True
    host = target.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_name(target: str) -> bool:
    """Whether the host of ``target`` is a name, which may stand for several addresses."""
    try:
        ipaddress.ip_address(target.rpartition(":")[0].strip("[]"))
    except ValueError:
        return True
    return False


def _split(address: str) -> tuple[str, int | None]:
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]", None  # a bare IPv6 address
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        return address, None
    if not port.isdecimal():
        raise InputError(f"address {address!r} has no number after the colon; give host:port or the host alone")
    return host, int(port)
