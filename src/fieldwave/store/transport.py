"""HTTP to a registry: authentication, errors in words, answers page by page.

OCI distribution specification 1.1; tokens as in the "Docker Registry v2 authentication" specification, which all
registries follow.
"""

from __future__ import annotations

import ipaddress
import re
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fieldwave.errors import InputError, MissingExtraError, NotFoundError, StorageError
from fieldwave.store.credentials import Credentials, find_credentials

if TYPE_CHECKING:
    import httpx

__all__ = ["Transport", "is_loopback"]

_TIMEOUT_SECONDS = 30.0
_PASSING = (429, 500, 502, 503, 504)
"""Statuses that may be gone a moment later: a registry under load, or one that reads what another request writes.
All requests here may be sent again, since what they put is named by its content."""
_PAUSES = (0.05, 0.15, 0.45)
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')


class _LostError(StorageError):
    """The connection was lost when it stood already: the registry may have done what it was asked, or not."""


class Transport:
    """Requests to one registry.

    Parameters:
        host: ``name:port``.
        plain: speak HTTP without TLS; a registry on loopback is spoken to so in any case.
        credentials: who we are; what a login has stored if not given.
        client: an httpx client, for tests.
    """

    def __init__(
        self,
        host: str,
        *,
        plain: bool = False,
        credentials: Credentials | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("a registry", "store") from error
        self.host = host
        self._base = f"{'http' if plain or is_loopback(host) else 'https'}://{host}"
        self._client = client or httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=True)
        weakref.finalize(self, self._client.close)
        self._credentials = credentials
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        scope: str = "",
        expected: tuple[int, ...] = (200,),
        content: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        within: float | None = None,
    ) -> httpx.Response:
        """Send a request and return its answer, read to its end.

        Args:
            path: absolute on the registry, or a whole address that the registry gave.
            scope: what the token must allow, such as ``repository:models/digits:pull``.
            expected: the statuses that are answers; 404 is one only where it is named here.
            within: seconds in which this returns or raises, and after which nothing more is sent.

        Raises:
            NotFoundError: the registry does not have it.
            InputError: the registry does not let us in.
            StorageError: the registry cannot be reached, or fails.
        """
        begin = time.monotonic()
        # Connecting, writing and reading may take that long each; and half of the time is for trying again.
        timeout = _TIMEOUT_SECONDS if within is None else within / 6
        for pause in (*_PAUSES, None):
            late = within is not None and time.monotonic() - begin > within / 3
            try:
                with self._send(method, path, scope, content, headers, timeout) as response:
                    response.read()
            except _LostError:
                if late or pause is None:
                    raise
            else:
                if late or pause is None or response.status_code in expected or not _may_pass(response):
                    break
            time.sleep(pause)
        self._check(response, method, path, expected)
        return response

    @contextmanager
    def stream(self, path: str, *, scope: str) -> Iterator[Iterator[bytes]]:
        """The body of a GET, in pieces. Raises as :meth:`request`."""
        plain = {"Accept-Encoding": "identity"}
        with self._send("GET", path, scope, None, plain, _TIMEOUT_SECONDS) as response:
            if response.status_code != 200:
                response.read()
            self._check(response, "GET", path, (200,))
            yield response.iter_bytes(1 << 20)

    def pages(self, path: str, key: str, *, scope: str) -> list[str]:
        """A list of names that the registry gives page by page; empty where it knows nothing of it."""
        names: list[str] = []
        following: str | None = path
        while following:
            response = self.request("GET", following, scope=scope, expected=(200, 404))
            if response.status_code == 404:
                return names
            names += _names(response, key, self.host)
            link = response.links.get("next", {}).get("url")
            following = str(response.url.join(link)) if link else None
        return names

    @contextmanager
    def _send(
        self,
        method: str,
        path: str,
        scope: str,
        content: bytes | Iterable[bytes] | None,
        headers: dict[str, str] | None,
        timeout: float,
    ) -> Iterator[httpx.Response]:
        import httpx

        address = path if "://" in path else f"{self._base}{path}"
        # A token goes to the registry alone, wherever the address that it gave us points.
        ours = httpx.URL(address).netloc == httpx.URL(self._base).netloc
        try:
            for attempt in (1, 2):
                sent = dict(headers or {})
                authorization = self._authorization.get(scope)
                if authorization and ours:
                    sent["Authorization"] = authorization
                with self._client.stream(
                    method, address, content=content, headers=sent, timeout=timeout
                ) as response:
                    if response.status_code == 401 and attempt == 1 and ours:
                        response.read()
                        self._authenticate(response.headers.get("www-authenticate", ""), scope)
                        continue
                    yield response
                    return
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            lost = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
            kind = _LostError if isinstance(error, lost) else StorageError
            raise kind(f"cannot reach the registry {self.host}: {reason}") from error

    def _authenticate(self, challenge: str, scope: str) -> None:
        kind, _, rest = challenge.partition(" ")
        given = self._credentials or find_credentials(self.host)
        if kind.lower() == "basic":
            if given is None:
                raise InputError(f"the registry {self.host} wants a login: podman login {self.host}")
            with self._lock:
                self._authorization[scope] = given.basic
            return
        parameters = dict(_PARAMETER.findall(rest))
        if kind.lower() != "bearer" or not parameters.get("realm"):
            raise InputError(
                f"the registry {self.host} wants the authentication {challenge!r}, which is not known"
            )
        query = {"service": parameters.get("service", ""), "scope": scope or parameters.get("scope", "")}
        response = self._client.get(
            parameters["realm"],
            params={key: value for key, value in query.items() if value},
            headers={"Authorization": given.basic} if given else {},
        )
        if response.status_code != 200:
            hint = "the login is not accepted" if given else f"log in first: podman login {self.host}"
            raise InputError(f"the registry {self.host} gives no token for {scope or 'this'}: {hint}")
        answer = response.json()
        token = answer.get("token") or answer.get("access_token", "")
        with self._lock:
            self._authorization[scope] = f"Bearer {token}"

    def _check(self, response: httpx.Response, method: str, path: str, expected: tuple[int, ...]) -> None:
        status = response.status_code
        if status in expected:
            return
        said = _complaint(response)
        if status == 404:
            raise NotFoundError(f"the registry {self.host} has no {path.split('?')[0].removeprefix('/v2/')}")
        if status in (401, 403):
            raise InputError(f"the registry {self.host} refuses {method} {path.split('?')[0]}: {said}")
        raise StorageError(f"the registry {self.host} answers {status} to {method} {path.split('?')[0]}: {said}")


def _may_pass(response: httpx.Response) -> bool:
    """Whether the same request may succeed a moment later.

    A manifest whose blobs were all put before it may be refused for an unknown blob while another writer puts the
    same one: Docker's registry writes its links anew then.
    """
    refused = response.request.method == "PUT" and b"BLOB_UNKNOWN" in response.content
    return refused or response.status_code in _PASSING


def is_loopback(host: str) -> bool:
    """Whether ``name:port`` is this machine, by its address alone."""
    name = host.rpartition(":")[0] or host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _names(response: httpx.Response, key: str, host: str) -> list[str]:
    try:
        found = response.json().get(key) or []
        return [str(name) for name in found]
    except (ValueError, AttributeError, TypeError):
        raise StorageError(f"the registry {host} gives no list of {key}") from None


def _complaint(response: httpx.Response) -> str:
    """What the registry says is wrong, in one line of bounded length."""
    try:
        errors: Any = response.json()["errors"]
        text = "; ".join(f"{error['code']} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError):
        text = response.text
    return " ".join(text.split())[:200] or response.reason_phrase
