"""What time does to a connection: who says nothing, reads nothing, or has been there for long."""

from __future__ import annotations

import time

from fieldwave.serving.http2.connection import Connection
from fieldwave.serving.http2.frames import LARGEST_WINDOW

__all__ = ["look_after"]

_KEEPALIVE_SECONDS = 60.0
_PONG_SECONDS = 20.0
_LONG_SECONDS = 0.01
"""A call that was expected to be quick and is not: another thread reads its connection."""
_LINGER_SECONDS = 1.0
"""How long who broke the rules may take to read what was said of it: to close at once would destroy that."""
_LAST_CALLS_SECONDS = 1.0
"""Between the word that a connection ends and its end: calls that were on their way arrive meanwhile."""


def look_after(connection: Connection, now: float, patience: float) -> None:
    """To be called several times in a second.

    Args:
        now: by `time.monotonic`.
        patience: how long the client may take to say hello, to send a message, and to read an answer; seconds.
    """
    if connection.broken:
        if now - connection.broken > _LINGER_SECONDS:
            connection.close()
        return
    if not connection.greeted:
        if now - connection.begun > patience:
            connection.close()
        return
    for stream in tuple(connection.streams.values()):
        if not stream.taken and not stream.busy and (stream.expired() or now - stream.since > patience):
            stream.cancel()
    since = connection.answers_since
    if since and time.perf_counter() - since > _LONG_SECONDS:
        connection.relieve()
    if not connection.unread:
        connection.stuck = 0.0
    elif not connection.stuck:
        connection.stuck = now
    elif now - connection.stuck > patience:
        connection.close()
        return
    _keep_alive(connection, now)
    _grow_old(connection, now)


def _keep_alive(connection: Connection, now: float) -> None:
    """A peer that vanished in the middle of a call must not hold its place."""
    if not connection.streams:
        return
    asked = connection.pinged > connection.heard
    quiet = now - max(connection.heard, connection.pinged)
    if asked and quiet > _PONG_SECONDS:
        connection.close()
    elif not asked and quiet > _KEEPALIVE_SECONDS:
        connection.pinged = now
        connection.ping()


def _grow_old(connection: Connection, now: float) -> None:
    """Its client is told to make another, and finds the replicas that have come since; its calls are finished."""
    if (connection.ending or connection.leaving) and not connection.streams and not connection.unread:
        connection.close()
    elif not connection.ending and now > connection.until + _LAST_CALLS_SECONDS:
        connection.ending = True
        connection.go_away()
    elif now > connection.until and not connection.aged:
        connection.aged = now
        connection.go_away(LARGEST_WINDOW)
