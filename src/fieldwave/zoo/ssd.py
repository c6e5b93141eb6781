"""SSD-VGG-300 (Liu et al.: SSD, Single Shot MultiBox Detector, 2016), under the names of its slim implementation.

VGG-16 without its classifier, a dilated convolution in place of fc6, four more stages, and on six of the feature
maps a pair of convolutions: class logits and box offsets for the few anchors around each pixel.
"""

from __future__ import annotations

from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.labels import labels as class_list
from fieldwave.zoo.layers import L2Normalize, Layer, MaxPool, Reshape
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import VALID, biased, symmetric
from fieldwave.zoo.vgg import convolutions

__all__ = ["ssd_vgg"]

_SCOPE = "ssd_300_vgg"
_ANCHORS = {"block4": 4, "block7": 6, "block8": 6, "block9": 6, "block10": 4, "block11": 4}
"""Anchors around each pixel of the feature maps that are read."""


def ssd_vgg(*, width: int = 64, labels: tuple[str, ...] = ()) -> Network:
    """SSD for photographs stretched to 300x300 and the 20 classes of Pascal VOC behind a background class.

    The outputs are six tensors of class logits ``[grid, grid, anchors, classes]`` and then six of box offsets
    ``[grid, grid, anchors, 4]``, from the finest grid, 37, to the coarsest, 1: 8732 anchors in the paper, whose
    finest grid is 38, but 8432 here, as in the retired service, whose third pool drops the odd row and column.

    Args:
        width: channels of the first convolution, to which all but the predictions are in proportion.
        labels: other classes; the first is the background.
    """
    images = Tensor("Placeholder:0", ("images",), (300, 300, 3))
    labels = labels or class_list("voc")
    body = convolutions(_SCOPE, images.name, width, pools=(VALID, VALID, VALID, "same"))
    pool5 = MaxPool(f"{_SCOPE}/pool5/MaxPool", (body[-1].output,), kernel=3, stride=1)
    block6 = biased(f"{_SCOPE}/conv6", pool5.output, kernel=3, channels=16 * width, dilation=6)
    block7 = biased(f"{_SCOPE}/conv7", block6[-1].output, kernel=1, channels=16 * width)
    block8 = _stage("block8", block7[-1].output, 4 * width, halve=True)
    block9 = _stage("block9", block8[-1].output, 2 * width, halve=True)
    block10 = _stage("block10", block9[-1].output, 2 * width)
    block11 = _stage("block11", block10[-1].output, 2 * width)
    maps = {
        "block4": f"{_SCOPE}/conv4/conv4_3/Relu:0",
        "block7": block7[-1].output,
        "block8": block8[-1].output,
        "block9": block9[-1].output,
        "block10": block10[-1].output,
        "block11": block11[-1].output,
    }
    scale = L2Normalize(
        f"{_SCOPE}/block4_box/L2Normalization/Mul",
        (maps["block4"],),
        scope=f"{_SCOPE}/block4_box/L2Normalization",
    )
    maps["block4"] = scale.output
    layers: list[Layer] = [*body, pool5, *block6, *block7, *block8, *block9, *block10, *block11, scale]
    grids = {"block4": 37, "block7": 19, "block8": 10, "block9": 5, "block10": 3, "block11": 1}
    logits, boxes = [], []
    for block, anchors in _ANCHORS.items():
        box_shape = (grids[block], grids[block], anchors, 4)
        class_shape = (grids[block], grids[block], anchors, len(labels))
        located = _predictor(block, "conv_loc", maps[block], "Reshape", box_shape)
        classified = _predictor(block, "conv_cls", maps[block], "Reshape_1", class_shape)
        layers += (*located, *classified)
        boxes.append(Tensor(located[-1].output, (), box_shape))
        logits.append(Tensor(classified[-1].output, (), class_shape))
    return Network(
        name="ssd_vgg",
        input=images,
        outputs=(*logits, *boxes),
        layers=tuple(layers),
        features="",
        preprocessing=Preprocessing(height=300, width=300, resize="stretch"),
        labels=labels,
        task="detection",
    )


def _stage(block: str, source: str, width: int, *, halve: bool = False) -> tuple[Layer, ...]:
    """A 1x1 convolution, and a 3x3 one that doubles the channels and makes the image smaller."""
    narrow = biased(f"{_SCOPE}/{block}/conv1x1", source, kernel=1, channels=width)
    wide = biased(
        f"{_SCOPE}/{block}/conv3x3",
        narrow[-1].output,
        kernel=3,
        channels=2 * width,
        stride=2 if halve else 1,
        padding=symmetric(3) if halve else VALID,
    )
    return *narrow, *wide


def _predictor(
    block: str, name: str, source: str, result: str, shape: tuple[int, int, int, int]
) -> tuple[Layer, ...]:
    conv = biased(f"{_SCOPE}/{block}_box/{name}", source, kernel=3, channels=shape[2] * shape[3], relu=False)
    return *conv, Reshape(f"{_SCOPE}/{block}_box/{result}", (conv[-1].output,), sizes=shape)
