"""``fieldwave predict`` of a detection network: the table, the JSON, the picture, and what bad input says."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.conversion import Conversion, convert
from fieldwave.serving import ServeOptions, Server
from tests import squares
from tests.scripted import scripted
from tests.served import png, serving

FOUND = [(1, 10, 20), (2, 64, 64), (3, 70, 10)]  # green fills a cell, red the least of one
HEADER = "  class   score  left  top  right  bottom"
ROWS = [("green", (128, 32, 160, 40)), ("blue", (20, 35, 84, 51)), ("red", (40, 5, 72, 13))]


def check_table(out: str, rows: list[tuple[str, tuple[int, ...]]] = ROWS) -> None:
    """The table of one.png with these rows; the scores and edges of an int8 network may be a little off."""
    first, header, *lines = out.splitlines()
    assert (first, header) == ("one.png  256 x 64 pixels", HEADER)
    assert len(lines) == len(rows)
    for line, (label, edges) in zip(lines, rows, strict=True):
        found = re.fullmatch(r"  (.{5})  ([01]\.\d{4})  ([ \d]{4})  ([ \d]{3})  ([ \d]{5})  ([ \d]{6})", line)
        assert found is not None
        assert found[1].strip() == label and 0.99 < float(found[2]) <= 1
        assert [int(edge) for edge in found.groups()[2:]] == pytest.approx(edges, abs=2)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    folder = tmp_path_factory.mktemp("squares")
    return convert(squares.model(), calibration=squares.calibration(folder / "c"), output=folder / "squares.zip")


@pytest.fixture(scope="module")
def service(converted: Conversion) -> Iterator[str]:
    with Server(ServeOptions(package=converted.package, grpc_port=0)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.png").write_bytes(squares.picture(FOUND, width=256, height=64))
    Path("none.jpg").write_bytes(squares.picture([], format="JPEG"))


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_table_in_pixels_of_the_image_itself(service: str) -> None:
    hint = f"next: fieldwave predict {service} one.png --draw one-boxes.png\n"
    code, out, err = run(service, "one.png")
    assert (code, err) == (0, hint)
    check_table(out)
    assert run(service, "one.png", "--quiet") == (0, out, "")
    nothing = "none.jpg  128 x 128 pixels\n  nothing with a score above 0.5\n"
    assert run(service, "none.jpg", "one.png") == (0, nothing + out, hint)


def test_a_package_s_file_needs_no_service(converted: Conversion, service: str) -> None:
    assert run(str(converted.path), "one.png", "-q") == run(service, "one.png", "-q")


def test_the_threshold_and_the_most(service: str) -> None:
    code, out, err = run(service, "one.png", "--threshold", "0.9992")
    assert code == 0
    check_table(out, ROWS[:2])
    assert err == f"next: fieldwave predict {service} one.png --threshold 0.9992 --draw one-boxes.png\n"
    check_table(run(service, "one.png", "--top", "1", "-q")[1], ROWS[:1])


def test_json(service: str) -> None:
    code, out, err = run(service, "one.png", "none.jpg", "--json")
    assert (code, err) == (0, "")
    one, none = json.loads(out)
    assert none == {"image": "none.jpg", "width": 128, "height": 128, "detections": []}
    assert (one["image"], one["width"], one["height"]) == ("one.png", 256, 64)
    assert [(d["label"], d["index"]) for d in one["detections"]] == [("green", 2), ("blue", 3), ("red", 1)]
    assert one["detections"][1]["box"] == pytest.approx({"left": 20, "top": 35, "right": 84, "bottom": 51}, abs=2)


def test_boxes_are_drawn_on_a_copy(service: str) -> None:
    before = Path("one.png").read_bytes()
    code, out, err = run(service, "one.png", "--draw", "drawn.png")
    assert (code, err) == (0, "drawn on drawn.png\n")
    check_table(out)
    assert Path("one.png").read_bytes() == before
    with Image.open("one.png") as source, Image.open("drawn.png") as drawn:
        original, copy = np.asarray(source), np.asarray(drawn)
    assert copy.shape == original.shape
    assert (copy[:, 230:] == original[:, 230:]).all()
    assert (copy[32:54, 16:88] != original[32:54, 16:88]).any()

    code, out, err = run(service, "one.png", "--draw", "drawn.jpg", "--json")
    assert (code, err, json.loads(out)[0]["drawn"]) == (0, "drawn on drawn.jpg\n", "drawn.jpg")
    with Image.open("drawn.jpg") as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (256, 64))


def test_several_images_are_drawn_into_a_folder(service: str) -> None:
    Path("out").mkdir()
    code, _, err = run(service, "one.png", "none.jpg", "--draw", "out")
    assert (code, err) == (0, "drawn on out/one-boxes.png\ndrawn on out/none-boxes.png\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["none-boxes.png", "one-boxes.png"]


def test_a_photograph_turned_by_its_exif_data_is_drawn_as_the_network_saw_it(service: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.open("one.png").convert("RGB").save(file, "JPEG", quality=100, exif=exif)
    Path("turned.jpg").write_bytes(file.getvalue())
    code, out, _ = run(service, "turned.jpg", "--draw", "drawn.jpg")
    assert (code, out.splitlines()[0]) == (0, "turned.jpg  256 x 64 pixels")
    with Image.open("drawn.jpg") as drawn:
        assert drawn.size == (256, 64)
        assert not drawn.getexif()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one.png", "--draw", "one.png"), "--draw one.png is the image itself; name another file"),
        (("one.png", "--draw", "x.gif"), "--draw x.gif is no .png and no .jpg; name one of these, or a folder"),
        (
            ("one.png", "none.jpg", "--draw", "x.png"),
            "--draw x.png is no folder, but there are 2 images; name a folder that exists",
        ),
        (
            ("one.png", "one.png", "--draw", "."),
            "two images would be drawn to one-boxes.png; draw them one by one",
        ),
        (
            ("one.png", "--draw", "nowhere/x.png"),
            "cannot write nowhere/x.png: No such file or directory; nothing was left behind",
        ),
        (
            ("one.png", "--output", "x"),
            "SERVICE has a detection network, which is read as a whole; leave out --output",
        ),
        (("nowhere.png",), "no image nowhere.png; check the path"),
    ],
)
def test_what_bad_input_says(service: str, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(service, *arguments)
    assert (code, err) == (1, f"error: {message.replace('SERVICE', service)}\n")


def test_a_threshold_beyond_one_is_a_wrong_command_line(service: str) -> None:
    code, _, err = run(service, "one.png", "--threshold", "50")
    assert code == 2
    assert "--threshold" in err


@pytest.mark.parametrize(("option", "value"), [("--threshold", "0.3"), ("--draw", "x.png")])
def test_a_classifier_has_no_objects(option: str, value: str) -> None:
    with serving() as server:
        name = f"127.0.0.1:{server.port}"
        code, out, err = run(name, "one.png", option, value)
    assert (code, out) == (1, "")
    assert err == f"error: {name} has no detection network, so there is nothing to do for {option}\n"
    assert not Path("x.png").exists()


def test_a_package_that_is_not_there() -> None:
    said = "error: no package nowhere.zip; write one with: fieldwave convert --output nowhere.zip\n"
    assert run("nowhere.zip", "one.png") == (1, "", said)


def test_names_of_a_package_s_tensors(digits: Conversion) -> None:
    Path("digit.png").write_bytes(png(np.zeros((8, 8), np.uint8)))
    package = str(digits.path)
    by_default = run(package, "digit.png", "-k", "1")
    assert by_default[0] == 0
    named = ("--input", "images:0", "--output", "output_alias")
    assert run(package, "digit.png", "-k", "1", *named) == by_default
    assert run(package, "digit.png", "--input", "x") == (
        1,
        "",
        f"error: unknown input 'x'; {package} takes images:0, images\n",
    )
    assert run(package, "digit.png", "--output", "x") == (
        1,
        "",
        f"error: unknown output 'x'; {package} gives digits/predictions/Softmax:0\n",
    )


def test_one_of_several_networks_of_a_service(converted: Conversion, digits: Conversion) -> None:
    Path("digit.png").write_bytes(png(np.zeros((8, 8), np.uint8)))
    with Server(ServeOptions(package=digits.package, also=(converted.package,), grpc_port=0)) as server:
        address = f"127.0.0.1:{server.port}"
        code, out, _ = run(address, "one.png", "--model", "squares")
        assert code == 0
        check_table(out)
        assert run(address, "digit.png", "-k", "1") == run(str(digits.path), "digit.png", "-k", "1")
        assert run(address, "one.png", "--model", "circles") == (
            1,
            "",
            f"error: {address} answered NOT_FOUND: no model 'circles' here; "
            "this service has 'digits' and 'squares'\n",
        )
    assert run(str(digits.path), "digit.png", "--model", "digits") == (
        1,
        "",
        f"error: {digits.path} is a package, which has one network; leave out --model digits\n",
    )


def test_a_service_of_another_make_is_scored_without_labels() -> None:
    import grpc

    from fieldwave.wire import to_tensor_proto
    from fieldwave.wire.messages import PredictResponse

    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field manifest is not supported")

    response = PredictResponse()
    response.outputs["scores"].CopyFrom(to_tensor_proto(np.array([[0.25, 0.75]], np.float32)))
    answer = response.SerializeToString()
    with scripted(GetModelMetadata=refuse, Predict=lambda *_: answer) as script:
        code, out, err = run(f"127.0.0.1:{script.port}", "one.png", "-k", "1")
    assert (code, err) == (0, "")
    assert out == "one.png\n  0.7500  ██████████████████        1\n"


def test_labels_cannot_command_the_terminal(tmp_path: Path) -> None:
    model = dataclasses.replace(squares.model(), labels=("background", "\x1b[31mred\a", "grün\n", "b\u202elue"))
    made = convert(model, calibration=squares.calibration(tmp_path / "c"), output=tmp_path / "x.zip")
    code, out, _ = run(str(made.path), "one.png", "-q")
    assert code == 0
    found = sorted(line.split()[0] for line in out.splitlines()[2:])
    assert found == ["\\x1b[31mred\\x07", "b\\u202elue", "grün\\n"]
