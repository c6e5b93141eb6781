"""Connections that last: a name that stands for several replicas, a peer that vanishes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import grpc
import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.client import connection as module
from fieldwave.client.channels import AWAITING, BLOCKING, finish
from fieldwave.client.connection import Connection
from fieldwave.wire.methods import PREDICT
from tests.scripted import scripted
from tests.served import affine, serving, tensor

NAME = "replicas.test"


@contextmanager
def names(addresses: list[str]) -> Iterator[int]:
    """A name server on a free port: `NAME` has ``addresses``, which may change meanwhile (RFC 1035)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, peer = server.recvfrom(512)
                if not query:
                    return
                end = query.index(b"\0", 12) + 5
                found = addresses if struct.unpack(">H", query[end - 4 : end - 2]) == (1,) else []
                answers = b"".join(
                    b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(one) for one in found
                )
                header = query[:2] + struct.pack(">HHHHH", 0x8400, 1, len(found), 0, 0)
                server.sendto(header + query[12:end] + answers, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            thread.join()


@contextmanager
def replica(address: str, calls: list[str], age: int) -> Iterator[int]:
    """A service on ``address`` (host:port) that notes its host; connections live for ``age`` ms."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(address.split(":")[0])
        return b""

    server = grpc.server(
        futures.ThreadPoolExecutor(2), options=[("grpc.max_connection_age_ms", age), ("grpc.so_reuseport", 0)]
    )
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler}),)
    )
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def until(done: Callable[[], bool], step: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "it does not come"
        step()
        time.sleep(0.01)


def test_calls_go_round_the_addresses_of_a_name_and_later_ones_are_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.delenv(variable, raising=False)
    addresses, calls = ["127.0.0.1", "127.0.0.2"], []
    with ExitStack() as stack:
        port = stack.enter_context(replica("127.0.0.1:0", calls, 300))
        stack.enter_context(replica(f"127.0.0.2:{port}", calls, 300))
        server = stack.enter_context(names(addresses))
        connection = Connection(f"dns://127.0.0.1:{server}/{NAME}:{port}", None, timedelta(minutes=2))

        def call() -> None:
            assert finish(connection.call(PREDICT, b"x", 10)) == b""

        until(lambda: set(calls) == {"127.0.0.1", "127.0.0.2"}, call)
        calls.clear()
        for _ in range(10):
            call()
        assert min(map(calls.count, addresses)) >= 3

        stack.enter_context(replica(f"127.0.0.3:{port}", calls, 300))
        addresses.append("127.0.0.3")
        until(lambda: "127.0.0.3" in calls, call)
        finish(connection.close())


class Proxy:
    """Passes bytes on to a port, until it is frozen: then it says nothing, and does not hang up."""

    def __init__(self, port: int) -> None:
        self.frozen = threading.Event()
        self.accepted = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._target = port
        self._sockets = [self._listening]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, function: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=function, args=arguments)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            self._start(self._pass, near, far)
            self._start(self._pass, far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.frozen.is_set():
                    target.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)


@pytest.mark.parametrize("channels", [BLOCKING, AWAITING], ids=["blocking", "awaiting"])
def test_a_peer_that_vanishes_in_a_call_is_noticed_long_before_the_deadline(
    channels: module.Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = {name: 200 for name, _ in module._OPTIONS if "keepalive" in name or "ping" in name}
    assert len(faster) == 3
    monkeypatch.setattr(
        module, "_OPTIONS", tuple((name, faster.get(name, value)) for name, value in module._OPTIONS)
    )
    with scripted(Predict=lambda *_: b"") as script:
        proxy = Proxy(script.port)
        connection = Connection(f"127.0.0.1:{proxy.port}", None, timedelta(minutes=2), channels=channels)

        async def use() -> float:
            assert await connection.call(PREDICT, b"x", 10) == b""
            proxy.frozen.set()
            begin = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                await connection.call(PREDICT, b"x", 60)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await connection.close()
            return time.monotonic() - begin

        waited = finish(use()) if channels is BLOCKING else asyncio.run(use())
        assert waited < 15
        proxy.close()


def test_no_call_is_lost_when_a_service_ends_connections_for_their_age() -> None:
    with serving(max_connection_age_seconds=0.2) as server:
        proxy = Proxy(server.port)
        with PredictionClient("127.0.0.1", proxy.port) as client:
            end = time.monotonic() + 20
            while proxy.accepted < 3:
                assert time.monotonic() < end, "the connection stays"
                assert np.array_equal(client.score_numpy_arrays({"images": tensor()}), affine(tensor()))
        proxy.close()
