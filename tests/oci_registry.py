"""A real registry for tests: Debian's docker-registry, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("docker-registry")
MISSING = "docker-registry is not installed: apt-get install docker-registry"

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: {delete}}}
http: {{addr: "127.0.0.1:{port}"}}
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, *, delete: bool = True, more: str = "") -> Iterator[str]:
    """The address of a registry that keeps its data in ``folder``."""
    assert PROGRAM is not None
    port = free_port()
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(folder=folder, delete=str(delete).lower(), port=port, more=more))
    # REGISTRY_... in the environment would be settings of this registry.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    null = subprocess.DEVNULL
    process = subprocess.Popen([PROGRAM, "serve", str(config)], env=environment, stdout=null, stderr=null)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "the registry did not start"
                assert time.monotonic() < deadline, "the registry does not answer"
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
