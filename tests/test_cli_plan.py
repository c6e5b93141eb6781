"""``fieldwave plan``: for a real network, by the estimator, by the processor, by a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.compiler import compile_network
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.conversion import Conversion
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.plan import process_costs
from fieldwave.plan.costs import HOST_MACS_PER_SECOND
from fieldwave.serving import ServeOptions, Server


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fieldwave.toml").touch()
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["plan", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_a_plan_is_the_estimator_s_time_and_what_callers_would_wait(digits: Conversion) -> None:
    words = (
        digits.path,
        "--rate",
        "2000",
        "--p99",
        "20ms",
        "--npu",
        "sim16",
        "--clock",
        "100",
        "--bandwidth",
        "2",
    )
    code, out, err = run(*words, "--send", "pixels", "--json")
    assert code == 0, err
    found = json.loads(out)
    npu = configuration("sim16")
    estimate = estimate_network(compile_network(from_onnx(digits.package.model), npu), npu, Memory(20.0, 100))
    (plan,) = found["plans"]
    host = (estimate.macs - estimate.npu_macs) / HOST_MACS_PER_SECOND
    assert plan["milliseconds"] == pytest.approx(1e3 * (estimate.seconds(100.0) + host))
    assert (plan["device"], plan["source"], plan["reason"]) == ("sim16", "estimated", "")
    assert plan["devices"] >= 1 and plan["p50_ms"] <= plan["p99_ms"] <= 20 and plan["busy"] <= 0.85
    assert found["costs_ms"]["decode"] == pytest.approx(1e3 * process_costs("pixels").decode)
    assert (found["rate"], found["p99_ms"], found["unfit"], found["compute"]) == (2000, 20, {}, None)
    code, out, err = run(*words)
    header, row = out.splitlines()
    assert code == 0 and " ".join(header.split()) == "DEVICE MS AN IMAGE DEVICES BUSY P50 MS P99 MS REFUSED"
    assert row.split()[0] == "sim16"
    assert "next: fieldwave services deploy" in err


def test_the_processor_is_measured_and_this_machine_says_what_it_has(digits: Conversion) -> None:
    code, out, err = run(digits.path, "--rate", "5", "--p99", "2s", "--npu", "cpu", "--compute", "local", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [(plan["source"], plan["devices"]) for plan in found["plans"]] == [("measured", 1)]
    assert found["compute"]["name"] == "local"
    code, out, err = run(digits.path, "--rate", "1e5", "--p99", "2s", "--npu", "ecp5-85f", "--compute", "local")
    assert code == 0 and out.splitlines()[-1].startswith("local has ")


def test_a_running_service_says_what_its_process_takes(digits: Conversion) -> None:
    with Server(ServeOptions(package=digits.path, grpc_port=0)) as server:
        code, out, err = run(
            *(digits.path, "--rate", "50", "--p99", "1s", "--npu", "zcu104"),
            *("--service", f"127.0.0.1:{server.port}", "--json"),
        )
    assert code == 0, err
    costs = json.loads(out)["costs_ms"]
    assert all(value > 0 for value in costs.values())
    assert costs["decode"] != pytest.approx(1e3 * process_costs("jpeg").decode)


def test_what_does_not_hold_is_said_with_the_reason(digits: Conversion) -> None:
    code, out, err = run(digits.path, "--rate", "50", "--p99", "1us", "--npu", "zcu104")
    assert code == 0 and "none" in out
    assert "zcu104: not within 0.001 ms: alone, a request takes" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", "0", "--p99", "10ms"), "rate is 0; give more than 0 images a second"),
        (("--rate", "5", "--p99", "soon"), "--p99 is 'soon'; give a time such as 10ms or 0.5s"),
        (("--rate", "5", "--p99", "1", "--send", "gif"), "'gif' cannot be sent; choose jpeg, pixels, tensor"),
        (
            ("--rate", "5", "--p99", "1", "--npu", "sim16"),
            "sim16 is no part with a clock and a memory; give --clock and --bandwidth",
        ),
    ],
)
def test_what_cannot_be_planned(words: tuple[str, ...], message: str, digits: Conversion) -> None:
    assert run(digits.path, *words) == (1, "", f"error: {message}\n")
