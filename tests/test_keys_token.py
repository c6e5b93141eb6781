"""Tokens: PyJWT reads ours, we read PyJWT's, and nothing that was not signed by a key is believed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.errors import InputError
from fieldwave.keys import Keys, TokenError, check_token, sign_token

KEYS = Keys("a" * 43, "b" * 43)
NOW = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
HOUR = SECONDS + 3600


def refusal(value: str, now: float = SECONDS, keys: Keys = KEYS) -> str:
    with pytest.raises(TokenError) as caught:
        check_token(keys, value, now=now)
    return str(caught.value)


def made(claims: Any, key: str = KEYS.primary, header: dict[str, Any] | None = None) -> str:
    """A token by PyJWT."""
    return jwt.encode(claims, key, "HS256", headers=header)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_pyjwt_reads_our_token() -> None:
    token = sign_token(KEYS, "rn50", timedelta(hours=1), now=NOW)
    claims = jwt.decode(token.value, KEYS.primary, ["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert claims == {"iss": "fieldwave", "sub": "rn50", "iat": SECONDS, "exp": HOUR}
    assert jwt.get_unverified_header(token.value) == {"alg": "HS256", "typ": "JWT"}
    assert token.expires == NOW + timedelta(hours=1)
    assert repr(token) == f"Token(expires={token.expires!r})"


def test_it_lives_as_long_as_was_asked_for_whatever_the_part_of_a_second() -> None:
    token = sign_token(KEYS, lifetime=timedelta(seconds=1), now=NOW + timedelta(milliseconds=900))
    assert token.expires == NOW + timedelta(seconds=2)
    assert check_token(KEYS, token.value, now=SECONDS + 1.9) == SECONDS + 2


@pytest.mark.parametrize("key", [KEYS.primary, KEYS.secondary])
def test_a_token_of_pyjwt_by_either_key_opens(key: str) -> None:
    assert check_token(KEYS, made({"exp": HOUR}, key), now=SECONDS) == HOUR


def test_it_opens_until_the_second_in_which_it_expires() -> None:
    token = sign_token(KEYS, now=NOW).value
    check_token(KEYS, token, now=HOUR - 0.001)
    assert refusal(token, HOUR) == "the token expired at 2026-11-23T10:00:00Z; get another"


def test_a_regenerated_key_ends_its_tokens_alone() -> None:
    token = sign_token(KEYS, now=NOW).value
    check_token(KEYS.regenerated("secondary"), token, now=SECONDS)
    text = "the token is signed with none of this service's keys; get another"
    assert refusal(token, keys=KEYS.regenerated("primary")) == text


def test_every_changed_character_is_noticed() -> None:
    token = sign_token(KEYS, "rn50", now=NOW).value
    for index in range(len(token) - 1):  # the last character has bits that are no part of the signature
        other = "A" if token[index] != "A" else "B"
        changed = token[:index] + other + token[index + 1 :]
        assert refusal(changed) in (
            "the token is signed with none of this service's keys; get another",
            "the token is no signed token of three parts",
        )


@pytest.mark.parametrize(
    "value",
    ["", "..", "a.b", "a.b.c.d", "ä.b.c", "a.b.ä", "a.b.!", f"a.{'b' * 5000}.c", KEYS.primary],
)
def test_what_is_no_token_is_refused(value: str) -> None:
    assert refusal(value) in (
        "the token is no signed token of three parts",
        "the token is signed with none of this service's keys; get another",
    )


def test_a_token_without_a_signature_is_refused() -> None:
    none = jwt.encode({"exp": HOUR}, None, "none")
    assert refusal(none) == "the token is signed with none of this service's keys; get another"
    # And one that says so of itself, signed or not.
    text = "the token's algorithm is not HS256"
    for header in ({"alg": "none"}, {"alg": "HS512"}, {}, {"alg": "HS256", "crit": ["exp"]}):
        assert refusal(signed(part(header), part({"exp": HOUR}))) == text


def signed(header: str, payload: str, key: str = KEYS.primary) -> str:
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{payload}".encode(), key.encode()
    )
    return f"{header}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("payload", [part([1]), part("x"), "!!!!", "AAAA", ""])
def test_claims_that_are_no_object_are_refused(payload: str) -> None:
    assert refusal(signed(part({"alg": "HS256"}), payload)) == "the token's parts are no JSON objects"


@pytest.mark.parametrize("expires", [None, "soon", True, float("nan"), float("inf"), 10**400, -1e30, []])
def test_a_token_must_say_when_it_expires(expires: Any) -> None:
    claims = {} if expires is None else {"exp": expires}
    text = "the token does not say when it expires, in seconds since 1970"
    assert refusal(signed(part({"alg": "HS256"}), part(claims))) == text


def test_a_token_for_later_opens_later_but_for_a_minute_between_clocks() -> None:
    token = made({"exp": HOUR, "nbf": SECONDS + 600})
    assert refusal(token) == "the token is valid from 2026-11-23T09:10:00Z on"
    check_token(KEYS, token, now=SECONDS + 541)


def test_an_expiry_beyond_every_calendar_has_no_time_to_show() -> None:
    assert refusal(made({"exp": -1e15})) == "the token expired at another age; get another"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(header=JSON, claims=JSON, expires=JSON, start=JSON, alg=st.sampled_from(["HS256", "none", "RS256", None]))
def test_whatever_a_key_has_signed_is_a_token_or_said_to_be_none(
    header: Any, claims: Any, expires: Any, start: Any, alg: Any
) -> None:
    full = {"exp": expires, "nbf": start, **(claims if isinstance(claims, dict) else {})}
    for first, second in ((header, claims), ({"alg": alg}, full), ({"alg": "HS256"}, claims)):
        try:
            until = check_token(KEYS, signed(part(first), part(second)), now=SECONDS)
        except TokenError as error:
            assert "\n" not in str(error)
        else:
            assert first["alg"] == "HS256"
            assert until > SECONDS


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="abcXYZ019-_.=+/ ", max_size=60))
def test_whatever_is_sent_is_refused_in_words(value: str) -> None:
    assert refusal(value) in (
        "the token is no signed token of three parts",
        "the token is signed with none of this service's keys; get another",
    )


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(days=367)])
def test_a_lifetime_out_of_bounds_is_refused(lifetime: timedelta) -> None:
    with pytest.raises(InputError) as caught:
        sign_token(KEYS, lifetime=lifetime)
    assert str(caught.value) == f"a token cannot live for {lifetime}; give 1 second to 366 days"
