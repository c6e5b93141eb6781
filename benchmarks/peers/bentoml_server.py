"""BentoML: ``python bentoml_server.py GRPC_PORT HTTP_PORT FOLDER``; it speaks HTTP, and takes files."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType
from do_nothing import SHAPE, of_image, of_tensor

File = Annotated[Path, ContentType("application/octet-stream")]


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Nothing:
    @bentoml.api
    def pixels(self, file: File, /) -> bytes:
        return of_tensor(np.frombuffer(file.read_bytes(), np.uint8).reshape(SHAPE)).tobytes()

    @bentoml.api
    def tensor(self, file: File, /) -> bytes:
        return of_tensor(np.frombuffer(file.read_bytes(), np.float32).reshape(SHAPE)).tobytes()

    @bentoml.api
    def image(self, file: File, /) -> bytes:
        return of_image(file.read_bytes()).tobytes()


if __name__ == "__main__":
    _, http_port, _ = sys.argv[1:]
    bentoml_command = Path(sys.executable).with_name("bentoml")
    arguments = ["serve", "bentoml_server:Nothing", "--host", "127.0.0.1", "--port", http_port]
    sys.exit(subprocess.call([bentoml_command, *arguments], cwd=Path(__file__).parent))
