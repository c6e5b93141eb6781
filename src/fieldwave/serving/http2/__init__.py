"""gRPC over HTTP/2 without TLS, for calls of one message each way; see `fieldwave.serving.http2.server`."""

from fieldwave.serving.http2.server import Http2Server

__all__ = ["Http2Server"]
