"""Clients that mean no good: a thousand that say nothing, a hundred that never end their message.

``python -m tests.flood PORT grpc|http IDLE HALF BYTES`` connects, prints a line of JSON when all that is taken has
been sent, and holds on until its standard input ends.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_STALLED_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0


def main() -> None:
    port, protocol, idle, half, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 1 << 14), limit))
    held = [socket.create_connection(("127.0.0.1", int(port)), timeout=30) for _ in range(idle)]
    sent, outcomes = [0] * half, Counter[str]()
    send = {"grpc": over_grpc, "http": over_http}[protocol]

    def one(number: int) -> None:
        connection = socket.create_connection(("127.0.0.1", int(port)), timeout=_STALLED_SECONDS)
        held.append(connection)
        try:
            sent[number], outcome = send(connection, size)
        except OSError as error:
            outcome = type(error).__name__
        outcomes[outcome] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(half)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"idle": idle, "megabytes": sum(sent) >> 20, "half": dict(outcomes)}), flush=True)
    sys.stdin.read()


def over_http(connection: socket.socket, size: int) -> tuple[int, str]:
    """All but the last byte of a body, as far as it is taken; and what became of it."""
    connection.sendall(b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
    chunk, sent = bytes(1 << 16), 0
    while sent < size - 1:
        try:
            sent += connection.send(chunk[: size - 1 - sent])
        except TimeoutError:
            return sent, "stalled"
        except ConnectionError:
            return sent, "refused"
    connection.settimeout(0.2)
    try:
        return sent, "refused" if connection.recv(1) else "closed"
    except TimeoutError:
        return sent, "held"


def over_grpc(connection: socket.socket, size: int) -> tuple[int, str]:
    """All but the last byte of a message, as far as the server's window and its patience go."""
    session = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    session.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":path": PREDICT, ":authority": "a"}
    session.send_headers(1, [*headers.items(), ("content-type", "application/grpc"), ("te", "trailers")])
    left, sent = b"\0" + size.to_bytes(4, "big"), 0
    rest, end, progress = size - 1, time.monotonic() + _PATIENCE_SECONDS, time.monotonic()
    chunk = bytes(1 << 14)
    while (left or rest) and time.monotonic() < end:
        room = min(session.local_flow_control_window(1), session.max_outbound_frame_size)
        if room > 0:
            data = left or chunk[: min(room, rest)]
            session.send_data(1, data[:room])
            sent += len(data[:room])
            if left:
                left = left[room:]
            else:
                rest -= len(data)
            progress = time.monotonic()
        connection.settimeout(_STALLED_SECONDS)
        connection.sendall(session.data_to_send())
        connection.settimeout(0.0 if room > 0 and rest else 0.2)
        try:
            received = connection.recv(1 << 16)
        except (BlockingIOError, TimeoutError):
            if time.monotonic() - progress > _STALLED_SECONDS:
                return sent, "stalled"
            continue
        if not received:
            return sent, "closed"
        for event in session.receive_data(received):
            if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                return sent, "refused"
        progress = time.monotonic()
    return sent, "held"


SERVICE = """
import sys
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

options = ServeOptions(package=package(), grpc_port=0, http_port=0, receive_seconds=float(sys.argv[1]))
serve(options, device=Affine(), ready=lambda server: print(server.port, server.http_port, flush=True))
"""


class Flooded:
    """A service in a process of its own, and who floods it.

    Parameters:
        receive_seconds: how long a message may take to arrive.
    """

    def __init__(self, receive_seconds: float) -> None:
        self._service = _python("-c", SERVICE, str(receive_seconds))
        self.port, self.http_port = map(int, _line(self._service).split())

    def ports(self) -> dict[str, int]:
        return {"grpc": self.port, "http": self.http_port}

    def megabytes(self) -> int:
        """That the service has in memory."""
        status = Path(f"/proc/{self._service.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) >> 10

    @contextmanager
    def flood(self, protocol: str, idle: int, half: int, size: int = 15 << 20) -> Iterator[dict[str, Any]]:
        """What has been sent, by clients who hold on in this context; with the most memory meanwhile."""
        with _python(
            "-m", "tests.flood", str(self.ports()[protocol]), protocol, *map(str, (idle, half, size))
        ) as one:
            with ThreadPoolExecutor(1) as pool:
                said, most = pool.submit(_line, one), 0
                while not said.done():
                    most = max(most, self.megabytes())
                    time.sleep(0.02)
            yield {**json.loads(said.result()), "most_megabytes": max(most, self.megabytes())}
            one.communicate()

    def __enter__(self) -> Flooded:
        return self

    def __exit__(self, *exception: object) -> None:
        self._service.terminate()
        self._service.communicate(timeout=60)
        assert self._service.returncode == 0


def _python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


if __name__ == "__main__":
    main()
