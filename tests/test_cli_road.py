"""The road in the shell: convert, serve, deploy, predict, each a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import fieldwave
from fieldwave import zoo
from fieldwave.deploy import LocalTarget
from fieldwave.workspace import Workspace

IMAGES = 6


class Shell:
    """A project's folder, and the command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = Path(fieldwave.__file__).parents[1]
        self._environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "100"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "fieldwave", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("project")
    (folder / "fieldwave.toml").touch()
    (folder / "photos").mkdir()
    digits = zoo.digits_images()
    for number in range(IMAGES):
        (folder / "photos" / f"{number}.png").write_bytes(zoo.digit_png(digits.heldout_images[number]))
    return Shell(folder)


@pytest.fixture(scope="module")
def package(shell: Shell) -> str:
    command = ("convert", "digits", "--calibration", "photos", "--output")
    code, out, err = shell.run(*command, "digits.zip")
    assert code == 0
    assert err.endswith("next: fieldwave services deploy digits.zip --name digits\n")  # progress, if it takes long
    assert out.startswith("digits.zip  0.")
    assert f"float against int8 on {IMAGES} images\n" in out
    assert len(re.findall(r"^ +\d+\.\d dB  digits/", out, re.MULTILINE)) == 3

    code, out, err = shell.run(*command, "again.zip", "--json", "--quiet")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["path"] == "again.zip"
    assert made["report"]["images"] == IMAGES
    assert (shell.folder / "again.zip").read_bytes() == (shell.folder / "digits.zip").read_bytes()
    return "digits.zip"


def best(out: str) -> list[int]:
    """The label of the first class under each image."""
    return [int(line.split()[-1]) for line in re.findall(r"\.png\n(.*)\n", out)]


def test_deploy_predict_delete(shell: Shell, package: str) -> None:
    photos = [f"photos/{number}.png" for number in range(IMAGES)]
    code, out, _ = shell.run("services", "deploy", package)
    assert (code, out.split()[:3]) == (0, ["digits", "is", "Healthy"])
    try:
        code, out, err = shell.run("predict", "digits", *photos, "--top", "2")
        assert (code, err) == (0, "")
        assert best(out) == zoo.digits_images().heldout_labels[:IMAGES].tolist()
        assert re.fullmatch(r"(photos/\d\.png\n(  [01]\.\d{4}  [█▏▎▍▌▋▊▉ ]{24}  \d\n){2}){6}", out)

        code, out, err = shell.run("predict", "digits", photos[0], "--top", "3", "--json")
        (first,) = json.loads(out)
        assert first["image"] == photos[0]
        assert [sorted(one) for one in first["predictions"]] == [["index", "label", "probability"]] * 3

        code, out, err = shell.run("predict", "digits", photos[0], "photos/nope.png", photos[1])
        assert (code, err) == (1, "error: no image photos/nope.png; check the path\n")
        assert best(out) == zoo.digits_images().heldout_labels[:1].tolist()

        (shell.folder / "text.png").write_text("text")
        code, alone, err = shell.run("predict", "digits", "text.png")
        assert (code, alone) == (1, "")
        code, out, named = shell.run("predict", "digits", photos[0], "text.png", "--json")
        assert (code, named) == (1, err.replace("error: ", "error: text.png: "))
        assert [one["image"] for one in json.loads(out)] == [photos[0]]
        assert shell.run("predict", "digits", photos[0], "--input", "nope") == (
            1,
            "",
            "error: unknown input 'nope'; this model takes 'images:0' (also 'images')\n",
        )
    finally:
        done = shell.run("services", "delete", "digits")
    assert done == (0, "", "digits is deleted\n")
    assert LocalTarget(Workspace(shell.folder)).list() == ()
    code, out, err = shell.run("predict", "digits", photos[0])
    assert (code, out, err) == (1, "", f"error: no service 'digits' in {shell.folder}; there are none\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_told_to_stop(shell: Shell, package: str, number: signal.Signals) -> None:
    with shell.start("serve", package, "--grpc-port", "0") as serving:
        assert serving.stderr is not None and serving.stdout is not None
        ready = serving.stderr.readline()
        found = re.fullmatch(r"serving digits\.zip on (127\.0\.0\.1:\d+), device cpu\n", ready)
        assert found is not None
        assert serving.stderr.readline() == f"next: fieldwave predict {found[1]} IMAGE\n"
        code, out, err = shell.run("predict", found[1], "photos/0.png", "-k", "1")
        assert (code, err) == (0, "")
        assert best(out) == zoo.digits_images().heldout_labels[:1].tolist()
        serving.send_signal(number)
        assert serving.wait(15) == 0
        assert (serving.stdout.read(), serving.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("host", "listens", "near"),
    [("0.0.0.0", "0.0.0.0", "127.0.0.1"), ("::1", "[::1]", "[::1]"), ("::", "[::]", "[::1]")],
)
def test_serve_says_how_it_is_reached(shell: Shell, package: str, host: str, listens: str, near: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    ports = ("--grpc-port", "0", "--http-port", "0")
    with shell.start("serve", package, *ports, "--host", host, "--insecure") as serving:
        assert serving.stderr is not None
        said = next(line for line in serving.stderr if line.startswith("serving "))
        found = re.fullmatch(rf"serving digits\.zip on {re.escape(listens)}:(\d+), device cpu\n", said)
        assert found is not None
        page = re.fullmatch(rf"page: (http://{re.escape(near)}:\d+/)\n", serving.stderr.readline())
        assert page is not None
        with urllib.request.urlopen(page[1]) as answer:
            assert answer.status == 200
        hint = serving.stderr.readline()
        assert hint == f"next: fieldwave predict {near}:{found[1]} IMAGE\n"
        code, _, err = shell.run("predict", hint.split()[3], "photos/0.png", "-k", "1")
        assert (code, err) == (0, "")
        serving.terminate()
        assert serving.wait(15) == 0


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_serve_says_why_it_cannot(shell: Shell, package: str) -> None:
    code, out, err = shell.run("serve", "nope.zip")
    assert (code, out) == (1, "")
    assert err == "error: no package nope.zip; write one with: fieldwave convert --output nope.zip\n"
    code, out, err = shell.run("serve", package, "--grpc-port", "0", "--device", "fpga9")
    assert (code, out) == (1, "")
    assert err.startswith("error: no device 'fpga9'; there are: cpu")
    refused = shell.run("serve", package, "--workers", "0")
    assert refused == (1, "", "error: workers is 0; it must be at least 1\n")


def test_predict_says_that_nobody_is_there(shell: Shell) -> None:
    code, out, err = shell.run("predict", "127.0.0.1:1", "photos/0.png", "--timeout", "0.3")
    assert (code, out) == (1, "")
    assert err.startswith("error: 127.0.0.1:1 is not available, tried for 0.3 s: ")
    assert err.count("\n") == 1


def test_convert_says_what_is_missing(shell: Shell) -> None:
    code, out, err = shell.run("convert", "digits", "--calibration", "nope", "--output", "digits2.zip")
    assert (code, out) == (1, "")
    assert err == "error: no folder nope; name one that holds JPEG or PNG images\n"


def test_how_a_network_is_quantized_and_a_line_for_every_layer(shell: Shell) -> None:
    command = ("convert", "digits", "--calibration", "photos", "--output", "other.zip")
    code, out, _ = shell.run(*command, "--method", "percentile", "--percentile", "99.9", "--layers")
    assert code == 0
    head = out.splitlines().index(next(line for line in out.splitlines() if line.split()[:2] == ["dB", "alone"]))
    lines = out.splitlines()[head + 1 :]
    assert lines[0].endswith("  input images:0") and len(lines) > 10

    code, _, err = shell.run(*command, "--method", "entropy")
    assert code != 0
    assert "there is no calibration method 'entropy'; there are minmax, percentile, error" in err
