"""The five networks at their full size: ONNX Runtime, PyTorch and TensorFlow agree to the rounding of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.preprocess import preprocess
from tests.small_zoo import NAMES
from tests.test_zoo_torch import assert_close, from_onnx, torch

PHOTOGRAPH = Path(__file__).parent / "data" / "images" / "snowleopardgaze.jpg"
TOLERANCE = 1e-4  # rounding grows with depth: ONNX Runtime is as far from float64 as the others are from it


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_three_emitters_agree(name: str) -> None:
    tf = pytest.importorskip(
        "tensorflow", reason="TensorFlow is not installed: pip install 'fieldwave[tensorflow]'"
    )
    network = zoo.network(name)
    weights = zoo.load_weights(network, "random:0")
    images = preprocess(PHOTOGRAPH.read_bytes(), network.preprocessing)[np.newaxis]
    reference = from_onnx(network, weights, images)
    with torch.no_grad():
        outputs = zoo.to_torch(network, weights)(torch.from_numpy(images))
    for ours, expected in zip(outputs if isinstance(outputs, tuple) else (outputs,), reference, strict=True):
        assert_close(ours.numpy(), expected, TOLERANCE)
    built = zoo.to_tensorflow(network, weights)
    with tf.compat.v1.Session(graph=built.graph) as session:
        built.restore(session)
        for ours, expected in zip(session.run(built.outputs, {built.source: images}), reference, strict=True):
            assert_close(ours, expected, TOLERANCE)
