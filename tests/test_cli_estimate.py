"""``fieldwave estimate`` on a network of the zoo and on a package."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fieldwave.cli.app import app


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_a_network_of_the_zoo_by_name() -> None:
    result = run("estimate", "digits", "--npu", "tiny", "--npu", "sim16", "--json")
    assert result.exit_code == 0, result.output
    tiny, sim16 = json.loads(result.stdout)
    assert tiny["npu"] == "tiny" and tiny["network"] == sim16["network"]
    assert tiny["milliseconds"] == pytest.approx(tiny["cycles"] / 200e3)
    assert tiny["utilisation"] == pytest.approx(tiny["npu_macs"] / (64 * tiny["cycles"]))
    assert sim16["cycles"] < tiny["cycles"] and 0 < sim16["utilisation"] <= 1
    assert tiny["energy"]["products"] >= tiny["npu_macs"] == tiny["macs"]
    assert tiny["bytes_read"] > 0 and set(tiny["waits"]) == {"bank", "drain", "fill", "output", "weights"}


def test_clock_and_memory() -> None:
    slow, fast = (
        json.loads(run("estimate", "digits", "--npu", "tiny", "--clock", "100", *more, "--json").stdout)[0]
        for more in (("--bandwidth", "0.05"), ("--bandwidth", "0.8", "--latency", "10"))
    )
    assert slow["cycles"] > 1.5 * fast["cycles"] and slow["latency_cycles"] == 100
    assert fast["milliseconds"] == pytest.approx(fast["cycles"] / 100e3)


def test_the_table_says_where_the_time_goes() -> None:
    result = run("estimate", "digits", "--npu", "tiny")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split()[:3] == ["NPU", "LATENCY", "CYCLES"]
    assert "tiny: lost to " in result.stderr
    assert "next: fieldwave report rn50.zip --npu tiny --html report.html" in result.stderr
    result = run("estimate", "digits", "--npu", "tiny", "--clock", "62.5", "--latency", "30")
    assert "fieldwave report rn50.zip --npu tiny --clock 62.5 --latency 30 --html report.html" in result.stderr


def test_weights_that_stay_in_the_ring_are_told() -> None:
    tiny, sim16 = json.loads(run("estimate", "digits", "--npu", "tiny", "--npu", "sim16", "--json").stdout)
    assert not tiny["resident"] and tiny["later_cycles"] == tiny["cycles"]
    assert sim16["resident"] and sim16["later_cycles"] < sim16["cycles"]
    assert sim16["later_milliseconds"] == pytest.approx(sim16["later_cycles"] / 200e3)
    result = run("estimate", "digits", "--npu", "tiny", "--npu", "sim16")
    (line,) = (line for line in result.stderr.splitlines() if "from the second image on" in line)
    milliseconds = f"{sim16['later_milliseconds']:.3f}"
    assert line.startswith(
        f"sim16: the weight ring holds all weights; {milliseconds} ms from the second image on, "
    )
    assert line.endswith(" kB read")


def test_a_wrong_name_is_one_line() -> None:
    result = run("estimate", "digits", "--npu", "huge")
    assert result.exit_code == 1
    assert "no NPU configuration 'huge'; there are tiny, " in result.stderr
    result = run("estimate", "digits:mine", "--npu", "tiny")
    assert result.exit_code == 1
    assert "the zoo has no variant 'mine' of digits" in result.stderr


def test_a_network_that_has_no_room_is_one_line() -> None:
    """A row of SSD's first tensors is larger than a bank of the toy."""
    result = run("estimate", "ssd_vgg", "--npu", "tiny", "--quiet")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: for tiny: the activation banks of 65536 and 65536 bytes have no room for rows of "
        "'ssd_300_vgg/conv1/conv1_1/Relu:0_quantized' (76800 bytes) beside rows of "
        "'ssd_300_vgg/pool1/MaxPool:0_quantized' (9600 bytes); choose a configuration with larger banks"
    ]
