"""Conversations of HTTP/2 that break its rules, beside a client that keeps them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.random import Generator

from fieldwave.serving import Server
from fieldwave.serving.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    Code,
    Kind,
    Setting,
    frame,
    reset,
    settings,
    window_update,
)  # fmt: skip
from fieldwave.wire.requests import encode_request
from tests.served import affine, own, serving, settled, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUEST = encode_request({"images": tensor()})
MESSAGE = b"\0" + len(REQUEST).to_bytes(4, "big") + REQUEST


def head(path: bytes = PREDICT.encode(), *more: tuple[bytes, bytes]) -> bytes:
    """A header block without a table."""
    block = b"\x83\x86"  # POST, http
    fields = (
        (b":path", path),
        (b":authority", b"test"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    for name, value in (*fields, *more):
        block += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return block


def call(stream: int = 1, flags: int = END_HEADERS) -> list[bytes]:
    return [
        frame(Kind.HEADERS, flags, stream, head()),
        frame(Kind.DATA, END_STREAM, stream, MESSAGE),
    ]


def said(server: Server, frames: list[bytes], *, preface: bytes = PREFACE) -> list[tuple[int, int, int, bytes]]:
    """What the server answers until it closes, as kinds, flags, streams and payloads of its frames."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        data = b""
        try:
            client.sendall(preface + settings({}) + b"".join(frames))
            client.shutdown(socket.SHUT_WR)
            while more := client.recv(1 << 16):
                data += more
        except OSError as error:
            assert not isinstance(error, TimeoutError)
    found = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", data[3:9])
        found.append((kind, flags, stream, data[9 : 9 + size]))
        data = data[9 + size :]
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


BIG = frame(Kind.HEADERS, 0, 1, bytes(16_000))
BROKEN: dict[str, tuple[list[bytes], Code]] = {
    "data of no stream": ([frame(Kind.DATA, 0, 1, b"x")], Code.PROTOCOL_ERROR),
    "data of the connection": ([frame(Kind.DATA, 0, 0, b"x")], Code.PROTOCOL_ERROR),
    "an even stream": ([frame(Kind.HEADERS, END_HEADERS, 2, head())], Code.PROTOCOL_ERROR),
    "headers that nobody can read": (
        [frame(Kind.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff")], Code.COMPRESSION_ERROR,
    ),
    "headers without an end": (
        [BIG, frame(Kind.CONTINUATION, 0, 1, bytes(16_000))], Code.ENHANCE_YOUR_CALM,
    ),
    "headers that another frame interrupts": (
        [frame(Kind.HEADERS, 0, 1, head()), frame(Kind.PING, 0, 0, bytes(8))], Code.PROTOCOL_ERROR,
    ),
    "a continuation of nothing": ([frame(Kind.CONTINUATION, 0, 1, b"")], Code.PROTOCOL_ERROR),
    "more padding than frame": (
        [frame(Kind.HEADERS, END_HEADERS | PADDED, 1, b"\xff" + head())], Code.PROTOCOL_ERROR,
    ),
    "more padding than data": ([call()[0], frame(Kind.DATA, PADDED, 1, b"\x09abc")], Code.PROTOCOL_ERROR),
    "a priority that is cut off": (
        [frame(Kind.HEADERS, END_HEADERS | PRIORITY, 1, b"abc")], Code.FRAME_SIZE_ERROR,
    ),
    "settings that are cut off": ([frame(Kind.SETTINGS, 0, 0, b"abc")], Code.FRAME_SIZE_ERROR),
    "settings of a stream": ([frame(Kind.SETTINGS, 0, 1, b"")], Code.FRAME_SIZE_ERROR),
    "a window that cannot be": ([settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31})], Code.FLOW_CONTROL_ERROR),
    "frames that cannot be": ([settings({Setting.MAX_FRAME_SIZE: 100})], Code.PROTOCOL_ERROR),
    "a window that opens by nothing": ([window_update(0, 0)], Code.PROTOCOL_ERROR),
    "a window that is too wide": ([window_update(0, (1 << 31) - 1)], Code.FLOW_CONTROL_ERROR),
    "a ping that is cut off": ([frame(Kind.PING, 0, 0, b"abc")], Code.FRAME_SIZE_ERROR),
    "a reset of no stream": ([reset(7, Code.CANCEL)], Code.PROTOCOL_ERROR),
    "a promise": ([frame(Kind.PUSH_PROMISE, 0, 1, bytes(8))], Code.PROTOCOL_ERROR),
    "a frame that is too large": ([struct.pack(">HBBBI", 0xFFFF, 0xFF, Kind.PING, 0, 0)], Code.FRAME_SIZE_ERROR),
    "pings without an end": ([frame(Kind.PING, 0, 0, bytes(8))] * 5000, Code.ENHANCE_YOUR_CALM),
    "settings without an end": ([settings({})] * 5000, Code.ENHANCE_YOUR_CALM),
    "empty data without an end": ([call()[0], *[frame(Kind.DATA, 0, 1)] * 5000], Code.ENHANCE_YOUR_CALM),
    "calls that are taken back": (
        [part for n in range(5000) for part in (call(2 * n + 1)[0], reset(2 * n + 1, Code.CANCEL))],
        Code.ENHANCE_YOUR_CALM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_who_breaks_the_rules_is_told_which_and_closed(server: Server, name: str) -> None:
    frames, code = BROKEN[name]
    answers = said(server, frames)
    told = [payload for kind, _, _, payload in answers if kind == Kind.GOAWAY]
    # A peer that still sends while it is closed may lose the word.
    assert told or len(frames) > 1000
    assert not told or int.from_bytes(told[0][4:8], "big") == code
    assert settled(lambda: not own(server)._connections)


KEPT: dict[str, tuple[list[bytes], int]] = {
    "a call": (call(), 0),
    "in parts": (
        [call()[0], *[frame(Kind.DATA, 0, 1, MESSAGE[n : n + 1]) for n in range(len(MESSAGE))],
         frame(Kind.DATA, END_STREAM, 1)], 0,
    ),
    "padded": (
        [frame(Kind.HEADERS, END_HEADERS | PADDED, 1, b"\x03" + head() + bytes(3)),
         frame(Kind.DATA, END_STREAM | PADDED, 1, b"\x05" + MESSAGE + bytes(5))], 0,
    ),
    "with a priority": (
        [frame(Kind.HEADERS, END_HEADERS | PRIORITY, 1, bytes(5) + head()), call()[1]], 0,
    ),
    "with headers in two frames": (
        [frame(Kind.HEADERS, 0, 1, head()[:9]), frame(Kind.CONTINUATION, END_HEADERS, 1, head()[9:]),
         call()[1]], 0,
    ),
    "ended by trailers": (
        [call()[0], frame(Kind.DATA, 0, 1, MESSAGE),
         frame(Kind.HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x01a\x01b")], 0,
    ),
    "with frames of kinds that nobody knows": ([frame(77, 255, 0, b"abc"), *call(), frame(99, 0, 1, b"")], 0),  # type: ignore[arg-type]
    "with a deadline that has passed": (
        [frame(Kind.HEADERS, END_HEADERS, 1, head(PREDICT.encode(), (b"grpc-timeout", b"0S"))), call()[1]], 4,
    ),
    "without a request": ([frame(Kind.HEADERS, END_HEADERS | END_STREAM, 1, head())], 3),
    "cut off": ([call()[0], frame(Kind.DATA, END_STREAM, 1, MESSAGE[:-1])], 13),
    "with a flag that nobody knows": ([call()[0], frame(Kind.DATA, END_STREAM, 1, b"\x07" + MESSAGE[1:])], 13),
    "compressed as nobody does": (
        [frame(Kind.HEADERS, END_HEADERS, 1, head(PREDICT.encode(), (b"grpc-encoding", b"lzma"))),
         frame(Kind.DATA, END_STREAM, 1, b"\x01" + MESSAGE[1:])], 13,
    ),
    "too large": ([call()[0], frame(Kind.DATA, END_STREAM, 1, b"\0\xff\xff\xff\xff")], 8),
    "of no method": ([frame(Kind.HEADERS, END_HEADERS, 1, head(b"/no/thing")), call()[1]], 12),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_calls_as_they_may_be_sent(server: Server, name: str) -> None:
    frames, status = KEPT[name]
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(PREFACE + settings({}) + b"".join(frames))
        data = b""
        wanted = b"\x0bgrpc-status" + bytes([len(str(status))]) + str(status).encode()
        while wanted not in data:
            more = client.recv(1 << 16)
            assert more, data
            data += more


def test_what_is_no_grpc_ends_its_stream_alone(server: Server) -> None:
    get = b"\x82\x86" + head()[2:]
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(PREFACE + settings({}) + frame(Kind.HEADERS, END_HEADERS | END_STREAM, 1, get))
        client.sendall(b"".join(call(3)))
        data = b""
        while b"grpc-status\x010" not in data:
            data += client.recv(1 << 16)
        assert reset(1, Code.PROTOCOL_ERROR) in data


def test_who_speaks_http_1_is_told_where(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        data = b""
        while more := client.recv(1 << 16):
            data += more
    assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert data.endswith(b"this port speaks gRPC; HTTP has a port of its own, if the service was given one\n")


def test_answers_that_are_not_read_are_not_made_without_an_end(server: Server) -> None:
    closed = settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with serving(receive_seconds=0.5) as patient:
        with socket.create_connection(("127.0.0.1", patient.port), 10) as client:
            client.sendall(PREFACE + closed + b"".join(part for n in range(50) for part in call(2 * n + 1)))
            begin = time.monotonic()
            while client.recv(1 << 16):
                pass
            assert time.monotonic() - begin < 9
        assert settled(lambda: not own(patient)._connections and not own(patient)._in_hand)


def conversation(rng: Generator) -> list[bytes]:
    """Frames as clients send them, some of them changed."""
    frames = [settings({Setting.INITIAL_WINDOW_SIZE: int(rng.integers(0, 1 << 20))})]
    for n in range(int(rng.integers(1, 6))):
        begin, data = call(2 * n + 1)
        middle = int(rng.integers(1, len(MESSAGE)))
        parts = (
            frame(Kind.DATA, 0, 2 * n + 1, MESSAGE[:middle]),
            frame(Kind.DATA, END_STREAM, 2 * n + 1, MESSAGE[middle:]),
        )
        frames += [begin, *(parts if rng.integers(2) else (data,))]
        frames += [
            frame(Kind.PING, 0, 0, bytes(8)),
            window_update(0, 1000),
            settings({}),
            frame(Kind.SETTINGS, ACK, 0),
        ][: int(rng.integers(0, 5))]
        if rng.integers(4) == 0:
            frames.append(reset(2 * n + 1, Code.CANCEL))
    for _ in range(int(rng.integers(0, 4))):
        place = int(rng.integers(len(frames)))
        one = bytearray(frames[place]) or bytearray(9)
        match int(rng.integers(6)):
            case 0:
                one[int(rng.integers(len(one)))] = int(rng.integers(256))
            case 1:
                one[int(rng.integers(min(9, len(one))))] ^= 1 << int(rng.integers(8))
            case 2:
                del one[int(rng.integers(len(one))) :]
            case 3:
                one += rng.bytes(int(rng.integers(1, 30)))
            case 4:
                one = bytearray(frames[int(rng.integers(len(frames)))])
            case 5:
                one = bytearray()
        frames[place] = bytes(one)
    return frames


def beside_a_good_client(server: Server, count: int, seed: int) -> None:
    stop, wrong, right = threading.Event(), [], [0]
    expected = affine(tensor()).tobytes()

    def ask() -> None:
        from fieldwave.client import PredictionClient

        with PredictionClient(f"127.0.0.1:{server.port}") as client:
            while not stop.is_set():
                if client.score_numpy_arrays({"images": tensor()}).tobytes() != expected:
                    wrong.append(right[0])
                right[0] += 1
                time.sleep(0.002)

    good = threading.Thread(target=ask)
    good.start()
    rng = np.random.default_rng(seed)
    try:
        for _ in range(count):
            preface = PREFACE if rng.integers(20) else rng.bytes(24)
            said(server, conversation(rng), preface=preface)
    finally:
        stop.set()
        good.join()
    assert right[0] > count // 100
    assert not wrong
    assert settled(lambda: not own(server)._connections)
    assert not own(server)._partial and not own(server)._in_hand
    assert settled(lambda: own(server)._idle == len(own(server)._threads))
    assert server._models is not None
    assert len(server._models.first.places) == 0


def test_damaged_conversations_harm_nobody(server: Server) -> None:
    beside_a_good_client(server, 300, 0)


@pytest.mark.slow
def test_many_damaged_conversations_harm_nobody(server: Server) -> None:
    beside_a_good_client(server, 20_000, 1)


def test_a_socket_has_the_same_rules(tmp_path: Path) -> None:
    with serving(socket=tmp_path / "s"), grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
        assert channel.unary_unary(PREDICT)(REQUEST, timeout=10)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(tmp_path / "s"))
            client.sendall(PREFACE + frame(Kind.PING, 0, 0, b"abc"))
            data = b""
            while more := client.recv(1 << 16):
                data += more
        assert b"no ping" in data
