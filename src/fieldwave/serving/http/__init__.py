"""The service over HTTP/1.1: REST of TensorFlow Serving and of the Open Inference Protocol, health, metrics."""

from fieldwave.serving.http.http_server import HttpServer

__all__ = ["HttpServer"]
