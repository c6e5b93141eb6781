"""TensorFlow models: what is found of their preprocessing, and that the rest computes what TensorFlow computes."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.conversion import convert
from fieldwave.devices import create_device
from fieldwave.errors import ModelError, NotFoundError
from fieldwave.frontends import load
from fieldwave.frontends.measure import run
from fieldwave.model import FloatModel
from fieldwave.preprocess import Preprocessing, preprocess
from tests.small_zoo import small
from tests.tensorflow_models import (
    INPUT,
    MEAN,
    OUTPUT,
    SHORTEST_SIDE,
    SIZE,
    answers,
    keras_network,
    of_the_zoo,
    tutorial,
)

pytestmark = pytest.mark.skipif(
    not (find_spec("tensorflow") and find_spec("tf2onnx")),
    reason="tensorflow and tf2onnx are not installed: pip install 'fieldwave[tensorflow]'",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's model."""
    return tutorial(tmp_path_factory.mktemp("tutorial") / "resnet50")


@pytest.mark.parametrize("name", ["classifier/resnet_v1_50/predictions/Softmax:0", OUTPUT])
def test_the_default_classifier_is_found_by_either_of_its_names(saved: Path, name: str) -> None:
    model = load(saved, outputs=[name])
    assert [value.name for value in model.graph.outputs] == [OUTPUT]
    assert model.aliases[OUTPUT] == ("output_alias", "classifier/resnet_v1_50/predictions/Softmax:0")


@pytest.fixture(scope="module")
def loaded(saved: Path) -> FloatModel:
    return load(saved)


@pytest.fixture(scope="module")
def photos(photographs: list[Path]) -> list[bytes]:
    """The photographs, small, as PNG files: any two decoders agree on them."""
    from PIL import Image

    files = []
    for path in photographs[:3]:
        file = BytesIO()
        with Image.open(path) as image:
            image.resize((image.width // 8, image.height // 8)).save(file, "PNG")
        files.append(file.getvalue())
    return files


EXTRA = {"densenet121": {"Add", "Mul"}, "ssd_vgg": {"Max", "ReduceSum", "Reciprocal", "Sqrt"}}
"""Operators beside those of the description: TensorFlow's spelling of batch norm and of L2 normalisation."""


def scores(model: FloatModel, images: list[bytes]) -> Any:
    assert model.preprocessing is not None
    batch = np.stack([preprocess(data, model.preprocessing) for data in images])
    name = model.graph.outputs[0].name
    return run(model.graph, batch, [name])[name]


def test_the_tutorial_is_cut_and_its_preprocessing_found(loaded: FloatModel) -> None:
    assert loaded.preprocessing == Preprocessing(
        height=SIZE, width=SIZE, resize="crop", shortest_side=SHORTEST_SIDE, mean=MEAN, scale=1.0
    )
    assert [str(value) for value in loaded.graph.inputs] == [
        f"Value(name='{INPUT}', dtype='float32', shape=(None, {SIZE}, {SIZE}, 3))"
    ]
    assert loaded.graph.outputs[0].name == OUTPUT
    assert loaded.graph.outputs[0].shape == (None, 10)
    cut = "map_normalize_jpeg/TensorArrayStack/TensorArrayGatherV3:0"
    twin = OUTPUT.replace("classifier_1/", "classifier/")
    assert loaded.aliases == {INPUT: ("images", cut), OUTPUT: ("output_alias", twin)}
    assert loaded.notes == (
        "input 'is_training:0' is set to False",
        f"the image part before '{cut}' became the preprocessing",
    )


def test_the_tutorial_computes_what_tensorflow_computes(
    saved: Path, loaded: FloatModel, photos: list[bytes]
) -> None:
    from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow

    with quiet_tensorflow() as tf:
        v1 = tf.compat.v1
        with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            v1.saved_model.load(session, ["serve"], str(saved))
            feed = {INPUT: photos, "is_training:0": False}
            expected, pixels = session.run([OUTPUT, loaded.aliases[INPUT][1]], feed)
    assert loaded.preprocessing is not None
    for data, theirs in zip(photos, pixels, strict=True):
        assert preprocess(data, loaded.preprocessing).tobytes() == theirs.tobytes()
    np.testing.assert_allclose(scores(loaded, photos), expected, atol=1e-5)


def test_the_tutorial_as_a_package(saved: Path, loaded: FloatModel, photos: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, data in enumerate(photos):
        (folder / f"{index}.png").write_bytes(data)
    made = convert(saved, calibration=folder, output=tmp_path / "1.zip")
    again = convert(loaded, calibration=folder, output=tmp_path / "2.zip")
    assert made.path.read_bytes() == again.path.read_bytes()
    manifest = made.package.manifest
    assert "images" in manifest.inputs[0].names() and "in_images" in manifest.inputs[0].names()
    assert "output_alias" in manifest.outputs[0].names()
    with create_device("cpu") as device:
        device.load(made.package)
        found = [device.run(made.package.image_input(data))[OUTPUT][0] for data in photos]
    assert np.argmax(found, 1).tolist() == np.argmax(scores(loaded, photos), 1).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"control_flow_v2": True, "order": "BGR", "scale": 0.017},
        {"crop": False, "scale": 1 / 127.5},
    ],
    ids=["crop-bgr-while", "stretch-scale"],
)
def test_other_preparations_are_found(options: dict[str, Any], tmp_path: Path) -> None:
    model = load(tutorial(tmp_path / "saved", **options))
    assert model.preprocessing == Preprocessing(
        height=SIZE,
        width=SIZE,
        order=options.get("order", "RGB"),
        resize="crop" if options.get("crop", True) else "stretch",
        shortest_side=SHORTEST_SIDE if options.get("crop", True) else 256,
        mean=MEAN,
        scale=options["scale"],
    )


def test_another_bilinear_kernel_is_said(tmp_path: Path) -> None:
    model = load(tutorial(tmp_path / "saved", half_pixel=True))
    assert model.preprocessing is not None
    assert (model.preprocessing.resize, model.preprocessing.shortest_side) == ("crop", SHORTEST_SIDE)
    assert model.notes[-1].startswith(
        "the model resizes with another kernel than Fieldwave: pixels of smooth images differ by "
    )


def test_a_tensor_of_the_users_own_to_begin_at(saved: Path) -> None:
    model = load(saved, input="resnet_v1_50/Relu:0", outputs=["resnet_v1_50/pool5:0"], size=8)
    assert model.preprocessing is None
    assert model.graph.inputs[0].shape == (None, 8, 8, 8)
    assert model.graph.outputs[0].shape == (None, 1, 1, 8)
    with pytest.raises(ModelError) as caught:
        load(saved, input="nothing:0")
    assert str(caught.value) == f"{saved} cannot be loaded: nothing is not in graph"


def test_keras_with_its_rescaling_inside(tmp_path: Path) -> None:
    folder = keras_network(tmp_path / "keras")
    model = load(folder)
    assert model.preprocessing == Preprocessing(
        height=SIZE, width=SIZE, resize="stretch", mean=(127.5,) * 3, scale=1 / 127.5
    )
    assert model.graph.inputs[0].name == "photo:0"
    assert model.aliases["photo:0"] == ("photo", "images")
    assert [node.op for node in model.graph.nodes][:2] == ["Transpose", "Conv"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
    output = model.graph.outputs[0].name
    found = run(model.graph, (pixels - np.float32(127.5)) * np.float32(1 / 127.5), [output])[output]
    np.testing.assert_allclose(found, answers(folder, pixels), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["densenet121", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "vgg16", "ssd_vgg"))],
)
def test_the_tutorials_road_with_the_networks_of_the_zoo(name: str, tmp_path: Path) -> None:
    network = small(name)
    weights = zoo.load_weights(network, "random:0")
    model = load(of_the_zoo(tmp_path / "saved", network, weights))
    assert network.preprocessing is not None
    sides = {} if network.preprocessing.resize == "crop" else {"shortest_side": 256}
    assert model.preprocessing == replace(network.preprocessing, **sides)
    learns = any("moving_mean" in weight for weight in weights)
    assert ("input 'is_training:0' is set to False" in model.notes) == learns
    reference = zoo.float_model(network, weights)
    names = [output.name for output in reference.graph.outputs]
    assert sorted(value.name for value in model.graph.outputs) == sorted(names)
    spec = network.preprocessing
    image = np.random.default_rng(0).uniform(-120, 130, (2, spec.height, spec.width, 3)) * spec.scale
    theirs, ours = (run(one.graph, image.astype(np.float32), names) for one in (reference, model))
    for output in names:
        np.testing.assert_allclose(
            ours[output], theirs[output], rtol=1e-3, atol=1e-4 * np.abs(theirs[output]).max()
        )
    operators = {node.op for node in reference.graph.nodes} | {"BatchNormalization", "Gemm", "MatMul", "Reshape"}
    assert {node.op for node in model.graph.nodes} - operators == EXTRA.get(name, set())


def test_two_exports_of_one_model_are_one_graph(saved: Path, loaded: FloatModel) -> None:
    again = load(saved)
    assert again.graph.nodes == loaded.graph.nodes
    assert list(again.graph.constants) == list(loaded.graph.constants)
    for name, value in loaded.graph.constants.items():
        assert value.tobytes() == again.graph.constants[name].tobytes()


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load(tmp_path / "none")
    assert str(caught.value) == f"no model {tmp_path / 'none'}; check the path"
    with pytest.raises(ModelError) as no_model:
        load(tmp_path)
    assert str(no_model.value) == f"folder {tmp_path} is no SavedModel: it holds no saved_model.pb"
    (tmp_path / "saved_model.pb").write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"is no SavedModel that can be read: "):
        load(tmp_path)
    (tmp_path / "frozen.pb").write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"frozen\.pb is no frozen graph: "):
        load(tmp_path / "frozen.pb")


def test_a_node_that_onnx_has_not(tmp_path: Path) -> None:
    from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow

    with quiet_tensorflow() as tf, tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3], name="images")
        tf.linalg.svd(images, compute_uv=False, name="singular")
        (tmp_path / "svd.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "svd.pb", outputs=["singular:0"])
    assert str(caught.value) == (
        "node 'singular' (Svd) is no operator of ONNX; end the network before it (--output-tensor TENSOR), "
        "or write it with other operators"
    )
