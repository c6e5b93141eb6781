from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import fieldwave.devices
from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.devices.cpu import CpuDevice
from fieldwave.package import TensorSpec, write_package
from fieldwave.zoo import digit_png, digits_images


class Wrong(CpuDevice):
    """A processor that gets the lowest bit of one byte wrong."""

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors = {name: tensor.copy() for name, tensor in super().trace(inputs).items()}
        name = next(name for name, tensor in tensors.items() if tensor.dtype.itemsize == 1)
        tensors[name].reshape(-1).view("u1")[3] ^= 1
        return tensors


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two held-out digits in the working directory."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(digit_png(digits_images().heldout_images[number]))
    return ["0.png", "1.png"]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["verify", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_identical(digits: Conversion, images: list[str]) -> None:
    code, out, err = run(str(digits.path), *images, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["device"], found["package"], found["differing"]) == ("cpu", digits.package.digest, 0)
    sizes = [image.pop("bytes") for image in found["images"]]
    tensors = found["images"][0]["tensors"]
    assert tensors > 5 and sizes[0] == sizes[1] > 1000
    assert found["images"] == [
        {
            "image": name,
            "tensors": tensors,
            "tensors_of_the_network": tensors,
            "differing": 0,
            "first_differing_tensor": "",
        }
        for name in images
    ]

    code, out, err = run(str(digits.path), *images)
    assert (code, err) == (0, "")
    header, *rows, verdict = out.splitlines()
    assert header.split() == ["IMAGE", "TENSORS", "BYTES", "DIFFERING"]
    assert [row.split() for row in rows] == [
        [name, str(tensors), "of", str(tensors), f"{sizes[0]:,}", "0"] for name in images
    ]
    assert verdict == f"0 of {sum(sizes):,} bytes differ: identical"


def test_not_identical(digits: Conversion, images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fieldwave.devices, "lease_device", lambda name, holder: Wrong())
    code, out, err = run(str(digits.path), *images)
    assert (code, err) == (1, "")
    assert [row.split()[-1] for row in out.splitlines()[1:3]] == ["1", "1"]
    assert out.splitlines()[-1].startswith("2 of ")
    assert out.endswith(" bytes differ: NOT identical\n")

    code, out, err = run(str(digits.path), images[0], "--json")
    (image,) = json.loads(out)["images"]
    assert (code, image["differing"]) == (1, 1)
    assert image["first_differing_tensor"] != ""


def test_what_is_no_image_is_named(digits: Conversion, images: list[str]) -> None:
    Path("text.png").write_text("text")
    code, out, err = run(str(digits.path), images[0], "text.png")
    assert (code, out) == (1, "")
    assert err.startswith("error: text.png: ") and err.count("\n") == 1
    assert run(str(digits.path), "nope.png") == (1, "", "error: cannot read nope.png: No such file or directory\n")


def test_a_network_without_images_is_refused(images: list[str]) -> None:
    tensor = TensorSpec(name="x:0", shape=(None, 2))
    write_package(Path("net.zip"), network="tiny", model=b"", inputs=[tensor], outputs=[tensor])
    assert run("net.zip", "0.png") == (
        1,
        "",
        "error: network 'tiny' takes no images, so no image can be its input\n",
    )
