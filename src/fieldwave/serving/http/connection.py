"""One connection: requests in, one at a time, responses out."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import h11

from fieldwave.serving.call import client_of
from fieldwave.serving.http.exchange import Head, HttpCall, Refusal, Response, Route

if TYPE_CHECKING:
    from fieldwave.serving.http.http_server import HttpServer

__all__ = ["Connection"]

_IDLE_SECONDS = 60.0
"""How long a connection is kept between two requests."""
_LINGER_SECONDS = 1.0
"""How long what a refused client still sends is thrown away: to close at once would destroy the refusal."""


class Connection(asyncio.Protocol):
    """What a client sends is bounded in time and size before it is read, and read only if it may be answered."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._h11 = h11.Connection(h11.SERVER)
        self._transport: Any = None
        self._client = ""
        self._timer: asyncio.TimerHandle | None = None
        self._lingering = False
        self._last = False
        self._size = 0
        self._clear()

    @property
    def idle(self) -> bool:
        """Whether it is between two requests."""
        return self._route is None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer is not None:
            host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
            self._client = client_of(f"{'ipv6' if ':' in peer[0] else 'ipv4'}:{host}:{peer[1]}")
        if self._server.enter(self):
            self._wait(self._server.patience)
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.leave(self)
        self._wait(None)
        if self._call is not None:
            self._call.lost = True
        self._clear()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError:
            self._transport.abort()
            return
        if self._answering:
            self._transport.pause_reading()  # who sends the next request already must not fill the memory
        else:
            self._advance()
            if pause := self._server.pause(self):
                self._transport.pause_reading()
                asyncio.get_running_loop().call_later(pause, self._resume)

    def _resume(self) -> None:
        if not self._answering and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._writing = True

    def resume_writing(self) -> None:
        self._writing = False
        if not self._answering and self._sent:
            self._go_on()

    @property
    def receiving(self) -> int:
        """Bytes of a body that is still to be received to its end."""
        return 0 if self._answering or self._lingering else self._size

    def make_room(self, refusal: Refusal) -> None:
        """Give up what is being received."""
        self._refuse(refusal)

    def finish(self) -> None:
        """Close when the request in hand, if there is one, has been answered."""
        if self.idle and not self._lingering:
            self._transport.close()
        self._last = True

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _clear(self) -> None:
        self._head: Head | None = None
        self._route: Route | None = None
        self._call: HttpCall | None = None
        self._parts: list[bytes | bytearray] = []
        self._answering = False
        self._sent = False
        self._writing = False
        size, self._size = self._size, 0
        self._server.hold(-size)  # the last, when nothing holds them any more

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _advance(self) -> None:
        if self._answering or self._lingering or self._transport.is_closing():
            return
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._add(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                    return
                else:
                    if self._h11.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
                    return
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint if error.error_status_hint in (400, 413, 431, 501) else 400
            self._refuse(Refusal(status, "the request is not HTTP/1.1 as it is understood here"))
        except Refusal as refusal:
            self._refuse(refusal)

    def _begin(self, event: h11.Request) -> None:
        self._wait(self._server.patience)
        headers: dict[str, list[str]] = {}
        for name, value in event.headers:
            headers.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
        target, _, query = bytes(event.target).partition(b"?")
        path = unquote_to_bytes(target).decode("utf-8", "replace")
        self._head = head = Head(event.method.decode("ascii"), path, headers, query.decode("latin-1"))
        self._route = route = self._server.route(head)
        if head.header("content-encoding") not in (None, "identity"):
            raise Refusal(415, "compressed bodies are not read; send it as it is")
        length = head.header("content-length")
        if length is not None and int(length) > route.max_bytes:
            raise _too_large(route)

    def _add(self, data: bytes | bytearray) -> None:
        assert self._route is not None
        if self._size + len(data) > self._route.max_bytes:
            raise _too_large(self._route)
        self._server.hold(len(data), self)
        self._size += len(data)
        self._parts.append(data)

    def _answer(self) -> None:
        assert self._head is not None and self._route is not None
        self._wait(None)
        self._answering = True
        self._call = HttpCall(self._head, self._client)
        body = b"".join(self._parts)
        self._parts = []
        self._server.answer(self._route, body, self._call, self._respond)

    def _refuse(self, refusal: Refusal) -> None:
        route = self._route
        self._parts = []
        size, self._size = self._size, 0
        self._server.hold(-size)
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._transport.abort()
            return
        self._server.refused(route.protocol if route is not None else "http", refusal.code)
        body = json.dumps({"error": str(refusal)}).encode() + b"\n"
        headers = (("content-type", "application/json"), *refusal.headers, ("connection", "close"))
        # Before the lingering begins: what h11 refuses afterwards is not sent.
        self._write(Response(refusal.status, (body,), headers))
        self._lingering = True
        self._wait(_LINGER_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _respond(self, response: Response) -> None:
        if self._call is None or self._transport.is_closing():
            return  # the client has gone
        self._write(response)
        self._answering = False
        self._sent = True
        if self._writing:
            self._wait(self._server.patience)  # who does not read what was asked for does not stay
        else:
            self._go_on()

    def _write(self, response: Response) -> None:
        size = sum(map(len, response.body))
        headers = [("date", _date()), *response.headers]
        if response.status != HTTPStatus.NOT_MODIFIED:  # its length would be that of what is not sent
            headers.append(("content-length", str(size)))
        if self._last:
            headers.append(("connection", "close"))
        reason = HTTPStatus(response.status).phrase
        self._send(h11.Response(status_code=response.status, headers=headers, reason=reason))
        if self._head is None or self._head.method != "HEAD":
            for part in response.body:
                self._send(h11.Data(data=part))  # type: ignore[arg-type]
        self._send(h11.EndOfMessage())

    def _send(self, event: Any) -> None:
        parts = self._h11.send_with_data_passthrough(event)
        if parts:
            self._transport.writelines(parts)

    def _go_on(self) -> None:
        """To the next request on this connection."""
        self._clear()
        if self._last or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._wait(_IDLE_SECONDS)
        self._transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._advance)


def _too_large(route: Route) -> Refusal:
    if not route.max_bytes:
        return Refusal(413, "this request has no body; leave it out", code="RESOURCE_EXHAUSTED")
    return Refusal(413, f"the body is larger than {route.max_bytes} bytes", code="RESOURCE_EXHAUSTED")


_stamp = (0, "")


def _date() -> str:
    global _stamp
    now = int(time.time())
    if _stamp[0] != now:
        _stamp = (now, email.utils.formatdate(now, usegmt=True))
    return _stamp[1]
