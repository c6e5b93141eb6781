"""The road of a detection network: SSD-VGG on meeting.jpg from convert over a service to boxes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fieldwave import zoo
from fieldwave.cli import app
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion, convert
from fieldwave.deploy import LocalTarget
from fieldwave.devices import open_device
from fieldwave.golden import run as golden
from fieldwave.package import read_package
from fieldwave.postprocess import detect
from fieldwave.serving import ServeOptions, Server
from fieldwave.workspace import Workspace
from fieldwave.zoo.ssd import ssd_vgg
from tests.conftest import PHOTOS
from tests.reference import ssd as reference

BLOCKS = (4, 7, 8, 9, 10, 11)
CELLS = [(37, 37, 4), (19, 19, 6), (10, 10, 6), (5, 5, 6), (3, 3, 4), (1, 1, 4)]
DOCUMENTED = {
    **{
        f"ssd_300_vgg/block{block}_box/Reshape_1:0": (*cells, 21)
        for block, cells in zip(BLOCKS, CELLS, strict=True)
    },
    **{f"ssd_300_vgg/block{block}_box/Reshape:0": (*cells, 4) for block, cells in zip(BLOCKS, CELLS, strict=True)},
}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(PHOTOS / "meeting.jpg", folder)
    return folder / "meeting.jpg"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Conversion:
    """SSD-VGG with an eighth of its channels, but for the predictions; the weights are random."""
    network = ssd_vgg(width=8)
    model = zoo.float_model(network, zoo.load_weights(network, "random:0"))
    return convert(model, calibration=photo.parent, output=tmp_path_factory.mktemp("ssd") / "ssd.zip")


def check(made: Conversion, photo: Path) -> None:
    """Twelve outputs of the documented names and shapes, from the cpu device and through a service alike."""
    package = read_package(made.path)
    assert {spec.name: spec.shape[1:] for spec in package.manifest.outputs} == DOCUMENTED
    assert [spec.name for spec in package.manifest.outputs] == list(DOCUMENTED)
    assert package.manifest.labels == zoo.labels("voc")
    assert package.detector is not None and package.detector.outputs == tuple(DOCUMENTED)
    with open_device("cpu") as device:
        device.load(package)
        outputs = device.run(package.image_input(photo.read_bytes()))
    assert {name: array.shape for name, array in outputs.items()} == {n: (1, *s) for n, s in DOCUMENTED.items()}
    assert sum(array.nbytes for array in outputs.values()) == 843_200
    found = detect(outputs, package.detector, package.manifest.labels)[0]
    lists = [outputs[name][0].tolist() for name in DOCUMENTED]
    expected = reference.detect(lists[:6], lists[6:])
    assert found  # random weights see things
    assert [(one.index, one.label) for one in found] == [(i, zoo.labels("voc")[i]) for i, _, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [score for _, score, _ in expected], rtol=1e-14)
    with (
        Server(ServeOptions(package=package, grpc_port=0)) as server,
        PredictionClient("127.0.0.1", server.port) as client,
    ):
        client.wait_until_ready()
        served = client.score_file(photo)
        assert sorted(served) == sorted(DOCUMENTED)
        assert all(np.array_equal(served[name], outputs[name]) for name in DOCUMENTED)
        assert client.detect_file(photo) == found


def test_twelve_outputs(narrow: Conversion, photo: Path) -> None:
    check(narrow, photo)


def test_the_golden_model_computes_the_same_bytes(narrow: Conversion, photo: Path) -> None:
    inputs = narrow.package.image_input(photo.read_bytes())
    with open_device("cpu") as device:
        device.load(narrow.package)
        traced = device.trace(inputs)
    computed = golden(narrow.package.model, inputs)
    names = [name for name, tensor in traced.items() if tensor.dtype.itemsize == 1 and name in computed]
    assert len(names) > 40
    assert all(np.array_equal(traced[name], computed[name]) for name in names)


def test_deploy_and_predict(
    narrow: Conversion, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fieldwave.toml").touch()
    target = LocalTarget(Workspace.find())
    target.deploy(narrow.path, "ssd")
    try:
        result = CliRunner().invoke(app, ["predict", "ssd", str(photo), "--json", "--draw", "drawn.png"])
    finally:
        target.delete("ssd")
    assert result.exit_code == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    assert (answer["width"], answer["height"]) == (600, 600)
    assert answer["detections"]
    assert all(one["score"] > 0.5 for one in answer["detections"])
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (600, 600)


def test_the_python_in_the_document_runs(
    narrow: Conversion, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fieldwave.toml").touch()
    shutil.copy(photo, tmp_path)
    document = (Path(__file__).parents[1] / "docs" / "detection.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert len(blocks) == 4
    target = LocalTarget(Workspace.find())
    target.deploy(narrow.path, "ssd")
    try:
        names: dict[str, object] = {}
        for block in blocks:
            exec(block, names)
    finally:
        target.delete("ssd")
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (600, 600)


@pytest.mark.slow
def test_twelve_outputs_of_the_network_in_full(tmp_path: Path, photo: Path) -> None:
    check(convert("ssd_vgg", weights="random:0", calibration=photo.parent, output=tmp_path / "ssd.zip"), photo)
