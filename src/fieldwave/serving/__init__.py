"""The data plane: a package on a device, behind the Predict protocol."""

from fieldwave.serving.log import start_logging
from fieldwave.serving.options import ServeOptions
from fieldwave.serving.serve import serve
from fieldwave.serving.server import Server

__all__ = ["ServeOptions", "Server", "serve", "start_logging"]
