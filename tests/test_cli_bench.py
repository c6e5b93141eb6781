"""Latency figures of the command, on a device and of a real service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave.bench import bench_service, example_input
from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget, Service
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images

FIGURES = ["p50", "p90", "p99", "best"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "fieldwave.toml").touch()
    (folder / "seven.png").write_bytes(digit_png(digits_images().heldout_images[0]))
    return folder


@pytest.fixture(scope="module")
def service(project: Path, digits: Conversion) -> Iterator[Service]:
    """The digits network, served by a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(fieldwave.__file__).parents[1]))
        target = LocalTarget(Workspace(project))
        yield target.deploy(digits.path, "digits")
        target.delete("digits")


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bench", *arguments, "--seconds", "0.05"])
    return result.exit_code, result.stdout, result.stderr


def check(out: str, target: str) -> None:
    found = json.loads(out)
    assert sorted(found) == sorted([*FIGURES, "count", "rate", "target"])
    assert found["target"] == target
    assert found["count"] >= 1 and found["rate"] > 0
    assert 0 < found["best"] <= found["p50"] <= found["p90"] <= found["p99"]


def test_a_package_on_a_device(digits: Conversion) -> None:
    code, out, err = run(str(digits.path))
    assert (code, err) == (0, "")
    header, figures = out.splitlines()
    assert re.split(r"  +", header) == ["P50 MS", "P90 MS", "P99 MS", "BEST MS", "IMAGES/S", "CALLS"]
    assert re.fullmatch(r"(\d+\.\d{3} +){4}\d+\.\d +\d+", figures)
    code, out, err = run(str(digits.path), "--json")
    assert (code, err) == (0, "")
    check(out, str(digits.path))


def test_a_service_by_its_name_and_by_its_address(service: Service) -> None:
    for words in (["digits"], ["digits", "--image", "seven.png"], [service.address, "--image", "seven.png"]):
        code, out, err = run(*words, "--json")
        assert (code, err) == (0, "")
        check(out, words[0])


def test_a_service_in_python(service: Service, digits: Conversion) -> None:
    with service.client() as client:
        for inputs in (example_input(digits.package), {"images": Path("seven.png").read_bytes()}):
            figures = bench_service(client, inputs, seconds=0.05)
            assert figures.count >= 1
            assert 0 < figures.best <= figures.p50 <= figures.p90 <= figures.p99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["host:abc", "--image", "seven.png"],
            "address 'host:abc' has no number after the colon; give host:port or the host alone",
        ),
        (["localhost:50051"], "localhost:50051 is an address: say what to send with --image FILE"),
        (["localhost:50051", "--image", "x.png"], "cannot read x.png: No such file or directory"),
        (["rn50x.zip"], "no file rn50x.zip and no service 'rn50x.zip' in {project}; there are: digits"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], message: str, service: Service) -> None:
    assert run(*words) == (1, "", f"error: {message.format(project=os.getcwd())}\n")
