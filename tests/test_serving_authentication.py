"""Who may call a service: keys, tokens, and what becomes of those who have none."""

from __future__ import annotations

import functools
import hmac
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.keys import Keys, read_keys, regenerate_key, sign_token, write_keys
from fieldwave.serving import Server
from fieldwave.serving.authentication import Authentication
from tests.secured import (
    ANSWERED,
    CHECK,
    MALFORMED,
    NO_KEY,
    OLD,
    PREDICT,
    REQUESTS,
    WRONG,
    ask,
    keys_with_a_past,
    opened,
)
from tests.served import Affine, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys_with_a_past(tmp_path_factory.mktemp("secret") / "keys")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(keys=folder) as running:
        yield running


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ((), NO_KEY),
        (("",), MALFORMED),
        (("Bearer",), NO_KEY),
        (("Bearer ",), NO_KEY),
        (("Bearer x",), WRONG),
        ((f"Bearer {'x' * 7000}",), WRONG),
        ((f"Bearer {OLD.primary}",), WRONG),
        ((f"Bearer {OLD.secondary}x",), WRONG),
        ((f"Bearer {OLD.secondary[:-1]}",), WRONG),
        ((f"Bearer {OLD.secondary.swapcase()}",), WRONG),
        ((OLD.primary,), WRONG),
        (("x" * 31,), MALFORMED),
        ((f"Basic {OLD.secondary}",), MALFORMED),
        ((f"Bearer{OLD.secondary}",), WRONG),
        ((f"Bearer {OLD.secondary}", "Bearer x"), MALFORMED),
        ((f"Bearer {OLD.secondary}", f"Bearer {OLD.secondary}"), MALFORMED),
        (("Bearer a.b.cccc",), "the token is signed with none of this service's keys; get another"),
        (("Bearer a.b",), "the token is no signed token of three parts"),
    ],
)
def test_every_method_refuses_what_is_no_key(
    server: Server, method: str, authorization: tuple[str, ...], text: str
) -> None:
    assert ask(server, method, *authorization) == (grpc.StatusCode.UNAUTHENTICATED, text)


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("which", ["primary", "secondary", "token", "token of the secondary", "lower case"])
def test_every_method_answers_to_both_keys_and_their_tokens(
    server: Server, folder: Path, method: str, which: str
) -> None:
    keys = read_keys(folder)
    value = {
        "primary": f"Bearer {keys.primary}",
        "secondary": f"Bearer {keys.secondary}",
        "token": f"Bearer {sign_token(keys).value}",
        "token of the secondary": f"Bearer {sign_token(Keys(keys.secondary, keys.primary)).value}",
        "lower case": f"bearer  {keys.primary}",
    }[which]
    expected = grpc.StatusCode.OK if method in ANSWERED else grpc.StatusCode.UNIMPLEMENTED
    assert ask(server, method, value)[0] is expected


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80), max_size=3))
def test_whatever_is_sent_is_refused_and_never_an_error_of_the_service(values: list[str]) -> None:
    metadata = [("authorization", value) for value in values]
    assert authentication()._objection(metadata) is not None
    bearers = [("authorization", f"Bearer {value}") for value in values]
    assert authentication()._objection(bearers) is not None


@functools.cache
def authentication() -> Authentication:
    with tempfile.TemporaryDirectory() as folder:
        write_keys(Path(folder) / "keys", Keys.generate())
        return Authentication(Path(folder) / "keys")


def test_tokens_that_ended_say_when_and_tokens_of_an_old_key_are_refused(server: Server, folder: Path) -> None:
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ended = sign_token(read_keys(folder), now=then, lifetime=timedelta(hours=1)).value
    text = "the token expired at 2026-01-02T04:04:05Z; get another"
    assert ask(server, PREDICT, f"Bearer {ended}") == (grpc.StatusCode.UNAUTHENTICATED, text)
    text = "the token is signed with none of this service's keys; get another"
    assert ask(server, PREDICT, f"Bearer {sign_token(OLD).value}") == (grpc.StatusCode.UNAUTHENTICATED, text)


def test_a_token_ends_in_the_middle_of_its_use_and_with_its_key(tmp_path: Path) -> None:
    keys = Keys.generate()
    write_keys(tmp_path / "keys", keys)
    with serving(keys=tmp_path / "keys") as server:
        short = f"Bearer {sign_token(keys, lifetime=timedelta(seconds=1)).value}"
        long = f"Bearer {sign_token(keys).value}"
        assert ask(server, PREDICT, long)[0] is grpc.StatusCode.OK
        assert ask(server, PREDICT, short)[0] is grpc.StatusCode.OK
        deadline = time.monotonic() + 10
        code = grpc.StatusCode.OK
        while code is grpc.StatusCode.OK:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            code, text = ask(server, PREDICT, short)
        assert text.startswith("the token expired at ")
        assert ask(server, PREDICT, long)[0] is grpc.StatusCode.OK
        new = regenerate_key(tmp_path / "keys", "primary")
        assert ask(server, PREDICT, f"Bearer {new.primary}")[0] is grpc.StatusCode.OK  # from here on it is known
        text = "the token is signed with none of this service's keys; get another"
        assert ask(server, PREDICT, long) == (grpc.StatusCode.UNAUTHENTICATED, text)


@pytest.mark.parametrize("authorization", [(), ("Bearer wrong",), ("nonsense",)])
def test_a_health_check_is_open(server: Server, authorization: tuple[str, ...]) -> None:
    assert ask(server, CHECK, *authorization) == (grpc.StatusCode.OK, "")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer whatever", "nonsense"])
def test_a_service_without_keys_reads_none(authorization: str) -> None:
    # The retired service's client sends an empty one where it has none.
    with serving() as server:
        assert ask(server, PREDICT, authorization) == (grpc.StatusCode.OK, "")


def test_a_call_without_a_key_is_refused_before_its_request_is_received(server: Server) -> None:
    asked = threading.Event()
    sent = threading.Event()

    def requests() -> Iterator[bytes]:
        asked.set()
        sent.wait(10)
        yield b""

    with opened(server) as channel:
        call = channel.stream_unary(PREDICT).future(requests(), timeout=10)
        try:
            assert call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert asked.is_set() and not sent.is_set()
        finally:
            sent.set()


def test_both_keys_are_compared_at_every_call_whatever_is_sent(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, compared = read_keys(folder), []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr("hmac.compare_digest", compare)
    both = [keys.primary.encode(), keys.secondary.encode()]
    for value in (keys.primary, keys.secondary, "x", keys.primary[:-1]):
        compared.clear()
        ask(server, PREDICT, f"Bearer {value}")
        assert compared == both
    # A token that has been seen is known; one for nobody else has not, whatever was signed in the same second.
    for value in (sign_token(keys, "compared").value, sign_token(OLD, "compared").value):
        compared.clear()
        ask(server, PREDICT, f"Bearer {value}")
        assert len(compared) == 2


def test_a_refused_request_never_reaches_the_device(folder: Path) -> None:
    device = Affine()
    with serving(device, keys=folder) as server:
        warm_up = device.runs
        for _ in range(5):
            assert ask(server)[0] is grpc.StatusCode.UNAUTHENTICATED
        assert device.runs == warm_up


# ---- rotation


@pytest.mark.parametrize(("rounds", "least"), [(10, 12), pytest.param(20, 500, marks=pytest.mark.slow)])
def test_keys_are_regenerated_without_a_failed_call_under_load(tmp_path: Path, rounds: int, least: int) -> None:
    """Four callers call all the time; the two keys are regenerated in turn, each while the other is in use."""
    folder = tmp_path / "keys"
    write_keys(folder, Keys.generate())
    in_use: list[str] = [read_keys(folder).secondary]
    failures: list[str] = []
    calls = [0] * 4
    stop = threading.Event()

    with serving(keys=folder) as server, opened(server) as channel:
        predict = channel.unary_unary(PREDICT)

        def load(index: int) -> None:
            while not stop.is_set():
                try:
                    predict(REQUESTS[PREDICT], metadata=[("authorization", f"Bearer {in_use[0]}")], timeout=10)
                except grpc.RpcError as error:
                    failures.append(f"{error.code()} {error.details()}")
                calls[index] += 1

        threads = [threading.Thread(target=load, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        try:
            for round_ in range(rounds):
                which = ("primary", "secondary")[round_ % 2]
                new = regenerate_key(folder, which)
                in_use[0] = getattr(new, which)  # at once: the first call with a new key must pass
                seen = sum(calls)
                while sum(calls) < seen + least:  # nobody calls with the key before it by now
                    time.sleep(0.001)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == []
    assert sum(calls) >= rounds * least


def test_an_old_key_is_refused_within_seconds_also_when_nobody_brings_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys = Keys.generate()
    write_keys(folder, keys)
    with serving(keys=folder) as server:
        assert ask(server, PREDICT, f"Bearer {keys.primary}")[0] is grpc.StatusCode.OK
        regenerate_key(folder, "primary")
        deadline = time.monotonic() + 5
        while ask(server, PREDICT, f"Bearer {keys.primary}")[0] is grpc.StatusCode.OK:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ask(server, PREDICT, f"Bearer {keys.secondary}")[0] is grpc.StatusCode.OK


def test_a_secret_that_kubernetes_swaps_is_followed(tmp_path: Path) -> None:
    old, new = Keys.generate(), Keys.generate()
    for name, keys in (("..1", old), ("..2", new)):
        write_keys(tmp_path / name, keys)
    (tmp_path / "..data").symlink_to("..1")
    for name in ("primary", "secondary"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    with serving(keys=tmp_path) as server:
        assert ask(server, PREDICT, f"Bearer {old.primary}")[0] is grpc.StatusCode.OK
        (tmp_path / "..new").symlink_to("..2")
        os.replace(tmp_path / "..new", tmp_path / "..data")
        assert ask(server, PREDICT, f"Bearer {new.secondary}")[0] is grpc.StatusCode.OK
        assert ask(server, PREDICT, f"Bearer {old.primary}")[0] is grpc.StatusCode.UNAUTHENTICATED


def test_damaged_keys_change_nothing_but_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "keys"
    keys = Keys.generate()
    write_keys(folder, keys)
    with serving(keys=folder) as server, caplog.at_level(logging.INFO):
        (folder / "primary").write_text("half a k")
        for _ in range(3):
            assert ask(server, PREDICT, "Bearer half a k")[0] is grpc.StatusCode.UNAUTHENTICATED
        assert ask(server, PREDICT, f"Bearer {keys.primary}")[0] is grpc.StatusCode.OK
        new = Keys.generate()
        write_keys(folder, new)
        assert ask(server, PREDICT, f"Bearer {new.primary}")[0] is grpc.StatusCode.OK
    said = [text for text in caplog.messages if text.startswith("the keys")]
    assert said == [
        f"the keys in {folder} changed and cannot be used, the old ones stay: {folder}: the primary key, which is "
        "not shown here, is none: it must have 32 to 256 letters, digits and -_~+/",
        f"the keys in {folder} changed and have been read again",
    ]


def test_refused_calls_are_logged_once_a_minute_and_no_secret_is_ever_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "keys"
    keys = Keys.generate()
    token = sign_token(keys, lifetime=timedelta(hours=1)).value
    ended = sign_token(keys, lifetime=timedelta(hours=1), now=datetime(2026, 1, 1, tzinfo=UTC)).value
    write_keys(folder, keys)
    guess = "guess-" * 6
    said: list[str] = []
    with caplog.at_level(logging.DEBUG), serving(keys=folder) as server:
        for value in (keys.primary, keys.secondary, token, ended, guess, f"{keys.primary}x", f"{token}x"):
            for form in (f"Bearer {value}", value, f"Basic {value}"):
                said.extend(ask(server, method, form)[1] for method in (*REQUESTS, CHECK))
        new = regenerate_key(folder, "primary")
        said.append(ask(server, PREDICT, f"Bearer {new.primary}")[1])
        (folder / "secondary").write_text("damaged")
        said.append(ask(server, PREDICT, f"Bearer {keys.primary}")[1])
    everything = "\n".join([*said, *caplog.messages, *capfd.readouterr()])
    for secret in (keys.primary, keys.secondary, new.primary, token, ended, guess, token.split(".")[2]):
        assert secret not in everything
    refused = [text for text in caplog.messages if text.startswith("calls without")]
    assert len(refused) == 1
    assert refused[0].startswith("calls without a valid key: 1, the last from ipv4:127.0.0.1:")
