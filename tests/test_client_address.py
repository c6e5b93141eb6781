from __future__ import annotations

from typing import Any

import pytest

from fieldwave.client.address import is_loopback, target_of
from fieldwave.errors import InputError


@pytest.mark.parametrize(
    ("address", "port", "use_ssl", "target"),
    [
        ("127.0.0.1", 50051, False, "127.0.0.1:50051"),
        ("board.example", None, False, "board.example:80"),
        ("board.example", None, True, "board.example:443"),
        ("board.example:8500", None, True, "board.example:8500"),
        ("board.example:8500", 8500, False, "board.example:8500"),
        ("::1", 50051, False, "[::1]:50051"),
        ("[::1]", 50051, False, "[::1]:50051"),
        ("[::1]:50051", None, False, "[::1]:50051"),
        ("unix:/run/fieldwave.sock", None, False, "unix:/run/fieldwave.sock"),
    ],
)
def test_a_port_comes_from_the_address_the_argument_or_the_kind(
    address: str, port: int | None, use_ssl: bool, target: str
) -> None:
    assert target_of(address, port, use_ssl=use_ssl) == target


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [
        (None, 80, "address is None; give the host name or the IP address of the service"),
        ("", 80, "address is ''; give the host name or the IP address of the service"),
        ("http://a", None, "address 'http://a' is no host name; leave out the scheme and the path"),
        ("a:1", 2, "address 'a:1' and port 2 contradict each other; give the port once"),
        ("a:x", None, "address 'a:x' has no number after the colon; give host:port or the host alone"),
        ("a:", None, "address 'a:' has no number after the colon; give host:port or the host alone"),
        ("unix:/a", 80, "address 'unix:/a' is a Unix socket, which has no port and no TLS; leave them out"),
        ("a", 65536, "port 65536 does not exist; give one from 1 to 65535"),
        ("a:0", None, "port 0 does not exist; give one from 1 to 65535"),
        ("a", 0, "port 0 does not exist; give one from 1 to 65535"),
    ],
)
def test_what_is_no_address_is_refused(address: Any, port: int | None, text: str) -> None:
    with pytest.raises(InputError) as caught:
        target_of(address, port, use_ssl=False)
    assert str(caught.value) == text


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "localhost", "LocalHost.", "::1", "[::1]:50051"])
def test_an_address_on_this_machine(address: str) -> None:
    assert is_loopback(target_of(address, None, use_ssl=False))


@pytest.mark.parametrize("address", ["10.0.0.1", "localhost.example", "board:127", "2001:db8::1"])
def test_an_address_elsewhere(address: str) -> None:
    assert not is_loopback(target_of(address, None, use_ssl=False))


def test_a_port_is_a_number() -> None:
    with pytest.raises(InputError) as caught:
        target_of("localhost", "80", use_ssl=False)  # type: ignore[arg-type]
    assert str(caught.value) == "port is '80'; give a number from 1 to 65535"
