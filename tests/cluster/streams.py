"""What goes both ways over one connection: commands in a pod, and forwarded ports, as WebSockets (RFC 6455).

The channels are those of Kubernetes' ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``: the first byte of a message
says which one it belongs to.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

__all__ = ["WebSocket", "forward_port", "run_command"]

_OUTPUT, _ERRORS, _RESULT = b"\x01", b"\x02", b"\x03"
_CHUNK = 1 << 16


class WebSocket:
    """The server's side of a connection that a request wants to be one."""

    def __init__(self, handler: BaseHTTPRequestHandler, protocols: tuple[str, ...]) -> None:
        offered = [one.strip() for one in handler.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        chosen = next(one for one in offered if one in protocols)
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        accepted = generate_accept_token(handler.headers["Sec-WebSocket-Key"].encode())
        handler.send_header("Sec-WebSocket-Accept", accepted)
        handler.send_header("Sec-WebSocket-Protocol", chosen)
        handler.end_headers()
        handler.wfile.flush()
        handler.close_connection = True
        self._socket = handler.connection
        self._protocol = Connection(ConnectionType.SERVER)
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock:
            self._socket.sendall(self._protocol.send(BytesMessage(data)))

    def close(self) -> None:
        with suppress(OSError, LocalProtocolError), self._lock:
            self._socket.sendall(self._protocol.send(CloseConnection(CloseReason.NORMAL_CLOSURE)))

    def messages(self) -> Iterator[bytes]:
        """What the other side sends, until it ends."""
        waiting = b""
        while data := self._received():
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                if isinstance(event, CloseConnection):
                    return
                if isinstance(event, Ping):
                    with self._lock:
                        self._socket.sendall(self._protocol.send(event.response()))
                if isinstance(event, BytesMessage):
                    waiting += event.data
                    if event.message_finished:
                        yield waiting
                        waiting = b""

    def _received(self) -> bytes:
        with suppress(OSError):
            return self._socket.recv(_CHUNK)
        return b""


def run_command(web: WebSocket, run: Callable[[], tuple[int, bytes, bytes]]) -> None:
    """Both outputs of a command, and how it ended."""
    code, output, errors = run()
    for channel, data in ((_OUTPUT, output), (_ERRORS, errors)):
        for start in range(0, len(data), _CHUNK):
            web.send(channel + data[start : start + _CHUNK])
    result: dict[str, object] = {"metadata": {}, "status": "Success"}
    if code:
        causes = [{"reason": "ExitCode", "message": f"{code}"}]
        message = f"command terminated with non-zero exit code: exit status {code}"
        result |= {"status": "Failure", "reason": "NonZeroExitCode", "message": message}
        result["details"] = {"causes": causes}
    web.send(_RESULT + json.dumps(result).encode())
    web.close()


def forward_port(web: WebSocket, port: int, connect: Callable[[], socket.socket]) -> None:
    """One connection to a port: bytes on channel 0, an error's text on 1; each begins with the port's number."""
    for channel in (b"\x00", b"\x01"):
        web.send(channel + port.to_bytes(2, "little"))
    try:
        there = connect()
    except OSError as error:
        web.send(b"\x01" + f"error forwarding port {port}: {error}".encode())
        return web.close()

    def answer() -> None:
        with suppress(OSError, LocalProtocolError):
            while data := there.recv(_CHUNK):
                web.send(b"\x00" + data)
        web.close()

    with there:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with suppress(OSError):
            for message in web.messages():
                there.sendall(message[1:])
            there.shutdown(socket.SHUT_RDWR)
        thread.join()
