"""Calls that come together, beside answers that nobody reads and uploads that end in their middle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fieldwave.serving.http2 import Http2Server
from fieldwave.serving.http2.frames import (
    END_HEADERS,
    END_STREAM,
    PREFACE,
    Code,
    Kind,
    Setting,
    frame,
    reset,
    settings,
    window_update,
)
from fieldwave.serving.receiving import Receiving
from tests.served import settled
from tests.test_serving_http2_damaged import head

WIDE = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1 << 30}) + window_update(0, 1 << 30)


class Echo(grpc.GenericRpcHandler):
    """Answers with as many bytes as the message says, and keeps which calls have begun."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []

    def service(self, details: Any) -> Any:
        return grpc.stream_unary_rpc_method_handler(self.answer)

    def answer(self, requests: Iterator[Any], context: Any) -> bytes:
        data = bytes(next(requests))
        self.begun.append(data[:1])
        return bytes(int(data[1:]))


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[tuple[Echo, str]]:
    handler, path = Echo(), str(tmp_path / "socket")
    server = Http2Server(calls=64, largest_message=1 << 26, receiving=Receiving(100, 20), patience=20, age=100)
    server.add_generic_rpc_handlers([handler])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield handler, path
    assert server.stop(1).wait(10)


def connected(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(path)
    client.sendall(WIDE)
    return client


def message(data: bytes) -> bytes:
    return b"\0" + len(data).to_bytes(4, "big") + data


def call(stream: int, data: bytes) -> bytes:
    begin = frame(Kind.HEADERS, END_HEADERS, stream, head(b"/any/Method"))
    return begin + frame(Kind.DATA, END_STREAM, stream, message(data))


def test_calls_begin_while_an_answer_before_them_is_not_read(echo: tuple[Echo, str]) -> None:
    handler, path = echo
    with connected(path) as client:
        client.sendall(call(1, b"A100000"))
        assert settled(lambda: handler.begun == [b"A"])
        client.sendall(call(3, b"B1") + call(5, b"C1") + call(7, b"D1"))
        assert settled(lambda: sorted(handler.begun) == [b"A", b"B", b"C", b"D"])


def test_a_deadline_in_the_middle_of_an_upload_ends_that_call_alone(echo: tuple[Echo, str]) -> None:
    handler, path = echo
    body = message(b"\1" * (60 << 20))
    with connected(path) as client:
        threading.Thread(target=read_all, args=(client,), daemon=True).start()
        begin, stream = time.monotonic(), 1
        while time.monotonic() - begin < 1.0:
            timed = head(b"/any/Method", (b"grpc-timeout", b"20m"))
            client.sendall(frame(Kind.HEADERS, END_HEADERS, stream, timed))
            end = time.monotonic() + 0.15  # the deadline is looked at ten times in a second
            for place in range(0, len(body) - (1 << 20), 1 << 20):  # it never comes to its end
                if time.monotonic() < end:
                    client.sendall(frame(Kind.DATA, 0, stream, body[place : place + (1 << 20)]))
            client.sendall(reset(stream, Code.CANCEL))
            stream += 2
        assert stream > 3
        client.sendall(call(stream, b"E1"))
        assert settled(lambda: handler.begun == [b"E"])


def read_all(client: socket.socket) -> None:
    try:
        while client.recv(1 << 16):
            pass
    except OSError:
        pass
