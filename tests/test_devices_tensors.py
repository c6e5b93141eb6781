from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.devices.tensors import check_inputs
from fieldwave.errors import TensorError
from fieldwave.package import FileDigest, Manifest, TensorSpec

RIGHT = "two takes: images:0 float32 [N, 8, 8, 3]; weights uint8 [N, 4] (N at least 1)"
MANIFEST = Manifest(
    network="two",
    version="0",
    inputs=(
        TensorSpec(name="images:0", aliases=("images",), shape=(None, 8, 8, 3)),
        TensorSpec(name="weights", dtype="uint8", shape=(None, 4)),
    ),
    outputs=(TensorSpec(name="y", shape=(None, 1)),),
    files={"model.onnx": FileDigest(sha256="0" * 64, size=0)},
)


def right(count: int = 1) -> dict[str, NDArray[Any]]:
    return {"images:0": np.zeros((count, 8, 8, 3), np.float32), "weights": np.zeros((count, 4), np.uint8)}


@pytest.mark.parametrize("count", [1, 5])
def test_right_inputs_give_the_number_of_images(count: int) -> None:
    assert check_inputs(MANIFEST, right(count)) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros(1)}, f"no input 'images'; {RIGHT}"),
        ({"images:0": None}, f"input 'images:0' is missing; {RIGHT}"),
        ({"images:0": np.zeros((1, 8, 8, 3))}, f"input 'images:0' is float64; {RIGHT}"),
        ({"images:0": np.zeros((1, 8, 8, 3), ">f4")}, f"input 'images:0' is >f4; {RIGHT}"),
        ({"images:0": np.array([b"png"], object)}, f"input 'images:0' is object; {RIGHT}"),
        ({"images:0": np.zeros((8, 8, 3), "f4")}, f"input 'images:0' has shape [8, 8, 3]; {RIGHT}"),
        ({"images:0": np.zeros((1, 3, 8, 8), "f4")}, f"input 'images:0' has shape [1, 3, 8, 8]; {RIGHT}"),
        ({"images:0": np.zeros((0, 8, 8, 3), "f4")}, f"input 'images:0' has shape [0, 8, 8, 3]; {RIGHT}"),
        (
            {"weights": np.zeros((2, 4), np.uint8)},
            "the inputs differ in their number of images: 'images:0' 1, 'weights' 2; give each the same number",
        ),
    ],
)
def test_wrong_inputs_are_told_the_right_ones(changes: dict[str, Any], message: str) -> None:
    inputs = {name: value for name, value in {**right(), **changes}.items() if value is not None}
    with pytest.raises(TensorError) as error:
        check_inputs(MANIFEST, inputs)
    assert str(error.value) == message
