"""What a client shows, and whom it trusts: keys and tokens, certificates."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from fieldwave.errors import InputError
from fieldwave.wire.methods import AUTHORIZATION_KEY

__all__ = ["AccessToken", "Bearer", "Tls"]

AccessToken = str | Callable[[], str]
Metadata = tuple[tuple[str, str], ...]

_TOKEN = re.compile(r"[!-~]+")


class Bearer:
    """What a client shows with each call: a key or a token, or what a function gave last; safe for threads.

    Space around it is no part of it. A function is asked when it is first needed, and again by `renew`.

    Attributes:
        given: whether there is anything to show.

    Raises:
        InputError: it has characters that no key and no token has; the message does not show it.
    """

    def __init__(self, token: AccessToken = "") -> None:
        self.given = bool(token)
        self._ask = token if callable(token) else None
        self._lock = threading.Lock()
        self._asked = self._ask is None
        self._metadata = () if callable(token) else _metadata(token)

    @property
    def known(self) -> bool:
        """Whether `metadata` can be told without asking the function."""
        return self._asked

    def metadata(self) -> Metadata:
        """The metadata of a call; empty without a token. Raises what the function raises."""
        if not self._asked:
            with self._lock:
                if not self._asked:
                    self._renew()
        return self._metadata

    def renew(self) -> bool:
        """Ask the function again, because the service refused what it gave; False if there is none."""
        if self._ask is None:
            return False
        with self._lock:
            self._renew()
        return True

    def _renew(self) -> None:
        if self._ask is not None:
            self._metadata = _metadata(self._ask())
            self._asked = True


def _metadata(token: str) -> Metadata:
    token = token.strip()
    # Without a value it stays away: a header that ends in a space is malformed in HTTP/2.
    if not token:
        return ()
    if not _TOKEN.fullmatch(token):
        raise InputError(
            "the access token, which is not shown here, is none: it has spaces or other such characters"
        )
    return ((AUTHORIZATION_KEY, f"Bearer {token}"),)


@dataclass(frozen=True)
class Tls:
    """A client's side of TLS, PEM.

    Attributes:
        roots: the certificates to trust instead of the system's; None for those.
        certificate, key: the client's own, for services that ask for it (mutual TLS); both or neither.
        name: the name that the service's certificate has, where it is called by another; the address's if empty.

    Raises:
        InputError: they are not what they should be.
    """

    roots: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError("a client's certificate needs its key; give client_certificate and client_key")
        # gRPC would take anything, and say at the first call that it is not available.
        if self.roots is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=self.roots.decode("ascii"))
            except (ssl.SSLError, ValueError):
                raise InputError("root_certificates holds no certificates in PEM form") from None
        if self.certificate is not None and b"-----BEGIN CERTIFICATE-----" not in self.certificate:
            raise InputError("client_certificate holds no certificate in PEM form")
        if self.key is not None and b"PRIVATE KEY-----" not in self.key:
            raise InputError("client_key holds no private key in PEM form")
        if self.key is not None and b"ENCRYPTED" in self.key:
            raise InputError("client_key is encrypted; write it out without a password")

    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC."""
        return grpc.ssl_channel_credentials(self.roots, self.key, self.certificate)
