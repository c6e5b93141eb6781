"""Tokens that a service's key signs: they open the service for a while, and name no key.

A token is a JSON Web Token (RFC 7519) with an HMAC of SHA-256 (``HS256``, RFC 7518, 3.2): whoever holds a key can
make tokens, and a service needs nothing but its keys to check them. A key that is regenerated ends the tokens that
it signed. Other algorithms, ``none`` among them, are not read (RFC 8725, 3.1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from fieldwave.errors import FieldwaveError, InputError
from fieldwave.keys.keys import Keys

__all__ = ["Token", "TokenError", "check_token", "sign_token"]

LONGEST = timedelta(days=366)
_LARGEST = 4096
_LAST = 1 << 53  # seconds; JSON's numbers are exact up to here (RFC 8259, 6)
_LEEWAY_SECONDS = 60  # for the start alone: the clock of who signed may be ahead of ours


class TokenError(FieldwaveError):
    """A token that opens nothing; the message says why, and shows nothing of it."""


@dataclass(frozen=True)
class Token:
    """A signed token.

    Attributes:
        value: what is sent as ``authorization: Bearer VALUE``; not part of the ``repr``.
        expires: until when it opens the service.
    """

    value: str = field(repr=False)
    expires: datetime


def sign_token(
    keys: Keys, service: str = "", lifetime: timedelta = timedelta(hours=1), *, now: datetime | None = None
) -> Token:
    """A token for ``lifetime`` from now, signed with the primary key.

    Parameters:
        service: who it is for, as the claim ``sub``; for those who read it.

    Raises:
        InputError: the lifetime is not from 1 second to 366 days.
    """
    if not timedelta(seconds=1) <= lifetime <= LONGEST:
        raise InputError(f"a token cannot live for {lifetime}; give 1 second to {LONGEST.days} days")
    issued = (now or datetime.now(UTC)).timestamp()
    expires = math.ceil(issued + lifetime.total_seconds())  # whole seconds, and never less than was asked for
    claims = {"iss": "fieldwave", "sub": service, "iat": math.floor(issued), "exp": expires}
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    signature = _base64(_signature(keys.primary, signed.encode()))
    return Token(f"{signed}.{signature}", datetime.fromtimestamp(expires, UTC))


def check_token(keys: Keys, value: str, *, now: float | None = None) -> float:
    """When ``value`` expires, a token that one of ``keys`` signed and that is valid now; in seconds since 1970.

    Nothing in it is believed, or even read, before the signature is found right.

    Parameters:
        now: seconds since 1970.

    Raises:
        TokenError: it is not.
    """
    signed, _, signature = value.rpartition(".")
    if len(value) > _LARGEST or value.count(".") != 2:
        raise TokenError("the token is no signed token of three parts")
    try:
        given = _decoded(signature)
        data = signed.encode("ascii")
    except ValueError:
        raise TokenError("the token is no signed token of three parts") from None
    # Both are always compared: how long it takes tells nothing.
    by_primary = hmac.compare_digest(given, _signature(keys.primary, data))
    by_secondary = hmac.compare_digest(given, _signature(keys.secondary, data))
    if not by_primary | by_secondary:
        raise TokenError("the token is signed with none of this service's keys; get another")
    header, _, payload = signed.partition(".")
    return _checked(_object(header), _object(payload), time.time() if now is None else now)


def _checked(header: dict[str, Any], claims: dict[str, Any], now: float) -> float:
    if header.get("alg") != "HS256" or "crit" in header:
        raise TokenError("the token's algorithm is not HS256")
    expires, start = claims.get("exp"), claims.get("nbf", 0)
    if not (_is_number(expires) and _is_number(start)):
        raise TokenError("the token does not say when it expires, in seconds since 1970")
    if now >= expires:
        raise TokenError(f"the token expired at {_time(expires)}; get another")
    if now + _LEEWAY_SECONDS < start:
        raise TokenError(f"the token is valid from {_time(start)} on")
    return expires


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LAST


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "another age"


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TokenError("the token's parts are no JSON objects")
    return value


def _signature(key: str, data: bytes) -> bytes:
    return hmac.digest(key.encode(), data, hashlib.sha256)


def _encoded(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    """As RFC 7515 has it: the alphabet for URLs, no padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Raises ValueError."""
    try:
        data = text.encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
