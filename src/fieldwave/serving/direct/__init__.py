"""gRPC's wire without gRPC's library: one thread from the first byte of a request to the last of its answer."""

from fieldwave.serving.direct.direct_server import DirectServer
from fieldwave.serving.direct.methods import DirectMethods

__all__ = ["DirectMethods", "DirectServer"]
