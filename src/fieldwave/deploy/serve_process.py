"""The serving process of a local service: ``python -m fieldwave.deploy.serve_process FOLDER``."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import FieldwaveError
from fieldwave.processes.report import report

__all__ = ["main"]


def main() -> int:
    folder = ServiceFolder(Path(sys.argv[1]))
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ"
    )
    try:
        _serve(folder)
    except FieldwaveError as error:
        print(f"error: {error}", file=sys.stderr)
        report(str(error))
        return 1
    return 0


def _serve(folder: ServiceFolder) -> None:
    from fieldwave.serving import ServeOptions, serve

    spec = folder.read_spec()
    options = ServeOptions(package=folder.package, device=spec.device, host=spec.host, grpc_port=spec.port)
    serve(options, ready=lambda _: report())


if __name__ == "__main__":
    sys.exit(main())
