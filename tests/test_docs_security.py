"""docs/security.md keeps its word: its shell and its Python run as they stand, its commands and options exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.client import PredictionClient
from fieldwave.errors import InputError
from fieldwave.serving import ServeOptions
from tests.served import affine, package, serving, tensor

TEXT = (Path(__file__).parent.parent / "docs" / "security.md").read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: apt-get install openssl")
def test_the_certificates_and_keys_made_here_serve_and_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    program = f"{sys.executable} -m fieldwave"
    done = subprocess.run(
        ["sh", "-ec", shell.replace("\nfieldwave ", f"\n{program} ")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    with serving(host="0.0.0.0", keys=Path("keys"), tls_cert=Path("tls.crt"), tls_key=Path("tls.key")) as server:
        names: dict[str, PredictionClient] = {}
        exec(python.replace("50051", str(server.port)), names)
        with names["client"] as client:
            assert np.array_equal(client.score_numpy_arrays({"images": tensor()}), affine(tensor()))


def test_the_refusal_is_the_one_that_is_shown() -> None:
    with pytest.raises(InputError) as caught:
        ServeOptions(package=package(), host="0.0.0.0")
    assert f"$ fieldwave serve rn50.zip --host 0.0.0.0\nerror: {caught.value}\n" in TEXT


def test_the_commands_their_options_and_their_variables_exist() -> None:
    shown = ""
    for command in ("serve", "predict", "keys create", "keys regenerate", "keys token", "services token"):
        assert f"fieldwave {command}" in TEXT
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0
        shown += result.stdout
    for option in set(re.findall(r"(?<!`)(--[a-z]+(?:-[a-z]+)*)", TEXT)) | set(
        re.findall(r"FIELDWAVE_[A-Z_]+", TEXT)
    ):
        assert option in shown, option
