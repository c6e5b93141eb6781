"""``digits``: a small residual network for handwritten digits, with its weights and its images.

8 x 8 grey pixels, the images of scikit-learn's ``load_digits`` (Optical Recognition of Handwritten Digits, E.
Alpaydin and C. Kaynak, UCI Machine Learning Repository 1998, CC BY 4.0). ``examples/train_digits.py`` writes
both data files.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.layers import Add, Dense, GlobalAveragePool, Layer, MaxPool, Relu, Softmax, Squeeze
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import convolution

__all__ = ["DigitsImages", "digit_png", "digits", "digits_images"]


def digits(*, labels: tuple[str, ...] = ()) -> Network:
    """A small ResNet v1: stem, identity unit, strided unit with projection, max pool, average, dense.

    ``labels`` are other classes than the ten digits.
    """
    labels = labels or tuple("0123456789")
    images = Tensor("images:0", ("images",), (8, 8, 1))
    stem = convolution("digits/conv1", images.name, kernel=3, channels=_STEM)
    identity = _basic("digits/block1/unit_1/basic_v1", stem[-1].output, width=_STEM)
    halved = _basic("digits/block2/unit_1/basic_v1", identity[-1].output, width=_WIDE, stride=2)
    pool = MaxPool("digits/pool2/MaxPool", (halved[-1].output,), kernel=3, stride=2, padding="same")
    average = GlobalAveragePool("digits/pool3", (pool.output,))
    squeezed = Squeeze("digits/SpatialSqueeze", (average.output,))
    logits = Dense(
        "digits/logits/BiasAdd",
        (squeezed.output,),
        channels=len(labels),
        weights="digits/logits/weights",
        biases="digits/logits/biases",
    )
    predictions = Softmax("digits/predictions/Softmax", (logits.output,))
    return Network(
        name="digits",
        input=images,
        outputs=(Tensor(predictions.output, ("output_alias",), (len(labels),)),),
        layers=(*stem, *identity, *halved, pool, average, squeezed, logits, predictions),
        features=average.output,
        # Scaled by a power of two, so that grey levels survive 8-bit quantization unchanged.
        preprocessing=Preprocessing(height=8, width=8, order="GRAY", resize="stretch", mean=(0.0,), scale=1 / 256),
        labels=labels,
    )


@dataclass(frozen=True)
class DigitsImages:
    """Images [n, 8, 8] of grey levels 0 (paper) to 255 (ink), and labels [n] from 0 to 9.

    ``heldout_*`` took no part in training; ``calibration_images`` did.
    """

    heldout_images: NDArray[np.uint8]
    heldout_labels: NDArray[np.uint8]
    calibration_images: NDArray[np.uint8]


def digits_images() -> DigitsImages:
    """The 360 held-out images with their labels, and 100 images for calibration."""
    with (
        files("fieldwave.zoo").joinpath("data/digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        return DigitsImages(**{name: data[name] for name in data.files})


def digit_png(pixels: NDArray[np.uint8]) -> bytes:
    """One image of :func:`digits_images` as the bytes of a PNG file."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


_STEM = 32
_WIDE = 64


def _basic(scope: str, source: str, *, width: int, stride: int = 1) -> tuple[Layer, ...]:
    """Two 3x3 convolutions beside the identity, or a 1x1 projection where the shape changes."""
    shortcut: tuple[Layer, ...] = ()
    if stride > 1:
        shortcut = convolution(f"{scope}/shortcut", source, kernel=1, channels=width, stride=stride, relu=False)
    conv1 = convolution(f"{scope}/conv1", source, kernel=3, channels=width, stride=stride)
    conv2 = convolution(f"{scope}/conv2", conv1[-1].output, kernel=3, channels=width, relu=False)
    add = Add(f"{scope}/add", (shortcut[-1].output if shortcut else source, conv2[-1].output))
    return (*shortcut, *conv1, *conv2, add, Relu(f"{scope}/Relu", (add.output,)))
