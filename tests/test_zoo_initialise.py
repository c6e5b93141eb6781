"""Random weights: the same bytes everywhere, and a network that tells photographs apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fieldwave import zoo
from fieldwave.preprocess import preprocess
from fieldwave.zoo.forward import GRID, WEIGHT_GRID
from fieldwave.zoo.layers import Conv, Dense, L2Normalize, Relu
from tests.small_zoo import NAMES, small

PHOTOGRAPHS = sorted((Path(__file__).parent / "data" / "images").glob("*.jpg"))
LOGITS = "classifier/resnet_v1_50/logits/BiasAdd:0"

Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def resnet() -> zoo.Network:
    return zoo.network("resnet50")


@pytest.fixture(scope="module")
def weights(resnet: zoo.Network) -> Weights:
    return zoo.load_weights(resnet, "random:0")


@pytest.fixture(scope="module")
def outputs(resnet: zoo.Network, weights: Weights) -> dict[str, np.ndarray]:
    """Every tensor behind an activation, and the outputs, for all photographs."""
    model = zoo.to_onnx(resnet, weights)
    watched = [layer.output for layer in resnet.layers if layer.name.endswith("Relu")]
    for name in (*watched, LOGITS):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.stack([preprocess(path.read_bytes(), resnet.preprocessing) for path in PHOTOGRAPHS])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {resnet.input.name: images}), strict=True))


def digest(weights: Weights) -> str:
    total = hashlib.sha256()
    for name, array in weights.items():
        total.update(name.encode())
        total.update(array.tobytes())
    return total.hexdigest()


def test_a_seed_gives_the_same_bytes_on_every_machine(weights: Weights) -> None:
    # Everything is exact or rounded as IEEE-754 says, so these hold for any number of threads, any BLAS and
    # any numpy. They may only change together with the way in which weights are made.
    assert digest(weights) == "9c89c42c33f9704dbccf5f07868cdf47c2cd91ed661afd65cd7f2d0b92e266fb"
    digits = zoo.network("digits")
    first = digest(zoo.load_weights(digits, "random:0"))
    assert first == "0e8e69493315afa3cb950d24c242a4faa6ef718df6c1796e8d68c7dd132ec464"
    assert digest(zoo.load_weights(digits, "random:00")) == first
    assert digest(zoo.load_weights(digits, "random:1")) != first


def test_weights_are_complete_and_finite(resnet: zoo.Network, weights: Weights) -> None:
    zoo.check_weights(resnet, weights)
    assert list(weights) == list(resnet.weight_shapes)


def test_kernels_have_the_variance_of_he_initialisation(resnet: zoo.Network, weights: Weights) -> None:
    for layer in resnet.layers:
        if isinstance(layer, Conv) and not layer.biases:
            kernel = weights[layer.weights].astype(np.float64)
            fan_in = np.prod(kernel.shape[:3])
            assert np.var(kernel) * fan_in / 2 == pytest.approx(1, rel=0.1)
            assert abs(kernel.mean()) < 0.02


def test_products_are_exact(resnet: zoo.Network, weights: Weights) -> None:
    """No sum can reach 2^53 grid steps, even if each of its terms had the largest size seen in the layer."""
    for layer in resnet.layers:
        if isinstance(layer, Conv | Dense):
            kernel = weights[layer.weights].astype(np.float64)
            steps = kernel / WEIGHT_GRID
            np.testing.assert_array_equal(steps, np.rint(steps))
            fan_in = np.prod(kernel.shape[:-1])
            assert np.abs(steps).max() * (256 / GRID) * fan_in < 2**53


def test_photographs_get_clearly_different_answers(outputs: dict[str, np.ndarray], resnet: zoo.Network) -> None:
    probabilities = outputs[resnet.outputs[0].name].astype(np.float64)
    assert probabilities.shape == (10, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(set(probabilities.argmax(axis=1))) >= 7
    first, second = np.triu_indices(len(PHOTOGRAPHS), 1)
    distances = np.abs(probabilities[first] - probabilities[second]).sum(axis=1) / 2
    assert distances.min() > 0.3  # total variation: 0 for equal distributions, 1 for disjoint ones


def test_the_softmax_is_neither_uniform_nor_sure(outputs: dict[str, np.ndarray], resnet: zoo.Network) -> None:
    highest = outputs[resnet.outputs[0].name].max(axis=1)
    assert highest.min() > 10 / 1000
    assert highest.max() < 0.9
    assert 1.5 < outputs[LOGITS].std() < 3


def test_signals_neither_die_nor_grow(outputs: dict[str, np.ndarray]) -> None:
    activations = {name: values for name, values in outputs.items() if name.endswith("Relu:0")}
    assert len(activations) == 49
    for name, values in activations.items():
        assert 0.3 < values.std() < 1.2, name
        assert 0.3 < (values > 0).mean() < 0.95, name
        # Of an 8-bit range that reaches to eight deviations, next to nothing would be cut off.
        assert (values > values.mean() + 8 * values.std()).mean() < 0.001, name
        alive = (values > 0).any(axis=(0, 2, 3))
        assert alive.mean() > 0.99, name


@pytest.mark.parametrize("name", NAMES)
def test_all_networks_keep_their_signals(name: str) -> None:
    check_signals(small(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_full_networks_keep_their_signals(name: str) -> None:
    check_signals(zoo.network(name))


def check_signals(network: zoo.Network) -> None:
    weights = zoo.load_weights(network, "random:0")
    zoo.check_weights(network, weights)
    assert list(weights) == list(network.weight_shapes)
    model = zoo.to_onnx(network, weights)
    watched = [layer.output for layer in network.layers if isinstance(layer, Relu | L2Normalize)]
    for name in {*watched} - {output.name for output in model.graph.output}:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.stack([preprocess(path.read_bytes(), network.preprocessing) for path in PHOTOGRAPHS[:4]])
    outputs = [output.name for output in network.outputs]
    results = dict(
        zip(watched + outputs, session.run(watched + outputs, {network.input.name: images}), strict=True)
    )
    for name in watched:
        assert 0.1 < results[name].std() < 3, name
        assert 0.15 < (results[name] > 0).mean() < 0.95, name
    for name in outputs:
        first, *others = results[name]
        assert max(np.abs(first - other).max() for other in others) > 0.1 * first.std(), name
