from __future__ import annotations

from io import BytesIO
from math import prod

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from fieldwave import zoo
from fieldwave.preprocess import normalise, preprocess


@pytest.fixture(scope="module")
def network() -> zoo.Network:
    return zoo.network("digits")


@pytest.fixture(scope="module")
def images() -> zoo.DigitsImages:
    return zoo.digits_images()


def test_what_clients_see(network: zoo.Network) -> None:
    assert network.input == zoo.Tensor("images:0", ("images",), (8, 8, 1))
    assert network.outputs == (zoo.Tensor("digits/predictions/Softmax:0", ("output_alias",), (10,)),)
    assert network.labels == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert network.shapes[network.features] == (1, 1, 64)


def test_it_is_small_and_has_every_kind_of_layer_that_a_resnet_has(network: zoo.Network) -> None:
    assert network.macs == 2_116_224
    assert 4 * sum(map(prod, network.weight_shapes.values())) == 311_464
    assert {type(layer).__name__ for layer in network.layers} == {
        "Add",
        "BatchNorm",
        "Conv",
        "Dense",
        "GlobalAveragePool",
        "MaxPool",
        "Relu",
        "Softmax",
        "Squeeze",
    }


def test_the_images_are_split_fairly(images: zoo.DigitsImages) -> None:
    assert images.heldout_images.shape == (360, 8, 8)
    assert images.heldout_labels.shape == (360,)
    assert images.calibration_images.shape == (100, 8, 8)
    assert np.bincount(images.heldout_labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    heldout = {image.tobytes() for image in images.heldout_images}
    assert len(heldout) == 360
    assert not any(image.tobytes() in heldout for image in images.calibration_images)


def test_pixels_are_the_seventeen_levels_of_the_data_set(images: zoo.DigitsImages) -> None:
    levels = [round(value * 255 / 16) for value in range(17)]
    assert np.unique(images.heldout_images).tolist() == levels


def test_an_image_travels_as_png(network: zoo.Network, images: zoo.DigitsImages) -> None:
    image = images.heldout_images[0]
    data = zoo.digit_png(image)
    assert data.startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(data))), image)
    tensor = preprocess(data, network.preprocessing)
    np.testing.assert_array_equal(tensor, image[..., None].astype(np.float32) / 256)


def test_heldout_accuracy_of_the_emitted_network(network: zoo.Network, images: zoo.DigitsImages) -> None:
    model = zoo.to_onnx(network, zoo.load_weights(network, ""))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = normalise(images.heldout_images[..., None], network.preprocessing)
    (probabilities,) = session.run(None, {"images:0": inputs})
    accuracy = np.mean(probabilities.argmax(axis=1) == images.heldout_labels)
    assert accuracy >= 0.975
