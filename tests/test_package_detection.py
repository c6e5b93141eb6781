"""The detection section of a manifest: there and back, absent from other packages, and what contradicts it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fieldwave.conversion import convert
from fieldwave.errors import CalibrationError, InputError, PackageError
from fieldwave.package import Package, TensorSpec, read_package, write_package
from fieldwave.postprocess import Detector, FeatureMap, ssd300_vgg
from fieldwave.preprocess import Preprocessing
from tests import squares

DETECTOR = Detector(
    height=64,
    width=96,
    maps=(FeatureMap(4, 6, 16, 12, 24, (2.0, 0.5)),),
    logits=("logits:0",),
    boxes=("boxes:0",),
    score_threshold=0.3,
)
LOGITS = TensorSpec(name="logits:0", shape=(None, 4, 6, 4, 3))
BOXES = TensorSpec(name="boxes:0", shape=(None, 4, 6, 4, 4))


def write(path: Path, **changes: Any) -> Package:
    arguments: dict[str, Any] = {
        "network": "spots",
        "model": b"the model's bytes",
        "inputs": (TensorSpec(name="images:0", shape=(None, 64, 96, 3)),),
        "outputs": (LOGITS, BOXES),
        "preprocessing": Preprocessing(64, 96, resize="stretch"),
        "labels": ("nothing", "dark", "light"),
        "detector": DETECTOR,
    }
    return write_package(path, **{**arguments, **changes})


def test_a_detector_there_and_back(tmp_path: Path) -> None:
    written = write(tmp_path / "spots.zip")
    read = read_package(tmp_path / "spots.zip")
    assert read.detector == DETECTOR
    assert read == written == write(tmp_path / "again.zip")


def test_ssd_vgg_there_and_back(tmp_path: Path) -> None:
    names = [[f"ssd_300_vgg/block{i}_box/{kind}:0" for i in range(6)] for kind in ("Reshape_1", "Reshape")]
    detector = ssd300_vgg(*names)
    shapes = [(None, one.rows, one.columns, one.anchors, last) for last in (21, 4) for one in detector.maps]
    outputs = [TensorSpec(name=name, shape=shape) for name, shape in zip(detector.outputs, shapes, strict=True)]
    spec = Preprocessing(300, 300, resize="stretch")
    write(tmp_path / "ssd.zip", outputs=outputs, detector=detector, preprocessing=spec, labels=())
    assert read_package(tmp_path / "ssd.zip").detector == detector


def test_a_network_that_does_not_detect_has_no_such_section(tmp_path: Path) -> None:
    package = write(tmp_path / "spots.zip", detector=None)
    assert "detection" not in json.loads(package.manifest.to_json())
    assert read_package(tmp_path / "spots.zip").detector is None


def test_a_detector_needs_no_preprocessing_and_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "spots.zip", preprocessing=None, labels=())
    assert read_package(tmp_path / "spots.zip").detector == DETECTOR


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"preprocessing": Preprocessing(64, 96)},
            "detection needs the resize 'stretch', so that boxes are of the whole image, not 'crop'",
        ),
        (
            {"preprocessing": Preprocessing(96, 64, resize="stretch")},
            "detection is for 96 x 64 pixels, preprocessing makes 64 x 96",
        ),
        ({"outputs": (LOGITS,)}, "detection names the output 'boxes:0', which outputs has not"),
        (
            {"outputs": (LOGITS, TensorSpec(name="boxes:0", shape=(None, 96, 4)))},
            "detection needs an output boxes:0 float32 [N, 4, 6, 4, 4]; outputs has boxes:0 float32 [N, 96, 4]",
        ),
        (
            {"labels": ("a", "b")},
            "detection needs an output logits:0 float32 [N, 4, 6, 4, 2]; "
            "outputs has logits:0 float32 [N, 4, 6, 4, 3]",
        ),
        (
            {"detector": dataclasses.replace(DETECTOR, background=3)},
            "detection has the background 3, but there are 3 classes",
        ),
        (
            {"detector": dataclasses.replace(DETECTOR, logits=(), boxes=())},
            "logits: tuple should have at least 1 item after validation, not 0 (it is ())",
        ),
    ],
)
def test_a_detector_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PackageError) as caught:
        write(tmp_path / "spots.zip", **changes)
    assert str(caught.value) == f"cannot write {tmp_path / 'spots.zip'}: {message}"
    assert not (tmp_path / "spots.zip").exists()


@pytest.mark.parametrize(
    ("found", "replaced", "message"),
    [
        ('"iou_threshold": 0.45', '"iou_threshold": 45', "detection: the iou_threshold is 45.0, expected 0 to 1"),
        ('"step": 16.0', '"step": -16.0', "detection: the feature map's step is -16.0, expected a number greater"),
        ('"candidates": 400', '"candidates": 0', "detection.candidates: input should be greater than 0 (it is 0)"),
    ],
)
def test_a_damaged_section_is_refused(tmp_path: Path, found: str, replaced: str, message: str) -> None:
    from fieldwave.package import parse_package
    from fieldwave.package.container import pack, unpack

    write(tmp_path / "spots.zip")
    files = unpack((tmp_path / "spots.zip").read_bytes())
    text = files["manifest.json"].decode()
    assert found in text
    files["manifest.json"] = text.replace(found, replaced).encode()
    with pytest.raises(PackageError, match=f"^spots is damaged: manifest.json: {re.escape(message)}"):
        parse_package(pack(files), "spots")


def test_conversion_writes_it(tmp_path: Path) -> None:
    made = convert(squares.model(), calibration=squares.calibration(tmp_path / "c"), output=tmp_path / "s.zip")
    assert made.package.detector == squares.DETECTOR
    assert made.package.manifest.labels == squares.LABELS


def test_folders_of_classes_cannot_measure_a_detector(tmp_path: Path) -> None:
    folder = squares.calibration(tmp_path / "c")
    with pytest.raises(CalibrationError) as caught:
        convert(squares.model(), calibration=folder, evaluation=folder, output=tmp_path / "s.zip")
    assert str(caught.value) == (
        "network 'squares' detects: what is in which class's folder cannot measure it; leave the evaluation out"
    )


def test_labels_for_other_classes_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    folder = squares.calibration(tmp_path / "c")
    with pytest.raises(InputError) as caught:
        convert(squares.model(), calibration=folder, labels=("nothing", "all"), output=tmp_path / "s.zip")
    assert str(caught.value) == (
        "there are 2 labels for the 4 values of output 'squares/block0_box/Reshape_1:0'; give one for each"
    )
