"""A complete message to its handler, and what that says to the stream."""

from __future__ import annotations

import logging
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fieldwave.serving.http2.stream import AbortedError, Stream

__all__ = ["answer"]

_log = logging.getLogger(__name__)


def answer(stream: Stream, data: memoryview) -> None:
    """Answer a call whose message is ``data``, or the messages of one that has several, as they come."""
    handler = stream.handler
    try:
        if handler.response_streaming:
            while (message := stream.next_message()) is not None:
                _answer_one_of_several(stream, handler, _read(handler, message))
            return
        result = handler.stream_unary(iter((_read(handler, data),)), stream)
        write = handler.response_serializer
        stream.end(result if write is None or result is None else write(result))
    except AbortedError as error:
        stream.fail(error.code, error.text)
    except DecodeError:
        stream.fail(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
    except Exception as error:
        _log.exception("a call of %s failed", stream.head.path)
        stream.fail(grpc.StatusCode.UNKNOWN, f"Exception calling application: {type(error).__name__}")


def _read(handler: Any, data: memoryview) -> Any:
    return data if handler.request_deserializer is None else handler.request_deserializer(bytes(data))


def _answer_one_of_several(stream: Stream, handler: Any, request: Any) -> None:
    write = handler.response_serializer or (lambda value: value)
    method = handler.stream_stream
    if not getattr(method, "experimental_non_blocking", False):
        for response in method(iter((request,)), stream):
            stream.send(write(response))
        return
    stream.taken = True  # what it says from now on ends when it says so

    def send(response: Any) -> None:
        if response is None:
            stream.end()
        else:
            stream.send(write(response))

    method(iter((request,)), stream, send)
