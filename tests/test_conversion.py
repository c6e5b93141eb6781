"""A network of the zoo to a package: what comes out, and what bad input says."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.conversion import Conversion, convert, write
from fieldwave.errors import CalibrationError, FieldwaveError, ImageError, InputError, NotFoundError, StorageError
from fieldwave.package import read_package
from fieldwave.preprocess import preprocess
from fieldwave.quantize import Options, quantize
from fieldwave.zoo import digit_png, digits_images, names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A calibration folder with four digits."""
    place = tmp_path / "calibration"
    place.mkdir()
    for index, pixels in enumerate(digits_images().calibration_images[:4]):
        (place / f"{index}.png").write_bytes(digit_png(pixels))
    return place


def refused(kind: type[FieldwaveError], folder: Path, output: Path, **arguments: str | Path) -> str:
    """The message of a conversion that fails, and leaves nothing."""
    before = sorted(output.parent.iterdir()) if output.parent.is_dir() else []
    with pytest.raises(kind) as caught:
        convert("digits", **{"calibration": folder, "output": output, **arguments})  # type: ignore[arg-type]
    assert before == (sorted(output.parent.iterdir()) if output.parent.is_dir() else [])
    return str(caught.value)


def test_the_package_of_the_digits_network(digits: Conversion) -> None:
    package = read_package(digits.path)
    assert package == digits.package
    manifest = package.manifest
    assert manifest.network == "digits"
    assert manifest.labels == tuple("0123456789")
    assert [str(tensor) for tensor in manifest.inputs] == ["images:0 float32 [N, 8, 8, 1]"]
    assert [str(tensor) for tensor in manifest.outputs] == ["digits/predictions/Softmax:0 float32 [N, 10]"]
    report = json.loads(package.files["report.json"])
    assert report["images"] == 20
    assert len(report["layers"]) == len(digits.report.layers)


def test_accuracy_on_labelled_folders(tmp_path: Path, folder: Path) -> None:
    images = digits_images()
    for index, label in enumerate(images.heldout_labels):
        place = tmp_path / "heldout" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.png").write_bytes(digit_png(images.heldout_images[index]))
    made = convert("digits", calibration=folder, evaluation=tmp_path / "heldout", output=tmp_path / "d.zip")
    assert made.report.images == 360
    assert made.report.float_accuracy is not None and made.report.float_accuracy >= 0.975
    assert made.report.int8_accuracy is not None
    assert made.report.float_accuracy - made.report.int8_accuracy <= 0.005


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    first = convert("digits", weights="random:7", calibration=folder, output=tmp_path / "1.zip")
    second = convert("digits", weights="random:7", calibration=folder, output=tmp_path / "2.zip")
    other = convert("digits", weights="random:8", calibration=folder, output=tmp_path / "3.zip")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.package.digest == second.package.digest != other.package.digest


def test_what_is_quantized_already_is_written_as_it_is(tmp_path: Path, folder: Path) -> None:
    network = zoo.network("digits")
    model = zoo.float_model(network, zoo.load_weights(network, ""))
    images = [preprocess(path.read_bytes(), network.preprocessing)[None] for path in sorted(folder.iterdir())]
    made = write(quantize(model.graph, images), model, output=tmp_path / "1.zip")
    assert (
        made.path.read_bytes()
        == convert("digits", calibration=folder, output=tmp_path / "2.zip").path.read_bytes()
    )


def test_an_unknown_network(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        convert("resnet51", calibration=folder, output=tmp_path / "x.zip")
    assert str(caught.value) == (
        f"no model 'resnet51': the zoo has {', '.join(names())}, and no file has that name"
    )


def test_a_calibration_folder_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    said = refused(NotFoundError, missing, tmp_path / "x.zip")
    assert said == f"no folder {missing}; name one that holds JPEG or PNG images"


def test_an_empty_calibration_folder(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = refused(CalibrationError, empty, tmp_path / "x.zip")
    assert said == f"folder {empty} holds no JPEG or PNG image; put 16 or more there, like those to come"


def test_a_calibration_file_that_is_no_image(tmp_path: Path, folder: Path) -> None:
    (folder / "9.png").write_bytes(b"hello, I am a text")
    said = refused(ImageError, folder, tmp_path / "x.zip")
    assert said == (
        f"{folder / '9.png'}: not an image: the first bytes are 68656c6c6f2c2049, expected a JPEG or PNG file"
    )


def test_an_evaluation_folder_of_another_network(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "heldout" / "cat"
    place.mkdir(parents=True)
    said = refused(CalibrationError, folder, tmp_path / "x.zip", evaluation=tmp_path / "heldout")
    assert said == f"folder {place} is no class of the network; its classes are like '0'"


def test_an_output_folder_that_does_not_exist(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "none" / "x.zip"
    said = refused(StorageError, folder, target)
    assert said == f"cannot write {target}: there is no folder {target.parent}; make it first"


def test_an_output_that_is_a_folder(tmp_path: Path, folder: Path) -> None:
    said = refused(StorageError, folder, tmp_path)
    assert said == (
        f"cannot write {tmp_path}: it is a folder; name the package's file, such as {tmp_path / 'model.zip'}"
    )


def test_what_a_network_of_the_zoo_does_not_take(tmp_path: Path, folder: Path) -> None:
    said = refused(InputError, folder, tmp_path / "x.zip", input="images:0")
    assert said == "network 'digits' of the zoo has its own input; leave it out"
    said = refused(InputError, folder, tmp_path / "x.zip", labels=("a", "b"))  # type: ignore[arg-type]
    assert said == (
        "there are 2 labels for the 10 values of output 'digits/predictions/Softmax:0'; give one for each"
    )


def test_a_full_disk_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    """The kernel refuses the write, as a full disk does: the process may write 10 kB a file."""
    target = tmp_path / "x.zip"
    script = textwrap.dedent(f"""
        import resource, signal
        from fieldwave.conversion import convert
        from fieldwave.errors import StorageError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, {resource.RLIM_INFINITY}))
        try:
            convert("digits", calibration={str(folder)!r}, output={str(target)!r})
        except StorageError as error:
            print(error)
    """)
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout == f"cannot write {target}: File too large; nothing was left behind\n"
    assert [path.name for path in tmp_path.iterdir()] == ["calibration"]


def test_resnet50(resnet50: Conversion) -> None:
    manifest = resnet50.package.manifest
    assert manifest.inputs[0].names() == ("Placeholder:0", "images", "Placeholder")
    assert "output_alias" in manifest.outputs[0].names()
    assert manifest.outputs[0].name == "classifier/resnet_v1_50/predictions/Softmax:0"
    assert manifest.labels[289].startswith("snow leopard")
    assert resnet50.path.stat().st_size < 27e6
    assert max(layer.clipped for layer in resnet50.report.layers) < 0.05
    assert min(layer.snr for layer in resnet50.report.layers) > 5
    assert np.mean([layer.snr for layer in resnet50.report.layers]) > 12


def test_evaluation_images_are_read_one_by_one(tmp_path: Path, folder: Path) -> None:
    """A large folder is never in memory: each file is decoded when its turn comes, and a broken one named."""
    images = digits_images()
    place = tmp_path / "heldout" / "7"
    place.mkdir(parents=True)
    (place / "0.png").write_bytes(digit_png(images.heldout_images[0]))
    (place / "1.png").write_bytes(b"no image at all")
    seen: list[str] = []
    with pytest.raises(ImageError) as caught:
        convert(
            "digits", calibration=folder, evaluation=tmp_path / "heldout", output=tmp_path / "d.zip",
            progress=lambda what, share: seen.append(what),
        )  # fmt: skip
    assert str(caught.value).startswith(f"{place / '1.png'}: not an image")
    assert seen.count("comparing float and int8") == 1


def test_how_it_is_quantized(tmp_path: Path, folder: Path) -> None:
    plain, even = (
        convert("digits", calibration=folder, output=tmp_path / f"{flag}.zip", quantization=Options(equalise=flag))
        for flag in (False, True)
    )
    assert plain.package.digest != even.package.digest
    assert plain.report.agreement == even.report.agreement == 1.0
    report = json.loads(plain.package.files["report.json"])
    assert set(report["layers"][0]) == {
        "tensor", "operator", "exponent", "zero_point", "snr", "rounding", "clipped", "used", "spread"
    }  # fmt: skip


def test_calibration_images_of_one_colour(tmp_path: Path) -> None:
    grey = tmp_path / "grey"
    grey.mkdir()
    for level in (3, 90):
        (grey / f"{level}.png").write_bytes(digit_png(np.full((8, 8), level, np.uint8)))
    said = refused(CalibrationError, grey, tmp_path / "x.zip")
    assert said == (
        "input 'images:0': every calibration image is of one colour throughout, which tells no scale; give 16 or "
        "more like those that the service will see"
    )
