"""The published client package of the retired service, unchanged, against our server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.serving import ServeOptions, Server

ENVIRONMENT = Path(__file__).parents[1] / ".venv-published"
PACKAGES = ["azureml-accel-models==1.62.0", "tensorflow-cpu==2.21.*", "setuptools<81"]
WITHOUT_DEPENDENCIES = ["tensorflow-serving-api==2.21.0"]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with that package; made once."""
    interpreter = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / "installed"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        for options in (PACKAGES, ["--no-deps", *WITHOUT_DEPENDENCIES]):
            result = subprocess.run(
                [interpreter, "-m", "pip", "install", "-q", *options], capture_output=True, text=True
            )
            if result.returncode:
                pytest.skip(f"the published client cannot be installed: {result.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return interpreter


@pytest.mark.slow
def test_the_published_client_scores_a_file(python: Path, digits: Conversion, tmp_path: Path) -> None:
    image = tmp_path / "digit.png"
    image.write_bytes(zoo.digit_png(zoo.digits_images().heldout_images[0]))
    with Server(ServeOptions(package=digits.package, grpc_port=0)) as server:
        with PredictionClient("127.0.0.1", server.port) as client:
            metadata = client.metadata()
            ours = client.score_file(image)
        for input_name in (metadata.inputs[0].name, "images"):
            command = [
                python,
                Path(__file__).with_name("published_client.py"),
                str(server.port),
                image,
                input_name,
            ]
            output = metadata.outputs[0].name
            result = subprocess.run([*command, output], capture_output=True, text=True, timeout=120, check=True)
            dtype, size, floats = result.stdout.splitlines()[-1].split(" ")
            assert size == f"({len(ours)},)"
            assert np.array_equal(np.frombuffer(bytes.fromhex(floats), dtype), ours)
