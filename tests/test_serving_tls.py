"""Who may listen in on a service, the port for probes, and what is refused without keys and TLS."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.serving import ServeOptions, Server
from tests.certificates import Authority, Pair, encrypted
from tests.secured import (
    ANSWERED,
    CHECK,
    OLD,
    PREDICT,
    REQUESTS,
    ask,
    keys_with_a_past,
    opened,
)
from tests.served import Affine, package, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys_with_a_past(tmp_path_factory.mktemp("secret") / "keys")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(keys=folder) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def trusting(authority: Authority, client: Pair | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate, client.key if client else None, client.certificate if client else None
    )


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority, folder: Path) -> Iterator[Server]:
    """Keys, TLS, certificates of clients, and a probe port."""
    place = tmp_path_factory.mktemp("tls")
    certificate, key = authority.server().write(place)
    (place / "ca.crt").write_bytes(authority.certificate)
    with serving(
        keys=folder, tls_cert=certificate, tls_key=key, client_ca=place / "ca.crt", probe_port=0
    ) as running:
        yield running


def test_with_a_key_and_tls_a_service_answers(tmp_path: Path, authority: Authority, folder: Path) -> None:
    certificate, key = authority.server().write(tmp_path)
    value = f"Bearer {OLD.secondary}"
    with serving(keys=folder, tls_cert=certificate, tls_key=key) as server:
        for method in ANSWERED:
            assert ask(server, method, value, credentials=trusting(authority)) == (grpc.StatusCode.OK, "")
            assert ask(server, method, credentials=trusting(authority))[0] is grpc.StatusCode.UNAUTHENTICATED
        # And neither in plain text nor for who trusts somebody else.
        assert ask(server, PREDICT, value)[0] is grpc.StatusCode.UNAVAILABLE
        assert ask(server, CHECK)[0] is grpc.StatusCode.UNAVAILABLE
        stranger = trusting(Authority())
        assert ask(server, PREDICT, value, credentials=stranger)[0] is grpc.StatusCode.UNAVAILABLE


def test_grpc_s_own_call_credentials_are_understood(tmp_path: Path, authority: Authority, folder: Path) -> None:
    """What clients in other languages do too: a token that travels with TLS only."""
    certificate, key = authority.server().write(tmp_path)
    with serving(keys=folder, tls_cert=certificate, tls_key=key) as server:
        for token, code in ((OLD.secondary, grpc.StatusCode.OK), ("x", grpc.StatusCode.UNAUTHENTICATED)):
            shown = grpc.access_token_call_credentials(token)
            credentials = grpc.composite_channel_credentials(trusting(authority), shown)
            assert ask(server, credentials=credentials)[0] is code


@pytest.mark.parametrize("method", [*ANSWERED, CHECK])
def test_mutual_tls_wants_a_certificate_of_the_authority_and_a_key(
    mutual: Server, authority: Authority, method: str
) -> None:
    value = f"Bearer {OLD.secondary}"
    ours = trusting(authority, authority.client())
    assert ask(mutual, method, value, credentials=ours) == (grpc.StatusCode.OK, "")
    refused = grpc.StatusCode.OK if method == CHECK else grpc.StatusCode.UNAUTHENTICATED
    assert ask(mutual, method, credentials=ours)[0] is refused
    for credentials in (trusting(authority), trusting(authority, Authority().client())):
        assert ask(mutual, method, value, credentials=credentials)[0] is grpc.StatusCode.UNAVAILABLE


def test_the_probe_port_answers_health_checks_and_nothing_else(mutual: Server) -> None:
    value = f"Bearer {OLD.secondary}"
    with grpc.insecure_channel(f"127.0.0.1:{mutual.probe_port}") as channel:
        answer = channel.unary_unary(CHECK)(b"", timeout=10)
        assert health_pb2.HealthCheckResponse.FromString(answer).status == health_pb2.HealthCheckResponse.SERVING
        for method, request in REQUESTS.items():
            call = channel.stream_stream(method)(iter([request]), metadata=[("authorization", value)], timeout=10)
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_probe_port_tells_of_the_end_until_the_last_request_is_answered(folder: Path) -> None:
    running, go_on = threading.Event(), threading.Event()

    def before(run: int) -> None:
        if run > 1:
            running.set()
            go_on.wait(10)

    with serving(Affine(before), keys=folder, probe_port=0) as server, opened(server) as channel:
        metadata = [("authorization", f"Bearer {OLD.secondary}")]
        in_hand = channel.unary_unary(PREDICT).future(REQUESTS[PREDICT], metadata=metadata, timeout=10)
        assert running.wait(10)
        with grpc.insecure_channel(f"127.0.0.1:{server.probe_port}") as probes:
            check = probes.unary_unary(CHECK)
            assert check(b"", timeout=10) == b"\x08\x01"
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            deadline = time.monotonic() + 5
            while check(b"", timeout=10) != b"\x08\x02":
                assert time.monotonic() < deadline
            go_on.set()
            assert in_hand.result() != b""
            stopping.join()


def test_a_renewed_certificate_serves_the_next_connection(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.server().write(tmp_path)
    with serving(tls_cert=certificate, tls_key=key) as server, caplog.at_level(logging.INFO):
        assert ask(server, credentials=trusting(authority))[0] is grpc.StatusCode.OK
        with opened(server, trusting(authority)) as old:
            predict = old.unary_unary(PREDICT)
            predict(REQUESTS[PREDICT], timeout=10)
            certificate.write_bytes(Authority().server().certificate)  # of another key: half of a renewal
            assert ask(server, credentials=trusting(authority))[0] is grpc.StatusCode.OK
            other = Authority()
            other.server().write(tmp_path)
            assert ask(server, credentials=trusting(other))[0] is grpc.StatusCode.OK
            assert ask(server, credentials=trusting(authority))[0] is grpc.StatusCode.UNAVAILABLE
            predict(REQUESTS[PREDICT], timeout=10)  # a connection that stands is not cut
    said = [text for text in caplog.messages if text.startswith("the TLS")]
    assert said == [
        "the TLS files changed and cannot be used, the old ones stay: "
        f"the private key {key} is not that of the certificate {certificate}",
        "the TLS files changed and have been read again",
    ]


def refused(**options: Any) -> str:
    with pytest.raises((InputError, NotFoundError, ConflictError)) as caught, serving(**options):
        pass
    return str(caught.value)


def test_files_that_tls_cannot_use_are_refused_by_name(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.server().write(tmp_path)
    _, other = authority.server().write(tmp_path, "other")
    _, locked = encrypted(authority.server(), b"password").write(tmp_path, "locked")
    text = tmp_path / "text"
    text.write_text("no PEM")
    none = tmp_path / "none"
    damaged = tmp_path / "damaged"
    damaged.write_bytes(certificate.read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    assert refused(tls_cert=none, tls_key=key) == f"no file {none}; TLS needs it"
    assert refused(tls_cert=text, tls_key=key) == f"{text} holds no certificate in PEM form"
    assert refused(tls_cert=certificate, tls_key=text) == f"{text} holds no private key in PEM form"
    assert refused(tls_cert=certificate, tls_key=other) == (
        f"the private key {other} is not that of the certificate {certificate}"
    )
    assert refused(tls_cert=certificate, tls_key=locked) == (
        f"the private key {locked} is encrypted; a service cannot ask for its password: write it out without"
    )
    assert refused(tls_cert=damaged, tls_key=key).startswith(
        f"the certificate {damaged} and the private key {key} cannot be used: "
    )
    assert refused(tls_cert=certificate, tls_key=key, client_ca=text) == (
        f"{text} holds no certificates in PEM form"
    )


def test_keys_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert refused(keys=none) == f"no folder of keys {none}; it needs the files 'primary' and 'secondary'"


def test_a_taken_probe_port_is_told_and_leaves_nothing_running(server: Server, folder: Path) -> None:
    text = f"port {server.port} is in use on 127.0.0.1; choose another with --probe-port, or 0 for a free one"
    assert refused(keys=folder, probe_port=server.port) == text


@pytest.mark.parametrize("tls", [False, True])
def test_who_connects_and_says_nothing_is_not_kept(tmp_path: Path, authority: Authority, tls: bool) -> None:
    options: dict[str, Any] = {}
    if tls:
        options["tls_cert"], options["tls_key"] = authority.server().write(tmp_path)
    with serving(receive_seconds=0.3, **options) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(20)]
        assert ask(server, credentials=trusting(authority) if tls else None)[0] is grpc.StatusCode.OK
        for connection in silent:
            with connection, contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):  # its settings, in plain text; then the end, or TimeoutError
                    pass


# ---- beyond this machine

FILE = Path("file")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "board.example", ""])
@pytest.mark.parametrize(
    ("options", "missing", "give"),
    [
        ({}, "no keys and no TLS", "--keys FOLDER --tls-cert FILE --tls-key FILE"),
        ({"keys": FILE}, "no TLS", "--tls-cert FILE --tls-key FILE"),
        ({"tls_cert": FILE, "tls_key": FILE}, "no keys", "--keys FOLDER"),
        ({"tls_cert": FILE, "tls_key": FILE, "client_ca": FILE}, "no keys", "--keys FOLDER"),
    ],
)
def test_beyond_this_machine_a_service_wants_keys_and_tls(
    host: str, options: dict[str, Any], missing: str, give: str
) -> None:
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), host=host, **options)
    assert str(caught.value) == (
        f"listening on {host} lets other machines in, but the service has {missing}; give {give}, listen on "
        "127.0.0.1, or type --insecure where a network that you trust is all that reaches it"
    )
    ServeOptions(package=package(), host=host, insecure=True, **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine_it_wants_neither(host: str) -> None:
    ServeOptions(package=package(), host=host)


def test_tls_wants_both_of_its_files() -> None:
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), tls_cert=FILE)
    assert str(caught.value) == "TLS has a certificate but no key; give both --tls-cert and --tls-key"
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), tls_key=FILE)
    assert str(caught.value) == "TLS has a key but no certificate; give both --tls-cert and --tls-key"
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), client_ca=FILE)
    assert str(caught.value) == (
        "--client-ca asks for certificates of clients, which only TLS has; give --tls-cert too"
    )


def test_with_keys_and_tls_it_listens_everywhere_and_says_so(
    tmp_path: Path, authority: Authority, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.server().write(tmp_path)
    with (
        caplog.at_level(logging.INFO),
        serving(host="0.0.0.0", keys=folder, tls_cert=certificate, tls_key=key) as server,
    ):
        value = f"Bearer {OLD.secondary}"
        assert ask(server, PREDICT, value, credentials=trusting(authority))[0] is grpc.StatusCode.OK
    assert caplog.messages[0] == (f"serving affine on 0.0.0.0:{server.port}, device affine, with keys and TLS")


@pytest.mark.parametrize(
    ("secured", "text"),
    [
        ((), "listening on 0.0.0.0 with no keys and no TLS: whoever reaches it can use the service"),
        (("tls",), "listening on 0.0.0.0 with no keys: whoever reaches it can use the service"),
        (
            ("keys",),
            "listening on 0.0.0.0 with no TLS: whoever is on the way can read keys, requests and answers",
        ),
    ],
)
def test_what_is_insecure_is_warned_about(
    tmp_path: Path,
    authority: Authority,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    secured: tuple[str, ...],
    text: str,
) -> None:
    options: dict[str, Any] = {"keys": folder} if "keys" in secured else {}
    if "tls" in secured:
        options["tls_cert"], options["tls_key"] = authority.server().write(tmp_path)
    with serving(host="0.0.0.0", insecure=True, **options), caplog.at_level(logging.WARNING):
        pass
    assert caplog.messages[0] == text
