"""Keys in the shell: made, replaced, and used to open a service that is run by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.keys import check_token, read_keys


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["keys", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_create_regenerate_token(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert run("create", str(folder)) == (
        0,
        "",
        f"two keys are in {folder}; clients send either\nnext: fieldwave serve PACKAGE --keys {folder}\n",
    )
    keys = read_keys(folder)
    assert run("create", str(folder)) == (
        1,
        "",
        f"error: {folder} is there already; for new keys: fieldwave keys regenerate {folder} primary\n",
    )
    said = f"the secondary key in {folder} is new, the primary key is as it was\n"
    assert run("regenerate", str(folder), "secondary") == (0, "", said)
    new = read_keys(folder)
    assert (new.primary == keys.primary, new.secondary == keys.secondary) == (True, False)
    assert run("regenerate", str(folder), "both") == (
        1,
        "",
        "error: no key is called 'both'; a service has 'primary' and 'secondary'\n",
    )

    code, out, err = run("token", str(folder), "--lifetime", "15m")
    assert code == 0
    check_token(new, out.strip(), now=time.time() + 14 * 60)
    assert re.fullmatch(r"valid until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", err)
    code, out, err = run("token", str(folder), "--json", "-q")
    assert (code, err) == (0, "")
    assert sorted(json.loads(out)) == ["expires", "token"]


@pytest.mark.parametrize("text", ["", "1", "1y", "-1h", "h", "1.5h"])
def test_what_is_no_time_is_refused(tmp_path: Path, text: str) -> None:
    code, out, err = run("token", str(tmp_path), f"--lifetime={text}")
    assert (code, out) == (2, "")
    assert f"{text!r} is no time; write 30s, 15m, 1h or 7d" in " ".join(err.replace("│", "").split())


def serve(file: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    source = Path(fieldwave.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "fieldwave", "serve", str(file), *arguments],
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_serve_refuses_to_be_exposed_also_by_the_environment(tmp_path: Path) -> None:
    with serve(tmp_path / "none.zip", FIELDWAVE_HOST="0.0.0.0", FIELDWAVE_KEYS=str(tmp_path)) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == (
        "error: listening on 0.0.0.0 lets other machines in, but the service has no TLS; give --tls-cert FILE "
        "--tls-key FILE, listen on 127.0.0.1, or type --insecure where a network that you trust is all that "
        "reaches it\n"
    )
