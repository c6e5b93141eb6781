"""The zoo's networks as TensorFlow graphs: the numbers of the ONNX graph, slim's names, training."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.errors import MissingExtraError, ModelError, WeightsError
from fieldwave.quantize import Options, emit, prepare, quantized_name
from fieldwave.quantize.calibrate import all_tensors
from tests.small_zoo import NAMES, small
from tests.test_zoo_emission import CASES, Case, compare, of_layers, whole_numbers
from tests.test_zoo_torch import Array, assert_close, from_onnx, made

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install 'fieldwave[tensorflow]'")

VARIANTS = (*((name, "slim") for name in NAMES if name != "resnet152"), ("resnet50", "keras"))


def run(built: zoo.TensorFlowNetwork, images: Array) -> list[Array]:
    with tf.compat.v1.Session(graph=built.graph) as session:
        built.restore(session)
        return session.run(built.outputs, {built.source: images})


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_graph_computes_what_the_onnx_graph_computes(name: str, variant: str) -> None:
    network = small(name, variant)
    weights, images = made(network)
    built = zoo.to_tensorflow(network, weights)
    assert built.source.name == network.input.name
    assert [output.name for output in built.outputs] == [output.name for output in network.outputs]
    for output, tensor in zip(network.outputs, built.outputs, strict=True):
        assert tensor.shape.as_list() == [None, *output.shape]
    assert list(built.variables) == list(network.weight_shapes)
    for key, variable in built.variables.items():
        assert (variable.name, variable.shape.as_list()) == (f"{key}:0", list(network.weight_shapes[key]))
    for layer in network.layers:
        assert built.graph.get_tensor_by_name(layer.output).shape.as_list() == [
            None,
            *network.shapes[layer.output],
        ]
    for ours, reference in zip(run(built, images), from_onnx(network, weights, images), strict=True):
        assert_close(ours, reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_layer_computes_its_definition(case: Case) -> None:
    network = of_layers(case.layers)
    images, weights = whole_numbers(network)
    compare(run(zoo.to_tensorflow(network, weights), images)[0], case, images, weights, tolerance=1e-4)


def test_featurizer_and_classifier_apart() -> None:
    network = small("resnet50")
    weights, images = made(network)
    with tf.Graph().as_default():
        source = tf.compat.v1.placeholder(tf.float32, (None, *network.input.shape), "mine")
        featurizer = zoo.to_tensorflow(network, weights, source=source, part="featurizer", frozen=True)
        (features,) = featurizer.outputs
        assert features is featurizer.features
        assert features.name == "resnet_v1_50/pool5:0"
        assert tf.compat.v1.trainable_variables() == []
        classifier = zoo.to_tensorflow(network, weights, source=features, part="classifier")
        assert [variable.name for variable in tf.compat.v1.trainable_variables()] == [
            "resnet_v1_50/logits/weights:0",
            "resnet_v1_50/logits/biases:0",
        ]
        assert set(featurizer.variables) | set(classifier.variables) == set(weights)
        with tf.compat.v1.Session() as session:
            featurizer.restore(session)
            classifier.restore(session)
            (ours,) = session.run(classifier.outputs, {source: images})
            assert_close(ours, from_onnx(network, weights, images)[0])
            for name, value in {**featurizer.weights(session), **classifier.weights(session)}.items():
                np.testing.assert_array_equal(value, weights[name])


def test_a_checkpoint_of_the_graph_has_slims_names(tmp_path) -> None:
    network = small("vgg16")
    weights, images = made(network)
    built = zoo.to_tensorflow(network, weights)
    path = str(tmp_path / "vgg_16.ckpt")
    with built.graph.as_default(), tf.compat.v1.Session() as session:
        built.restore(session)
        tf.compat.v1.train.Saver().save(session, path)
    reader = tf.train.load_checkpoint(path)
    assert set(reader.get_variable_to_shape_map()) == set(network.weight_shapes)
    again = zoo.to_tensorflow(network, {name: np.zeros_like(array) for name, array in weights.items()})
    with again.graph.as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.train.Saver().restore(session, path)
        (ours,) = session.run(again.outputs, {again.source: images})
    assert_close(ours, from_onnx(network, weights, images)[0])


def test_training_takes_the_statistics_of_the_batch_and_moves_the_averages() -> None:
    network = small("densenet121")
    weights, images = made(network)
    built = zoo.to_tensorflow(network, weights, is_training=False)
    assert built.is_training.name == "is_training:0"
    with built.graph.as_default(), tf.compat.v1.Session() as session:
        built.restore(session)
        (inferred,) = session.run(built.outputs, {built.source: images})
        assert_close(inferred, from_onnx(network, weights, images)[0])
        updates = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
        gradients = tf.gradients(built.outputs[0][:, 0], tf.compat.v1.trainable_variables())
        assert all(gradient is not None for gradient in gradients)
        feed = {built.source: images, built.is_training: True}
        session.run(updates, {**feed, built.is_training: False})
        assert all(np.array_equal(value, weights[name]) for name, value in built.weights(session).items())
        trained, *_ = session.run([built.outputs[0], *updates, *gradients], feed)
        moved = {n for n, value in built.weights(session).items() if not np.array_equal(value, weights[n])}
    assert moved == {name for name in weights if "/moving_" in name}
    torch = pytest.importorskip("torch")
    module = zoo.to_torch(network, weights)
    module.train()
    with torch.no_grad():
        assert_close(trained, module(torch.from_numpy(images)).numpy())


def test_fake_quantized_at_the_scales_of_the_int8_network() -> None:
    network = small("resnet50")
    weights = zoo.load_weights(network, "random:0")
    images = np.random.default_rng(0).normal(0, 50, (2, *network.input.shape)).astype(np.float32)
    calibration = [image[np.newaxis] for image in images]
    options = Options(bias_correction=False)  # which TensorFlow does not know of
    prepared = prepare(zoo.to_graph(network, weights), calibration, options=options)
    built = zoo.to_tensorflow(network, weights, scales=prepared.scales)
    # Behind these, differences of one step (halves, biases) grow from layer to layer in a network of noise.
    names = [
        "resnet_v1_50/conv1/Relu:0",
        "resnet_v1_50/pool1/MaxPool:0",
        "resnet_v1_50/block1/unit_1/bottleneck_v1/conv3/BatchNorm/FusedBatchNorm:0",
        "resnet_v1_50/block1/unit_1/bottleneck_v1/Relu:0",
    ]
    with tf.compat.v1.Session(graph=built.graph) as session:
        built.restore(session)
        ours = session.run(names, {built.source: images})
    int8 = emit(prepared.graph, prepared.plan, prepared.scales)
    for number, image in enumerate(calibration):
        (tensors,) = all_tensors(int8, [quantized_name(name) for name in names], [image])
        for name, values in zip(names, ours, strict=True):
            scale = prepared.scales[name]
            exact = tensors[quantized_name(name)][0].transpose(1, 2, 0).astype(np.float32) - scale.zero_point
            steps = values[number] / np.float32(scale.value)
            np.testing.assert_array_equal(steps, np.rint(steps))
            assert np.abs(steps - exact).max() <= 3, name
            assert (steps != exact).mean() < 0.03, name


def test_what_is_missing_is_named() -> None:
    network = small("ssd_vgg")
    weights, _ = made(network)
    with pytest.raises(ModelError) as error:
        zoo.to_tensorflow(network, weights, part="classifier")
    assert str(error.value) == "network 'ssd_vgg' has no classifier: its outputs are the featurizer's own"
    with pytest.raises(WeightsError):
        zoo.to_tensorflow(network, {})


def test_without_tensorflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = zoo.network("digits")
    weights = zoo.load_weights(network, "")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError) as error:
        zoo.to_tensorflow(network, weights)
    assert str(error.value) == (
        "making a TensorFlow graph needs the extra 'tensorflow': pip install 'fieldwave[tensorflow]'"
    )
