"""Who may call a service, who may listen in, and what a service refuses to do without keys and TLS."""

from __future__ import annotations

import contextlib
import functools
import hmac
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.keys import Keys, read_keys, regenerate_key, sign_token, write_keys
from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.authentication import Authentication
from fieldwave.wire.messages import GetModelMetadataRequest
from fieldwave.wire.requests import encode_request
from tests.certificates import Authority, Pair, encrypted
from tests.served import Affine, package, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CHECK = "/grpc.health.v1.Health/Check"
REQUESTS = {
    PREDICT: encode_request({"images": tensor()}),
    "/tensorflow.serving.PredictionService/GetModelMetadata": GetModelMetadataRequest(
        metadata_field=["manifest"]
    ).SerializeToString(),
    "/grpc.health.v1.Health/Watch": b"",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": reflection_pb2.ServerReflectionRequest(
        list_services=""
    ).SerializeToString(),
    "/tensorflow.serving.PredictionService/NoSuchMethod": b"",
    "/no.such.Service/Method": b"",
}
ANSWERED = list(REQUESTS)[:4]

NO_KEY = "this service wants a key: send the metadata 'authorization: Bearer KEY'"
MALFORMED = "the metadata 'authorization' is not of the form 'Bearer KEY'"
WRONG = "the key is none of this service's keys; it may have been regenerated"
OLD = Keys.generate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of which the primary has been regenerated: `OLD` has the one before."""
    path = tmp_path_factory.mktemp("secret") / "keys"
    write_keys(path, OLD)
    regenerate_key(path, "primary")
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(keys=folder) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextlib.contextmanager
def opened(server: Server, credentials: grpc.ChannelCredentials | None = None) -> Iterator[grpc.Channel]:
    address = f"127.0.0.1:{server.port}"
    # Channels in one process would else share a connection, and its handshake.
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        with grpc.insecure_channel(address, options) as channel:
            yield channel
    else:
        with grpc.secure_channel(address, credentials, options) as channel:
            yield channel


def ask(
    server: Server,
    method: str = PREDICT,
    *authorization: str,
    credentials: grpc.ChannelCredentials | None = None,
) -> tuple[grpc.StatusCode, str]:
    """The status of a call with these values of the metadata ``authorization``."""
    metadata = [("authorization", value) for value in authorization]
    with opened(server, credentials) as channel:
        call = channel.stream_stream(method)(iter([REQUESTS.get(method, b"")]), metadata=metadata, timeout=10)
        try:
            next(call)
            call.cancel()
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


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
    for value in (sign_token(keys).value, sign_token(OLD).value):
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


# ---- TLS


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
