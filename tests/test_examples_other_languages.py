"""The clients in other languages, built by their own tools and run against a real service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldwave
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.serving import ServeOptions, Server
from fieldwave.zoo import digit_png, digits_images

EXAMPLES = Path(__file__).parent.parent / "examples"
PROTOS = Path(fieldwave.__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(digits: Conversion) -> Iterator[Server]:
    with Server(ServeOptions(package=digits.path, grpc_port=0)) as running:
        yield running


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    path.write_bytes(digit_png(digits_images().heldout_images[0]))
    return path


def run(*command: str | Path, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PROTOS": str(PROTOS), "DOTNET_CLI_TELEMETRY_OPTOUT": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / name, folder / name))


def check_answers(printed: str, server: Server, image: Path) -> None:
    with PredictionClient("127.0.0.1", server.port) as client:
        scores, labels = client.score_image(image.read_bytes()), client.labels()
    order = np.argsort(-scores, kind="stable")[:5]
    answers: list[dict[str, Any]] = [json.loads(line) for line in printed.splitlines()]
    assert [answer["protocol"] for answer in answers] == ["predict", "infer"]
    for answer in answers:
        assert [one["index"] for one in answer["top"]] == order.tolist()
        assert [np.float32(one["score"]) for one in answer["top"]] == scores[order].tolist()
        assert [one["label"] for one in answer["top"]] == [labels[index] for index in order]


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node and npm: apt-get install nodejs npm")
def test_the_client_for_node(server: Server, image: Path, tmp_path: Path) -> None:
    folder = copied("node", tmp_path)
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    done = run("node", "predict.js", f"127.0.0.1:{server.port}", image, folder=folder)
    check_answers(done.stdout, server, image)
    image.write_bytes(b"no image")
    refused = run("node", "predict.js", f"127.0.0.1:{server.port}", image, folder=folder, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: 3 INVALID_ARGUMENT: ") and refused.stdout == ""


@pytest.mark.skipif(shutil.which("dotnet") is None, reason="needs the .NET SDK, 8 or newer: dotnet")
def test_the_client_for_dotnet(server: Server, image: Path, tmp_path: Path) -> None:
    folder = copied("csharp", tmp_path)
    done = run("dotnet", "run", "--", f"127.0.0.1:{server.port}", image, folder=folder)
    check_answers(done.stdout, server, image)
