from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.compiler import NpuSection, compile_network, explain, read_program
from fieldwave.conversion import Conversion, convert
from fieldwave.golden import Window
from fieldwave.graph import from_onnx, to_onnx
from fieldwave.npu import configuration
from fieldwave.package import read_package
from fieldwave.zoo import digit_png, digits_images
from tests.random_networks import Builder


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["compile", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_figures_of_several_npus(digits: Conversion) -> None:
    code, out, err = run(str(digits.path), "--npu", "tiny", "--npu", "sim16", "--npu", "tiny", "--json")
    assert (code, err) == (
        0,
        "note: tiny: the host computes Softmax\nnote: sim16: the host computes Softmax\n"
        f"next: fieldwave compile {digits.path} --npu tiny --explain\n",
    )
    tiny, sim16 = json.loads(out)
    graph = from_onnx(digits.package.model)
    compiled = compile_network(graph, configuration("tiny"))
    (section,) = (part for part in compiled.program.sections if isinstance(part, NpuSection))
    assert tiny == {
        "network": "digits",
        "configuration": "tiny",
        "sections": ["host", "npu", "host"],
        "nodes": len(graph.nodes),
        "npu_nodes": len(compiled.sections[1].nodes),
        "macs": section.macs,  # softmax, the edges and the pools have none
        "npu_macs": section.macs,
        "array_cycles": tiny["array_cycles"],
        "multipliers": 64,
        "image_bytes": len(section.image),
        "arena_bytes": section.arena_bytes,
        "streamed": [],
        "npu_share": 1.0,
        "utilisation": section.macs / 64 / tiny["array_cycles"],
        "refusals": dict(compiled.program.refusals),
    }
    assert (sim16["configuration"], sim16["macs"], sim16["multipliers"]) == ("sim16", tiny["macs"], 256)
    found = re.search(r"together at least (\d+) cycles, ([\d.]+) % of the array", explain(compiled))
    assert found and int(found[1]) == tiny["array_cycles"]
    assert float(found[2]) == pytest.approx(100 * tiny["utilisation"], abs=0.05)


def test_the_table(digits: Conversion) -> None:
    code, out, err = run(str(digits.path), "--npu", "tiny", "--quiet")
    header, row = out.splitlines()
    assert (code, err) == (0, "")
    assert re.split("  +", header) == [
        *("NPU", "SECTIONS", "MACS ON NPU", "CYCLES, AT LEAST"),
        *("OF THE ARRAY", "PROGRAM", "MEMORY", "STREAMED"),
    ]
    assert re.split("  +", row)[:3] == ["tiny", "host, npu, host", "100.00 %"]
    assert row.endswith("-")


def test_what_the_passes_decided(digits: Conversion) -> None:
    code, out, _ = run(str(digits.path), "--npu", "tiny", "--explain")
    compiled = compile_network(from_onnx(digits.package.model), configuration("tiny"))
    assert (code, out) == (0, "digits on tiny\n" + explain(compiled))


def test_a_package_with_programs_is_what_convert_writes(digits: Conversion, tmp_path: Path) -> None:
    once, twice, made = (tmp_path / name for name in ("once.zip", "twice.zip", "converted.zip"))
    code, _, err = run(str(digits.path), "--npu", "tiny", "--output", str(once))
    assert code == 0 and f"next: fieldwave verify {once} IMAGE.jpg --device rtl:tiny\n" in err
    assert run(str(once), "--npu", "sim16", "--npu", "tiny", "--output", str(twice))[0] == 0
    for index, pixels in enumerate(digits_images().calibration_images[:20]):
        (tmp_path / f"{index:02d}.png").write_bytes(digit_png(pixels))
    convert("digits", calibration=tmp_path, output=made, npu=["tiny", "sim16"])
    assert twice.read_bytes() == made.read_bytes()
    assert [program.configuration for program in read_package(once).manifest.programs] == ["tiny"]


def test_a_program_alone(tmp_path: Path) -> None:
    b = Builder(3)
    graph = b.graph(b.conv(b.input(8, 4, 4), 8, Window((1, 1))))
    (tmp_path / "net.onnx").write_bytes(to_onnx(graph).SerializeToString())
    target = tmp_path / "net.npu"
    code, _, err = run(str(tmp_path / "net.onnx"), "--npu", "tiny", "--output", str(target))
    assert (code, err) == (0, f"{target}  {target.stat().st_size / 1e3:.1f} kB\n")
    assert read_program(target.read_bytes()) == compile_network(graph, configuration("tiny")).program


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.zip", "--npu", "tiny"], 1, "error: no package none.zip; write one with: fieldwave convert"),
        (["none.onnx", "--npu", "tiny"], 1, "error: no file none.onnx; name a package or a quantized .onnx file"),
        (["none.zip", "--npu", "big"], 1, "error: no NPU configuration 'big'; there are tiny, "),
        (
            ["none.zip", "--npu", "tiny", "--npu", "sim16", "-o", "x.npu"],
            2,
            "one file holds one program; name one",
        ),
        (["net.onnx", "--npu", "tiny", "-o", "x.zip"], 2, "an .onnx file has no package; say FILE.npu"),
        (
            ["float.onnx", "--npu", "tiny"],
            1,
            "error: float.onnx is not quantized, so no NPU runs it; make a package: "
            "fieldwave convert float.onnx --calibration FOLDER --output float.zip\n",
        ),
        (
            ["large.onnx", "--npu", "tiny"],
            1,
            "error: for tiny: ",
        ),
    ],
)
def test_wrong(
    arguments: list[str], code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldwave.graph import Graph, Node, Value

    monkeypatch.chdir(tmp_path)
    small, large = Builder(3), Builder(4)
    graph = small.graph(small.conv(small.input(8, 4, 4), 8, Window((1, 1))))
    (tmp_path / "net.onnx").write_bytes(to_onnx(graph).SerializeToString())
    graph = large.graph(large.gemm(large.input(600_000), 8, transposed=True))  # more steps than can be counted
    (tmp_path / "large.onnx").write_bytes(to_onnx(graph).SerializeToString())
    one = Value("x", "float32", (1, 3)), Value("y", "float32", (1, 3))
    plain = Graph("float", one[:1], one[1:], (Node("Relu", "relu", ("x",), ("y",)),), {})
    (tmp_path / "float.onnx").write_bytes(to_onnx(plain).SerializeToString())
    found = run(*arguments)
    assert found[0] == code
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", found[2]).split())
    assert " ".join(text.split()) in said
