"""Latency figures of the command, on a device and of a real service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget, Service
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images


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
    seconds = () if "--seconds" in arguments else ("--seconds", "0.05")
    result = CliRunner().invoke(app, ["bench", *arguments, *seconds])
    return result.exit_code, result.stdout, result.stderr


def check(found: dict[str, Any]) -> None:
    assert found["answered"] > 0 and found["requests"] >= 1 and found["errors"] == {}
    assert 0 < found["p50"] <= found["p90"] <= found["p99"] <= found["p999"] <= found["worst"]


def test_a_package_on_a_device(digits: Conversion) -> None:
    code, out, err = run(str(digits.path))
    assert (code, err) == (0, "")
    header, figures = out.splitlines()
    assert re.split(r"  +", header) == ["P50 MS", "P90 MS", "P99 MS", "BEST MS", "IMAGES/S", "CALLS"]
    assert re.fullmatch(r"(\d+\.\d{3} +){4}\d+\.\d +\d+", figures)
    code, out, err = run(str(digits.path), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert sorted(found) == sorted(["p50", "p90", "p99", "best", "count", "rate", "target"])
    assert found["target"] == str(digits.path)
    assert found["count"] >= 1 and found["rate"] > 0
    assert 0 < found["best"] <= found["p50"] <= found["p90"] <= found["p99"]


def test_a_service_by_its_name_and_by_its_address(service: Service) -> None:
    for words in (
        ["digits"],
        ["digits", "--image", "seven.png", "--batch", "2"],
        [service.address],
        [service.address, "--image", "seven.png", "--protocol", "oip"],
        [service.address, "--concurrency", "2", "--protocol", "oip", "--model", "digits"],
    ):
        code, out, err = run(*words, "--json")
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["target"] == words[0] and found["protocol"] == ("oip" if "oip" in words else "predict")
        (one,) = found["loads"]
        check(one)
        assert one["offered"] == one["answered"] and one["stages"] == {}


def test_several_rates_in_turn_with_the_stages_of_the_service(service: Service) -> None:
    code, out, err = run("digits", "--rate", "100", "--rate", "200", "--seconds", "0.3", "--stages", "--json")
    assert code == 0, err
    loads = json.loads(out)["loads"]
    assert 60 < loads[0]["offered"] < 140 < loads[1]["offered"] < 260
    for one in loads:
        check(one)
        assert sorted(one["stages"]) == ["decode", "device", "encode", "queue"]
        assert 0 < sum(one["stages"].values()) < one["worst"]
    code, out, _ = run("digits", "--rate", "100", "--arrivals", "constant", "--stages")
    header, figures, stages = out.splitlines()
    assert code == 0
    assert re.split(r"  +", header) == [
        *["OFFERED/S", "ANSWERED/S", "P50 MS", "P90 MS", "P99 MS", "P99.9 MS", "WORST MS", "CALLS", "ERRORS"]
    ]
    assert re.fullmatch(r"(\d+\.\d +){2}(\d+\.\d{3} +){5}\d+ +0", figures)
    assert stages.startswith("at ") and "mean ms in the service: decode " in stages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["host:abc", "--image", "seven.png"],
            "address 'host:abc' has no number after the colon; give host:port or the host alone",
        ),
        (
            ["localhost:50051", "--rate", "0"],
            "rate is 0; give more than 0 and less than 1,000,000 requests a second",
        ),
        (
            ["localhost:50051", "--rate", "1", "--arrivals", "often"],
            "arrivals are 'often'; choose poisson or constant",
        ),
        (["localhost:50051", "--protocol", "http"], "protocol 'http' is not spoken; choose predict or oip"),
        (["localhost:50051", "--image", "x.png"], "cannot read x.png: No such file or directory"),
        (["rn50x.zip"], "no file rn50x.zip and no service 'rn50x.zip' in {project}; there are: digits"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], message: str, service: Service) -> None:
    assert run(*words) == (1, "", f"error: {message.format(project=os.getcwd())}\n")
