"""A client's keys and certificates against real services: what it shows, what it says when that is not enough."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.errors import InputError, ServiceError
from fieldwave.keys import Keys, read_keys, regenerate_key, sign_token, write_keys
from fieldwave.serving import Server
from tests.certificates import Authority, Pair, encrypted
from tests.served import affine, serving, tensor

KEYS = Keys.generate()
WRONG = "w" * 43


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    """Keys, certificates, the authority's own."""
    path = tmp_path_factory.mktemp("security")
    write_keys(path / "keys", KEYS)
    authority.server().write(path)
    (path / "ca.crt").write_bytes(authority.certificate)
    return path


@pytest.fixture(scope="module")
def open_(folder: Path) -> Iterator[Server]:
    """In plain text, without keys."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[Server]:
    with serving(keys=folder / "keys") as running:
        yield running


@pytest.fixture(scope="module")
def secured(folder: Path) -> Iterator[Server]:
    """With keys and TLS."""
    with serving(keys=folder / "keys", tls_cert=folder / "tls.crt", tls_key=folder / "tls.key") as running:
        yield running


@pytest.fixture(scope="module")
def mutual(folder: Path) -> Iterator[Server]:
    """With mutual TLS."""
    with serving(tls_cert=folder / "tls.crt", tls_key=folder / "tls.key", client_ca=folder / "ca.crt") as running:
        yield running


def score(server: Server, address: str = "127.0.0.1", **options: Any) -> None:
    with PredictionClient(address, server.port, **options) as client:
        assert np.array_equal(client.score_numpy_arrays({"images": tensor()}, timeout=5), affine(tensor()))


def refusal(server: Server, address: str = "127.0.0.1", **options: Any) -> tuple[str, str]:
    """The error's code and text, without the service's address; it must not take the whole deadline to say it."""
    begin = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        score(server, address, **options)
    assert time.monotonic() - begin < 4
    return caught.value.code, str(caught.value).replace(f"{address}:{server.port} ", "")


@pytest.mark.parametrize(
    "token",
    [KEYS.primary, KEYS.secondary, f" {KEYS.primary}\n", sign_token(KEYS).value, lambda: KEYS.primary],
    ids=["primary", "secondary", "with white space", "token", "function"],  # the keys are others in each process
)
def test_a_key_or_a_token_opens_the_service(
    keyed: Server, secured: Server, authority: Authority, token: Any
) -> None:
    score(keyed, access_token=token)
    score(secured, access_token=token, use_ssl=True, root_certificates=authority.certificate)


def test_without_a_key_it_says_what_to_give(keyed: Server) -> None:
    text = (
        "answered UNAUTHENTICATED: this service wants a key: send the metadata 'authorization: Bearer KEY'; give "
        "a key or a token as access_token"
    )
    assert refusal(keyed) == ("UNAUTHENTICATED", text)
    assert refusal(keyed, access_token="") == ("UNAUTHENTICATED", text)
    assert refusal(keyed, access_token=" \n")[0] == "UNAUTHENTICATED"


def test_a_wrong_key_is_told_and_not_shown(keyed: Server) -> None:
    assert refusal(keyed, access_token=WRONG) == (
        "UNAUTHENTICATED",
        "answered UNAUTHENTICATED: the key is none of this service's keys; it may have been regenerated",
    )


def test_health_can_be_waited_for_without_a_key(keyed: Server) -> None:
    with PredictionClient("127.0.0.1", keyed.port) as client:
        client.wait_until_ready(5)


@pytest.mark.parametrize("token", ["two words" * 4, "line\nline", "ä" * 40])
def test_what_can_be_no_key_is_refused_without_being_shown(keyed: Server, token: str) -> None:
    text = "the access token, which is not shown here, is none: it has spaces or other such characters"
    with pytest.raises(InputError) as caught:
        PredictionClient("127.0.0.1", keyed.port, access_token=token)
    assert str(caught.value) == text
    with pytest.raises(InputError) as caught:
        score(keyed, access_token=lambda: token)
    assert str(caught.value) == text


def test_a_function_is_asked_again_when_what_it_gave_is_refused(tmp_path: Path) -> None:
    """Tokens that end are renewed, keys that are replaced are read again: no call fails."""
    folder = tmp_path / "keys"
    write_keys(folder, KEYS)
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return sign_token(read_keys(folder), lifetime=timedelta(hours=1)).value

    with serving(keys=folder) as server, PredictionClient("127.0.0.1", server.port, access_token=token) as client:
        assert asked == 0
        for count in range(1, 6):
            for _ in range(3):
                client.score_numpy_arrays({"images": tensor()}, timeout=5)
            assert asked == count
            new = regenerate_key(folder, "primary")
            score(server, access_token=new.primary)  # from here on the one before is refused
        then = datetime(2026, 1, 1, tzinfo=UTC)
        ended = sign_token(read_keys(folder), lifetime=timedelta(hours=1), now=then).value
        tokens = iter([ended, read_keys(folder).secondary])
        score(server, access_token=lambda: next(tokens))


def test_a_function_that_gives_what_is_refused_is_asked_twice_and_its_errors_are_the_caller_s(
    keyed: Server,
) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return WRONG

    assert refusal(keyed, access_token=token)[0] == "UNAUTHENTICATED"
    assert asked == 2
    with pytest.raises(ZeroDivisionError):
        score(keyed, access_token=lambda: str(1 // 0))


def test_the_key_in_use_is_replaced_under_load_and_no_call_fails(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    write_keys(folder, KEYS)
    failures: list[str] = []
    calls = [0] * 3
    stop = threading.Event()
    with (
        serving(keys=folder) as server,
        PredictionClient("127.0.0.1", server.port, access_token=lambda: read_keys(folder).primary) as client,
    ):

        def load(index: int) -> None:
            while not stop.is_set():
                try:
                    client.score_numpy_arrays({"images": tensor()}, timeout=5)
                except ServiceError as error:
                    failures.append(str(error))
                calls[index] += 1

        threads = [threading.Thread(target=load, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                new = regenerate_key(folder, "primary")
                score(server, access_token=new.primary)  # the service knows it now, and refuses the one before
                seen = sum(calls)
                while sum(calls) < seen + 12:
                    time.sleep(0.001)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == []
    assert sum(calls) >= 60


def test_a_key_in_plain_text_is_warned_about_beyond_this_machine(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        PredictionClient("board.example", 50051, access_token=WRONG).close()
        PredictionClient("127.0.0.1", 50051, access_token=WRONG).close()
        PredictionClient("board.example", 50051, use_ssl=True, access_token=WRONG).close()
        PredictionClient("board.example", 50051).close()
    assert caplog.messages == ["the key for board.example:50051 is sent in plain text; use TLS"]


# ---- TLS


def test_plain_text_against_tls(secured: Server) -> None:
    text = "speaks TLS; call it with TLS: use_ssl=True, or --tls"
    assert refusal(secured, access_token=KEYS.primary) == ("UNAVAILABLE", text)


def test_plain_text_against_mutual_tls(mutual: Server) -> None:
    assert refusal(mutual) == ("UNAVAILABLE", "speaks TLS; call it with TLS: use_ssl=True, or --tls")


def test_tls_against_plain_text(open_: Server, authority: Authority) -> None:
    text = "does not speak TLS; call it without: leave out use_ssl, or --tls"
    assert refusal(open_, use_ssl=True, root_certificates=authority.certificate) == ("UNAVAILABLE", text)
    assert refusal(open_, use_ssl=True) == ("UNAVAILABLE", text)


UNTRUSTED = (
    "has a certificate that nobody has signed whom this client trusts; give the certificate of its authority: "
    "root_certificates, or --ca"
)


def test_an_authority_that_is_not_trusted(secured: Server) -> None:
    options = {"use_ssl": True, "access_token": KEYS.primary}
    assert refusal(secured, **options) == ("UNAVAILABLE", UNTRUSTED)
    for other in (Authority(), Authority("another name")):
        assert refusal(secured, root_certificates=other.certificate, **options) == ("UNAVAILABLE", UNTRUSTED)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"names": ("board.example",)},
            "has a certificate for other names than {}; call it by a name that is in there",
        ),
        (
            {"lifetime": timedelta(hours=-1)},
            "has a certificate that has expired; whoever runs it must renew it",
        ),
    ],
)
def test_a_certificate_that_does_not_fit(
    tmp_path: Path, authority: Authority, options: dict[str, Any], text: str
) -> None:
    certificate, key = authority.server(**options).write(tmp_path)
    with serving(tls_cert=certificate, tls_key=key) as server:
        for address in ("127.0.0.1", "localhost"):
            assert refusal(server, address, use_ssl=True, root_certificates=authority.certificate) == (
                "UNAVAILABLE",
                text.format(address),
            )


def test_restarts_with_mutual_tls_under_load_lose_no_call_and_are_no_fault_of_tls(
    folder: Path, authority: Authority
) -> None:
    stop = threading.Event()
    answered: queue.SimpleQueue[bool] = queue.SimpleQueue()
    options = {
        "keys": folder / "keys",
        "tls_cert": folder / "tls.crt",
        "tls_key": folder / "tls.key",
        "client_ca": folder / "ca.crt",
    }
    trust = {"use_ssl": True, "root_certificates": authority.certificate, "access_token": KEYS.primary}

    def call(port: int, seed: int) -> None:
        with PredictionClient("127.0.0.1", port, **trust, **with_(authority.client())) as client:
            while not stop.is_set():
                scores = client.score_numpy_arrays({"images": tensor(8, seed)})
                answered.put(np.array_equal(scores, affine(tensor(8, seed))))

    with futures.ThreadPoolExecutor(3) as pool:
        try:
            with serving(**options) as server:
                port = server.port
                callers = [pool.submit(call, port, seed) for seed in range(3)]
                assert all(answered.get(timeout=30) for _ in range(40))
            for _ in range(4):
                with serving(grpc_port=port, **options):
                    assert all(answered.get(timeout=30) for _ in range(40))
            with serving(grpc_port=port, **options):
                stop.set()
                assert [caller.exception(timeout=30) for caller in callers] == [None] * 3
        finally:
            stop.set()


def with_(pair: Pair) -> dict[str, Any]:
    return {"client_certificate": pair.certificate, "client_key": pair.key}


def test_mutual_tls(mutual: Server, authority: Authority) -> None:
    trust = {"use_ssl": True, "root_certificates": authority.certificate}
    score(mutual, **trust, **with_(authority.client()))
    assert refusal(mutual, **trust) == (
        "UNAVAILABLE",
        "wants a certificate of its clients; give client_certificate and client_key, or --client-cert and "
        "--client-key",
    )
    for stranger in (Authority().client(), Authority("another name").client()):
        assert refusal(mutual, **trust, **with_(stranger)) == (
            "UNAVAILABLE",
            "does not accept this client's certificate; ask whoever runs it which authority must sign it",
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"root_certificates": b"x"}, "root_certificates holds no certificates in PEM form"),
        ({"root_certificates": b"\xff"}, "root_certificates holds no certificates in PEM form"),
        (
            {"client_certificate": b"x"},
            "a client's certificate needs its key; give client_certificate and client_key",
        ),
        ({"client_key": b"x"}, "a client's certificate needs its key; give client_certificate and client_key"),
        (
            {"client_certificate": b"x", "client_key": b"y"},
            "client_certificate holds no certificate in PEM form",
        ),
    ],
)
def test_certificates_that_are_none_are_refused_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        PredictionClient("127.0.0.1", 1, use_ssl=True, **options)
    assert str(caught.value) == text


def test_a_client_s_key_must_be_a_key_and_readable(authority: Authority) -> None:
    pair = authority.client()
    for key, text in (
        (pair.certificate, "client_key holds no private key in PEM form"),
        (encrypted(pair, b"password").key, "client_key is encrypted; write it out without a password"),
    ):
        with pytest.raises(InputError) as caught:
            PredictionClient("127.0.0.1", 1, use_ssl=True, client_certificate=pair.certificate, client_key=key)
        assert str(caught.value) == text


def test_a_client_s_certificate_without_tls_is_a_mistake(authority: Authority) -> None:
    with pytest.raises(InputError) as caught:
        PredictionClient("127.0.0.1", 1, **with_(authority.client()))
    assert str(caught.value) == "client_certificate is given without TLS; set use_ssl=True"


def test_a_service_that_only_closes_is_no_fault_of_tls() -> None:
    """It is tried until the deadline, as one that restarts is, and the error is gRPC's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def close_all() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.close()

        closing = threading.Thread(target=close_all)
        closing.start()
        port = listening.getsockname()[1]
        try:
            for options in ({}, {"use_ssl": True}):
                with (
                    PredictionClient("127.0.0.1", port, **options) as client,
                    pytest.raises(ServiceError) as caught,
                ):
                    client.score_image(b"x", timeout=0.3)
                assert str(caught.value).startswith(f"127.0.0.1:{port} is not available, tried for 0.3 s: ")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            closing.join()
