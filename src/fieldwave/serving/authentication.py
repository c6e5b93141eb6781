"""Who may call: whoever sends one of the service's keys, or a token that one of them signed.

It is decided by the call's metadata; the request of a refused call is neither waited for nor read. ``Check`` of
``grpc.health.v1.Health`` alone is open, because those who probe (kubelet, load balancers) have no keys; it says
one word. A ``Watch`` wants a key: it stays, and many of them would take the places of others.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc

from fieldwave.keys import KEY_NAMES, Keys, TokenError, check_token, is_key, read_keys
from fieldwave.serving.reread import Reread
from fieldwave.wire.methods import AUTHORIZATION_KEY, HEALTH_CHECK

__all__ = ["Authentication"]

_log = logging.getLogger(__name__)

_OPEN = frozenset({HEALTH_CHECK})
_LOG_SECONDS = 60.0
_MOST_TOKENS = 1024

_NONE = "this service wants a key: send the metadata 'authorization: Bearer KEY'"
_MALFORMED = "the metadata 'authorization' is not of the form 'Bearer KEY'"
_WRONG = "the key is none of this service's keys; it may have been regenerated"

_Handler = Any  # grpc.RpcMethodHandler
_Details = Any  # grpc.HandlerCallDetails


class Authentication(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets calls pass that carry a key of the folder ``keys``, or a token signed by one; refuses all others.

    A key that is not known makes it look at the folder again, so a new key opens the service from its first call;
    `refresh`, called from time to time, closes it to an old one.

    Raises:
        NotFoundError, InputError, StorageError: as `fieldwave.keys.read_keys`.
    """

    def __init__(self, keys: Path) -> None:
        paths = tuple(keys / name for name in KEY_NAMES)
        self._keys = Reread(f"keys in {keys}", paths, lambda: read_keys(keys))
        self._tokens = _Tokens()
        self._refused = _Refused()

    def refresh(self) -> None:
        """Read the keys again if they have changed."""
        self._keys.refresh()

    def intercept_service(self, continuation: Callable[[_Details], _Handler], details: _Details) -> _Handler:
        if details.method in _OPEN:
            return continuation(details)
        given = [value for key, value in details.invocation_metadata if key == AUTHORIZATION_KEY]
        reason = self._objection(given)
        return continuation(details) if reason is None else self._refusing(reason)

    def admit(self, method: str, metadata: Iterable[tuple[str, Any]], peer: str) -> str | None:
        """Why a call of ``method`` with this metadata may not pass; None if it may."""
        if method in _OPEN:
            return None
        return self.objection([value for key, value in metadata if key == AUTHORIZATION_KEY], peer)

    def objection(self, given: Sequence[Any], client: str) -> str | None:
        """Why a call may not pass that has these values of ``authorization``; None if it may."""
        reason = self._objection(given)
        if reason is not None:
            self._refused.note(client, reason)
        return reason

    def _objection(self, given: Sequence[Any]) -> str | None:
        if not given:
            return _NONE
        # The scheme has no case (RFC 9110, 11.1): clients of the retired service wrote it both ways, and those of
        # its preview left it out.
        scheme, space, value = given[0].partition(" ") if isinstance(given[0], str) else ("", "", "")
        if not space and is_key(scheme):
            scheme, value = "bearer", scheme
        if len(given) > 1 or scheme.lower() != "bearer":
            return _MALFORMED
        value = value.strip(" ")
        if not value:
            return _NONE
        objection = self._tokens.objection if "." in value else _objection
        reason = objection(self._keys.value, value)
        if reason is not None and self._keys.refresh():
            reason = objection(self._keys.value, value)
        return reason

    def _refusing(self, reason: str) -> _Handler:
        def refuse(requests: object, context: Any) -> None:
            self._refused.note(context.peer(), reason)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)

        # The request is a stream that nobody reads: a body that is on its way is not waited for.
        return grpc.stream_unary_rpc_method_handler(refuse)


def _objection(keys: Keys, value: str) -> str | None:
    data = value.encode(errors="surrogateescape")
    # Both are always compared: how long it takes tells nothing.
    is_primary = hmac.compare_digest(data, keys.primary.encode())
    is_secondary = hmac.compare_digest(data, keys.secondary.encode())
    return None if is_primary | is_secondary else _WRONG


class _Tokens:
    """Signed tokens. One that is good is known by its digest until it expires or the keys change.

    Reading a token takes 16 us, and an HMAC lets other threads go first, which under load takes ten times as long.
    """

    def __init__(self) -> None:
        self._known: tuple[Keys | None, dict[bytes, float]] = (None, {})

    def objection(self, keys: Keys, value: str) -> str | None:
        of, expiries = self._known
        if of is not keys or len(expiries) >= _MOST_TOKENS:
            expiries = {}
            self._known = (keys, expiries)
        digest = hashlib.sha256(value.encode(errors="surrogateescape")).digest()
        if expiries.get(digest, 0.0) > time.time():
            return None
        try:
            expiries[digest] = check_token(keys, value)
        except TokenError as error:
            expiries.pop(digest, None)
            return str(error)
        return None


class _Refused:
    """Says in the log that calls are refused, at most once a minute: who guesses keys must not fill the disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._logged = -_LOG_SECONDS

    def note(self, peer: str, reason: str) -> None:
        with self._lock:
            self._count += 1
            now = time.monotonic()
            if now - self._logged < _LOG_SECONDS:
                return
            count, self._count, self._logged = self._count, 0, now
        _log.warning("calls without a valid key: %d, the last from %s: %s", count, peer, reason)
