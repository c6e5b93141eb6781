"""A network that detects: coloured squares, with weights set by hand, so that the right boxes are known.

Map 0 sees red and green squares of 16 pixels, map 1 blue ones of 32, both in pictures of 128 x 128; grey is
nothing. Every output is linear in the pixels. The logit of a class grows with the part of a cell that has its
colour. The offsets are the colour's first moments around the cell's centre over twice the cell: the square's own
centre, as long as all of the square is in there.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldwave.graph import Graph, Node, Value
from fieldwave.model import FloatModel
from fieldwave.postprocess import Detector, FeatureMap
from fieldwave.preprocess import Preprocessing

SIDE = 128
LABELS = ("background", "red", "green", "blue")
COLOURS = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255)}
SIZES = {1: 16, 2: 16, 3: 32}
Square = tuple[int, int, int]  # class, top, left, in pixels of the network's input
DETECTOR = Detector(
    height=SIDE,
    width=SIDE,
    maps=(FeatureMap(8, 8, 16, 16, 32), FeatureMap(4, 4, 32, 32, 64)),
    logits=("squares/block0_box/Reshape_1:0", "squares/block1_box/Reshape_1:0"),
    boxes=("squares/block0_box/Reshape:0", "squares/block1_box/Reshape:0"),
)
_GAIN, _BIAS = 20.0, 3.0
_LIKENESS = {1: (1, -0.5, -0.5), 2: (-0.5, 1, -0.5), 3: (-0.5, -0.5, 1)}  # nothing for grey
_SEEN = {0: (1, 2), 1: (3,)}


def model() -> FloatModel:
    """The network, ready to be converted."""
    nodes = [Node("Transpose", "nchw", ("images:0",), ("pixels",), {"perm": [0, 3, 1, 2]})]
    constants: dict[str, NDArray[np.generic]] = {}
    outputs = []
    for level, one in enumerate(DETECTOR.maps):
        cell = int(one.step)
        for name, last, (weights, biases) in (
            (DETECTOR.logits[level], len(LABELS), _logits(level, cell)),
            (DETECTOR.boxes[level], 4, _offsets(level, cell)),
        ):
            constants |= {f"{name}/w": weights, f"{name}/b": biases}
            constants[f"{name}/shape"] = np.array([0, one.rows, one.columns, one.anchors, last], np.int64)
            window = {"kernel_shape": [2 * cell] * 2, "strides": [cell] * 2, "pads": [cell // 2] * 4}
            nodes += [
                Node("Conv", f"{name}/conv", ("pixels", f"{name}/w", f"{name}/b"), (f"{name}/nchw",), window),
                Node("Transpose", f"{name}/t", (f"{name}/nchw",), (f"{name}/nhwc",), {"perm": [0, 2, 3, 1]}),
                Node("Reshape", name.removesuffix(":0"), (f"{name}/nhwc", f"{name}/shape"), (name,)),
            ]
            outputs.append(Value(name, "float32", (None, one.rows, one.columns, one.anchors, last)))
    order = [DETECTOR.outputs.index(value.name) for value in outputs]
    return FloatModel(
        name="squares",
        graph=Graph(
            "squares",
            (Value("images:0", "float32", (None, SIDE, SIDE, 3)),),
            tuple(value for _, value in sorted(zip(order, outputs, strict=True), key=lambda pair: pair[0])),
            tuple(nodes),
            constants,
        ),
        preprocessing=Preprocessing(SIDE, SIDE, resize="stretch", mean=(0.0, 0.0, 0.0), scale=1 / 256),
        labels=LABELS,
        aliases={"images:0": ("images",)},
        detector=DETECTOR,
    )


def picture(
    squares: Sequence[Square], *, seed: int = 0, width: int = SIDE, height: int = SIDE, format: str = "PNG"
) -> bytes:
    """An image file of squares on grey noise; stretched to ``width`` x ``height`` if these are given."""
    noise = np.random.default_rng(seed).integers(20, 90, (SIDE, SIDE, 1), np.uint8)
    pixels = np.repeat(noise, 3, axis=2)
    for index, top, left in squares:
        pixels[top : top + SIZES[index], left : left + SIZES[index]] = COLOURS[index]
    file = BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST).save(file, format)
    return file.getvalue()


def calibration(folder: Path) -> Path:
    """A folder of pictures to calibrate on."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        squares = [(index, *map(int, rng.integers(0, SIDE - SIZES[index], 2))) for index in COLOURS]
        (folder / f"{number}.png").write_bytes(picture(squares, seed=number))
    return folder


def _logits(level: int, cell: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weights = np.zeros((2, len(LABELS), 3, 2 * cell, 2 * cell), np.float32)
    biases = np.zeros((2, len(LABELS)), np.float32)
    biases[:, 1:] = -8
    inner = slice(cell // 2, cell // 2 + cell)
    for index in _SEEN[level]:
        share = np.array(_LIKENESS[index], np.float32) * _GAIN / cell**2
        weights[0, index, :, inner, inner] = share[:, np.newaxis, np.newaxis]
        biases[0, index] = -_BIAS
    return weights.reshape(-1, 3, 2 * cell, 2 * cell), biases.ravel()


def _offsets(level: int, cell: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weights = np.zeros((2, 4, 3, 2 * cell, 2 * cell), np.float32)
    place = (np.arange(2 * cell) + 0.5 - cell) / cell / cell**2 / DETECTOR.prior_scaling[0]
    colour = np.sum([_LIKENESS[index] for index in _SEEN[level]], axis=0)
    colour = colour / max(colour)
    weights[0, 0] = colour[:, np.newaxis, np.newaxis] * place
    weights[0, 1] = colour[:, np.newaxis, np.newaxis] * place[:, np.newaxis]
    return weights.reshape(-1, 3, 2 * cell, 2 * cell), np.zeros(8, np.float32)
