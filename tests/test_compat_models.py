"""The ten model classes, in a TensorFlow-1 graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install tensorflow-cpu")
from fieldwave.compat.azureml.accel import models
from fieldwave.compat.azureml.accel.models.model import DoesNotExistError

HEADS = {
    "Resnet50": "classifier/resnet_v1_50/predictions/Softmax:0",
    "Resnet152": "classifier/resnet_v1_152/predictions/Softmax:0",
    "Vgg16": "classifier/vgg_16/fc8/squeezed:0",
    "Densenet121": "classifier/densenet121/predictions/Softmax:0",
}
NAMES = [prefix + name for name in (*HEADS, "SsdVgg") for prefix in ("", "Quantized")]


@pytest.fixture
def tf() -> Any:
    with quiet_tensorflow() as tensorflow, tensorflow.Graph().as_default():
        yield tensorflow.compat.v1


@pytest.mark.parametrize("name", NAMES)
def test_what_a_script_asks_before_it_builds(name: str, tmp_path: Path) -> None:
    model = getattr(models, name)(tmp_path, is_frozen=True)
    side = 300 if "Ssd" in name else 224
    assert model.get_input_dims() == [None, side, side, 3]
    assert model.input_tensor_list == ["InputImage:0"]
    assert model.model_version == model.version
    assert model.model_path == str(tmp_path / model._modelname / model.version)
    if "Ssd" in name:
        assert len(model.output_tensor_list) == 12
        assert model.get_output_dims(0) == [None, 37, 37, 4, 21]
        assert model.get_output_dims(11) == [None, 1, 1, 4, 4]
    else:
        assert model.output_tensor_list == ["brainwave_target_node_1_Version_0.1:0"]
        channels = {"resnet": 2048, "vgg16": 4096, "densen": 1024}[model.model_ref[:6]]
        assert model.get_output_dims() == [None, 1, 1, channels]
    with pytest.raises(IndexError, match=rf"^{name} has {len(model.output_tensor_list)}, counted from 0; "):
        model.get_output_dims(12)


def test_no_model_before_its_graph(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^call import_graph_def before restore_weights$"):
        models.Resnet50(tmp_path).restore_weights(None)


def build(tf: Any, name: str, folder: Path) -> tuple[Any, Any, Any]:
    model = getattr(models, name)(folder, is_frozen=True)
    images = tf.placeholder(tf.float32, model.get_input_dims(), "images")
    features = model.import_graph_def(images)
    return model, images, features


def test_resnet_50_says_the_documented_names_and_computes_the_zoos_network(
    tf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images, features = build(tf, "QuantizedResnet50", tmp_path)
    assert capsys.readouterr().err == (
        "fieldwave: no weights of resnet50 are here, random ones are taken: fieldwave weights pull resnet50-slim\n"
    )
    scores = model.get_default_classifier(features)
    assert features.name == "brainwave_target_node_1_Version_0.1:0"
    assert (scores.name, model.get_default_classifier(features).name) == (
        "classifier/resnet_v1_50/predictions/Softmax:0",
        "classifier_1/resnet_v1_50/predictions/Softmax:0",
    )
    assert tf.trainable_variables() == []
    image = np.random.default_rng(0).normal(0, 60, (1, 224, 224, 3)).astype(np.float32)
    with tf.Session() as session:
        model.restore_weights(session)
        feed = {images: image, "is_training:0": False}
        found = session.run(scores, feed)
        checkpoint = model.save_weights(tmp_path / "own" / "rn50", session)
        kernel = session.graph.get_tensor_by_name("resnet_v1_50/conv1/weights/Read/ReadVariableOp:0")
        before = session.run(kernel)
        session.run(tf.global_variables_initializer())
        assert not session.run(kernel).any()
        model.custom_weights_directory = Path(checkpoint).parent
        model.restore_weights(session)
        np.testing.assert_array_equal(session.run(kernel), before)
        np.testing.assert_array_equal(session.run(scores, feed), found)
    assert not list(Path(checkpoint).parent.glob("*.meta"))
    network, weights = zoo.load("resnet50", "random:0")
    with tf.Graph().as_default():
        whole = zoo.to_tensorflow(network, weights)
        with tf.Session(graph=whole.graph) as session:
            whole.restore(session)
            expected = session.run(whole.outputs[0], {whole.source: image})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "Resnet50" not in name])
def test_every_class_builds_with_the_documented_names(tf: Any, name: str, tmp_path: Path) -> None:
    model, _, features = build(tf, name, tmp_path)
    plain = name.removeprefix("Quantized")
    if plain == "SsdVgg":
        assert [one.name for one in features] == [output.name for output in zoo.network("ssd_vgg").outputs]
        assert [one.shape.as_list() for one in features] == [model.get_output_dims(i) for i in range(12)]
        with pytest.raises(DoesNotExistError, match=f"^{name} has no default classifier: it finds objects$"):
            model.get_default_classifier(features[0])
        return
    assert features.shape.as_list() == model.get_output_dims()
    assert model.get_default_classifier(features).name == HEADS[plain]
    with tf.Session() as session:
        model.restore_weights(session)


def test_a_folder_without_checkpoint(tf: Any, tmp_path: Path) -> None:
    model, _, _ = build(tf, "Resnet50", tmp_path)
    model.custom_weights_directory = tmp_path / "nothing"
    with pytest.raises(ValueError, match=r"^there is no checkpoint in "):
        model.restore_weights(None)
