"""Clients that are slow, greedy, broken or gone."""

from __future__ import annotations

import gc
import json
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fieldwave.errors import ConflictError, InputError
from fieldwave.serving import ServeOptions, Server
from tests.served import Affine, affine, package, serving, tensor

BODY = json.dumps({"instances": tensor().tolist()}).encode()
HEAD = b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(BODY)
REQUEST = HEAD + b"\r\n" + BODY
ANSWER = json.dumps({"predictions": affine(tensor()).tolist()}, separators=(",", ":")).encode() + b"\n"
READY = b"GET /v2/health/ready HTTP/1.1\r\nhost: a\r\n\r\n"


class Client:
    """A socket, and what came out of it."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.http_port), timeout=10)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self) -> tuple[int, bytes]:
        """Status and body of the next response."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if status == 100:
            assert body == b""
            return status, b""
        size = int(dict(line.split(b": ") for line in head.lower().split(b"\r\n")[1:])[b"content-length"])
        while len(body) < size:
            body += self._some()
        assert len(body) == size
        return status, body

    def closed(self) -> bool:
        """Whether the server closes it, perhaps after a while."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _some(self) -> bytes:
        data = self.socket.recv(1 << 16)
        assert data, "closed too early"
        return data

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(http_port=0) as running:
        yield running


def test_a_connection_serves_one_request_after_another_also_if_they_come_at_once(server: Server) -> None:
    with Client(server) as client:
        for _ in range(3):
            client.send(REQUEST)
            assert client.response() == (200, ANSWER)
        client.send(READY + READY)
        answers = b""
        while answers.count(b'{"ready":true}') < 2:
            answers += client.socket.recv(1 << 16)
        assert answers.count(b"HTTP/1.1 200 OK") == 2


def test_a_request_may_come_byte_by_byte_or_in_chunks(server: Server) -> None:
    with Client(server) as client:
        for byte in REQUEST:
            client.send(bytes([byte]))
        assert client.response() == (200, ANSWER)
        client.send(b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(BODY), 100):
            part = BODY[start : start + 100]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.response() == (200, ANSWER)


def test_who_waits_for_leave_to_send_gets_it_or_the_refusal(server: Server) -> None:
    with Client(server) as client:
        client.send(HEAD + b"expect: 100-continue\r\n\r\n")
        assert client.response() == (100, b"")
        client.send(BODY)
        assert client.response() == (200, ANSWER)
    with Client(server) as client:
        client.send(
            b"POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999\r\nexpect: 100-continue\r\n\r\n"
        )
        assert client.response()[0] == 404


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"hello\r\n\r\n", 400, "the request is not HTTP/1.1 as it is understood here"),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "the request is not HTTP/1.1 as it is understood here"),
        (
            b"GET /v2 HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000,
            431,
            "the request is not HTTP/1.1 as it is understood here",
        ),
        (
            HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n",
            501,
            "the request is not HTTP/1.1 as it is understood here",
        ),
        (
            b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n",
            413,
            "the body is larger than 41943040 bytes",
        ),
        (
            b"GET /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n",
            413,
            "this request has no body; leave it out",
        ),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: Server, data: bytes, status: int, text: str
) -> None:
    with Client(server) as client:
        client.send(data)
        found, body = client.response()
        assert (found, json.loads(body)) == (status, {"error": text})
        assert client.closed()


def test_a_refusal_arrives_though_the_client_goes_on_sending(server: Server) -> None:
    with Client(server) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 30000000\r\n\r\n")
        client.send(bytes(1 << 20))
        assert client.response()[0] == 404


def test_a_body_in_chunks_is_refused_when_it_is_too_large() -> None:
    with serving(http_port=0, max_message_bytes=1000) as server, Client(server) as client:
        client.send(b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        client.send(b"7d0\r\n" + bytes(2000) + b"\r\n")
        assert client.response() == (413, b'{"error": "the body is larger than 1000 bytes"}\n')


def test_clients_together_may_not_fill_the_memory() -> None:
    size = 100_000
    head = b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size
    with serving(http_port=0, max_message_bytes=size, receive_seconds=30) as server:
        clients = [Client(server) for _ in range(8)]
        for client in clients:
            client.send(head + bytes(size - 1))
        deadline = time.monotonic() + 10
        while server._http._held < 8 * (size - 1):  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # One of the largest makes room for the small.
        with Client(server) as client:
            client.send(REQUEST)
            assert client.response() == (200, ANSWER)
        told, _, _ = select.select([client.socket for client in clients], [], [], 10)
        [refused] = [client for client in clients if client.socket in told]
        assert refused.response() == (503, b'{"error": "too much is being received; try again later"}\n')
        for client in clients:
            client.socket.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and server._http._held:  # type: ignore[union-attr]
            time.sleep(0.01)
        with Client(server) as client:
            client.send(REQUEST)
            assert client.response() == (200, ANSWER)


def test_who_says_nothing_or_stops_in_the_middle_is_cut_off() -> None:
    with serving(http_port=0, receive_seconds=0.1) as server:
        for start in (b"", HEAD, HEAD + b"\r\n" + BODY[:-1]):
            with Client(server) as client:
                client.send(start)
                assert client.closed()
        with Client(server) as client:
            client.send(REQUEST)
            assert client.response() == (200, ANSWER)


def test_a_client_that_has_gone_costs_no_run_of_the_device() -> None:
    entered, opened = threading.Event(), threading.Event()

    def gate(run: int) -> None:
        if run == 2:
            entered.set()
            assert opened.wait(30)

    device = Affine(gate)
    with serving(device, http_port=0) as server, Client(server) as first:
        first.send(REQUEST)
        assert entered.wait(10)
        with Client(server) as second:
            second.send(REQUEST)
            while not server._executor.waiting:  # type: ignore[union-attr]
                time.sleep(0.001)
        while len(server._http._connections) > 1:  # type: ignore[union-attr]
            time.sleep(0.001)
        opened.set()
        assert first.response() == (200, ANSWER)
        first.send(REQUEST)
        assert first.response() == (200, ANSWER)
        assert device.runs == 3


def test_many_idle_connections_cost_little_and_hinder_nobody() -> None:
    with serving(http_port=0) as server:
        idle = [Client(server) for _ in range(200)]
        with Client(server) as client:
            client.send(REQUEST)
            assert client.response() == (200, ANSWER)
        for each in idle:
            each.socket.close()


def test_stopping_answers_what_is_in_hand_and_closes_the_rest() -> None:
    entered, opened = threading.Event(), threading.Event()

    def gate(run: int) -> None:
        if run == 2:
            entered.set()
            assert opened.wait(30)

    server = Server(ServeOptions(package=package(), grpc_port=0, http_port=0, grace_seconds=30), Affine(gate))
    server.start()
    with Client(server) as busy, Client(server) as idle:
        busy.send(REQUEST)
        assert entered.wait(10)
        idle.send(READY)
        assert idle.response()[0] == 200
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.closed()
        opened.set()
        assert busy.response() == (200, ANSWER)
        assert busy.closed()
        stopping.join(10)
        assert not stopping.is_alive()
    gc.collect()  # a loop or a socket that was left open would be a warning, and so an error


def test_a_taken_port_and_a_port_for_two_are_said(server: Server) -> None:
    with pytest.raises(ConflictError) as caught:
        Server(ServeOptions(package=package(), grpc_port=0, http_port=server.http_port), Affine()).start()
    assert str(caught.value) == (
        f"port {server.http_port} is in use on 127.0.0.1; choose another with --http-port, or 0 for a free one"
    )
    with pytest.raises(InputError) as refused:
        ServeOptions(package=package(), grpc_port=5000, http_port=5000)
    assert str(refused.value) == "HTTP is to be on port 5000, as something else is; choose two ports"


def test_after_a_flood_memory_is_given_back_once_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = threading.Event()
    monkeypatch.setattr("fieldwave.serving.http.http_server.give_back_memory", given_back.set)
    monkeypatch.setattr("fieldwave.serving.http.http_server._KEPT_BYTES", 150_000)
    size = 100_000
    head = b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size
    with serving(http_port=0) as server:
        first, second = Client(server), Client(server)
        for client, others in ((first, 0), (second, size - 1)):
            client.send(head + bytes(size - 1))
            while server._http._held < others + size - 1:  # type: ignore[union-attr]
                time.sleep(0.001)
        first.socket.close()
        while server._http._held >= size:  # type: ignore[union-attr]
            time.sleep(0.001)
        assert not given_back.is_set()  # the second is still there
        second.socket.close()
        assert given_back.wait(10)
