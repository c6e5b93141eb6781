"""Detectors on classes of one's own: annotations, matching, the loss, and that training finds the objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")

import torch

from fieldwave import zoo
from fieldwave.errors import InputError, NotFoundError
from fieldwave.postprocess import Box, Detection, Detector, FeatureMap, anchors, decode, detect
from fieldwave.preprocess import Preprocessing, normalise
from fieldwave.preprocess import decode as decoded
from fieldwave.quantize.tensors import all_tensors
from fieldwave.training import (
    adapted,
    fake_quantized,
    fine_tune_detector,
    match,
    mean_average_precision,
    multibox_loss,
    read_annotation,
    read_annotations,
)  # fmt: skip
from fieldwave.training.detection import mirrored
from fieldwave.zoo.layers import Layer, Reshape
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import biased

SIDE = 48
LABELS = ("background", "square", "disc")
Objects = tuple[NDArray[np.float64], NDArray[np.int64]]


def detector() -> Detector:
    """Two maps, of 6 x 6 and 3 x 3 cells, three anchors each."""
    return Detector(
        height=SIDE, width=SIDE,
        maps=(FeatureMap(6, 6, 8, 12, 20, (1.5,)), FeatureMap(3, 3, 16, 20, 30, (1.5,))),
        logits=("small/classes:0", "large/classes:0"), boxes=("small/boxes:0", "large/boxes:0"),
    )  # fmt: skip


def tiny_network() -> Network:
    """A few strided convolutions under the heads of SSD."""
    layers: list[Layer] = []
    reads, maps = "images:0", []
    for index, (channels, stride) in enumerate(((16, 2), (24, 2), (32, 2), (32, 1), (48, 2))):
        layers += biased(f"tiny/conv{index}", reads, kernel=3, channels=channels, stride=stride)
        reads = layers[-1].output
        maps.append(reads)
    outputs: dict[str, Tensor] = {}
    for name, source, cells in (("small", maps[3], 6), ("large", maps[4], 3)):
        for kind, count in (("classes", len(LABELS)), ("boxes", 4)):
            conv = biased(f"tiny/{name}_{kind}", source, kernel=3, channels=3 * count, relu=False)
            shape = (cells, cells, 3, count)
            layers += (*conv, Reshape(f"{name}/{kind}", (conv[-1].output,), sizes=shape))
            outputs[layers[-1].output] = Tensor(layers[-1].output, (), shape)
    read = detector()
    return Network(
        name="tiny_ssd", input=Tensor("images:0", (), (SIDE, SIDE, 3)),
        outputs=tuple(outputs[name] for name in read.outputs), layers=tuple(layers), features="",
        preprocessing=Preprocessing(height=SIDE, width=SIDE, resize="stretch", mean=(128.0,) * 3, scale=1 / 64),
        labels=LABELS,
    )  # fmt: skip


def shapes_on_photographs(photographs: list[Path], count: int, seed: int) -> tuple[NDArray[Any], list[Objects]]:
    """Crops of photographs, each with one or two bright squares and dark discs drawn on it."""
    rng = np.random.default_rng(seed)
    pictures = [decoded(path.read_bytes(), "RGB")[::2, ::2] for path in photographs]
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    images, objects = [], []
    for _ in range(count):
        picture = pictures[rng.integers(len(pictures))]
        top, left = (rng.integers(0, size - SIDE) for size in picture.shape[:2])
        image = picture[top : top + SIDE, left : left + SIDE].copy()
        boxes: list[list[float]] = []
        classes: list[int] = []
        for column in range(rng.integers(1, 3)):  # the second one in the other half
            size = rng.integers(11, 22)
            x, y = rng.integers(0, 24 - size + 1) + 24 * column, rng.integers(0, SIDE - size + 1)
            kind = int(rng.integers(1, 3))
            inside = (rows > y) & (rows < y + size) & (columns > x) & (columns < x + size)
            if kind == 2:
                inside = np.hypot(rows - y - size / 2, columns - x - size / 2) < size / 2
            image[inside] = (255, 230, 40) if kind == 1 else (30, 20, 120)
            boxes.append([y / SIDE, x / SIDE, (y + size) / SIDE, (x + size) / SIDE])
            classes.append(kind)
        images.append(image)
        objects.append((np.array(boxes), np.array(classes, np.int64)))
    return normalise(np.stack(images), tiny_network().preprocessing), objects


def precision(outputs: list[NDArray[Any]], objects: list[Objects]) -> float:
    return mean_average_precision(detect(outputs, replace(detector(), score_threshold=0.05), LABELS), objects)


def test_training_finds_shapes_on_photographs(photographs: list[Path]) -> None:
    """From random weights to a mean average precision above 0.8, float and int8; at first it is nothing."""
    network = tiny_network()
    images, objects = shapes_on_photographs(photographs, 160, seed=0)
    others, truth = shapes_on_photographs(photographs, 60, seed=1)
    module = zoo.to_torch(network, zoo.load_weights(network, "random:0"))

    def found() -> float:
        with torch.no_grad():
            return precision([one.numpy() for one in module(torch.from_numpy(others))], truth)

    before = found()
    losses = fine_tune_detector(module, detector(), images, objects, epochs=14, batch=16, learning_rate=4e-3)
    after = found()
    assert losses[-1] < losses[0] / 3
    assert before < 0.1 and after > 0.8

    model = replace(zoo.float_model(network, zoo.weights_of(module)), detector=detector())
    int8 = fake_quantized(model, list(images[:16, None]))
    graph, names = int8.quantized().graph, list(detector().outputs)
    answers = [[tensors[name] for name in names] for tensors in all_tensors(graph, names, list(others[:, None]))]
    rounded = precision([np.concatenate(one) for one in zip(*answers, strict=True)], truth)
    assert rounded > after - 0.05
    fine_tune_detector(int8, detector(), images[:32], objects[:32], epochs=1)
    with torch.no_grad():
        ours = int8(torch.from_numpy(others[:8]))
    theirs = list(all_tensors(int8.quantized().graph, names, list(others[:8, None])))
    for name, one in zip(names, ours, strict=True):
        assert np.array_equal(one.numpy(), np.concatenate([tensors[name] for tensors in theirs]))


@pytest.mark.slow
def test_one_step_of_ssd_vgg_on_two_classes() -> None:
    """More or fewer classes than 21: all weights but the class predictors are kept."""
    network = zoo.network("ssd_vgg", labels=LABELS)
    trained = zoo.load_weights(zoo.network("ssd_vgg"), "random:0")
    weights = adapted(network, trained)
    drawn = {name for name in weights if name not in trained or weights[name] is not trained[name]}
    assert drawn and all("conv_cls" in name for name in drawn)
    module, read = zoo.to_torch(network, weights), network.detector
    assert read is not None
    boxes, classes = np.array([[0.1, 0.2, 0.5, 0.6], [0.55, 0.1, 0.7, 0.9]]), np.array([1, 2])
    image = np.random.default_rng(0).normal(0, 50, (1, 300, 300, 3)).astype(np.float32)
    losses = fine_tune_detector(
        module, read, image, [(boxes, classes)], epochs=3, learning_rate=1e-4, mirror=False
    )
    assert np.isfinite(losses).all() and losses[2] < losses[0]


def test_each_object_gets_an_anchor_and_anchors_that_overlap_it_too() -> None:
    read = detector()
    priors = anchors(read)
    rectangles = decode(np.zeros_like(priors), priors, read.prior_scaling)
    boxes = np.array([rectangles[40] + [0.01, 0, 0.01, 0], [0.0, 0.0, 0.06, 0.06]])
    targets = match(read, boxes, np.array([2, 1]))
    assert targets.classes[40] == 2
    assert (targets.classes == 1).sum() == 1  # too small for any anchor, and yet it has the best
    matched = targets.classes == 2
    restored = decode(targets.offsets[matched], priors[matched], read.prior_scaling)
    np.testing.assert_allclose(restored, np.broadcast_to(boxes[0], restored.shape), atol=1e-6)


def test_two_objects_that_want_one_anchor_both_get_one() -> None:
    read = detector()
    box = decode(np.zeros((1, 4)), anchors(read)[40:41], read.prior_scaling)[0]
    targets = match(read, np.stack([box, box]), np.array([1, 2]), threshold=0.99)
    assert sorted(targets.classes[targets.classes > 0]) == [1, 2]


def test_no_object() -> None:
    targets = match(detector(), np.empty((0, 4)), np.empty(0, np.int64))
    assert not targets.classes.any() and not targets.offsets.any()


def test_the_loss_against_its_definition() -> None:
    """Equations 1 to 3 of the paper, written out for one map of 2 x 2 cells, two anchors, three classes."""
    rng = np.random.default_rng(0)
    logits, boxes = rng.normal(size=(2, 8, 3)), rng.normal(size=(2, 8, 4))
    classes, offsets = np.zeros((2, 8), np.int64), rng.normal(size=(2, 8, 4))
    classes[0, 3], classes[1, :2] = 2, (1, 2)
    expected = 0.0
    for image in range(2):
        log = logits[image] - np.log(np.exp(logits[image]).sum(1, keepdims=True))
        own = -log[np.arange(8), classes[image]]
        positive = classes[image] > 0
        expected += own[positive].sum() + np.sort(own[~positive])[::-1][: 3 * positive.sum()].sum()
        gap = np.abs(boxes[image] - offsets[image])[positive]
        expected += np.where(gap < 1, gap**2 / 2, gap - 0.5).sum()
    outputs = [torch.from_numpy(one.reshape(2, 2, 2, 2, -1)) for one in (logits, boxes)]
    found = multibox_loss(outputs, torch.from_numpy(classes), torch.from_numpy(offsets))
    assert float(found) == pytest.approx(expected / 3)
    nothing = multibox_loss(outputs, torch.zeros((2, 8), dtype=torch.int64), torch.from_numpy(offsets))
    assert float(nothing) == 0


def test_mirrored_boxes() -> None:
    boxes = np.array([[0.1, 0.2, 0.3, 0.5]])
    np.testing.assert_allclose(mirrored(boxes), [[0.1, 0.5, 0.3, 0.8]])


def test_average_precision_of_a_ranking_by_hand() -> None:
    """Right, wrong, right, the same object again, of three objects: (1 + 2/3) / 3."""
    box = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1.0]])
    places = [(box[0], 0.9), (np.array([0.3, 0.3, 0.7, 0.7]), 0.8), (box[1], 0.7), (box[0], 0.6)]
    found = [[Detection("a", 1, score, Box(*edges)) for edges, score in places]]
    assert mean_average_precision(found, [(box, np.array([1, 1, 1]))]) == pytest.approx((1 + 2 / 3) / 3)
    assert mean_average_precision([[]], [(box, np.array([1, 1, 2]))]) == 0
    assert mean_average_precision([[]], [(np.empty((0, 4)), np.empty(0, np.int64))]) == 0


def test_images_without_objects_to_go_with_them() -> None:
    module = zoo.to_torch(tiny_network(), zoo.load_weights(tiny_network(), "random:0"))
    with pytest.raises(InputError) as caught:
        fine_tune_detector(module, detector(), np.zeros((2, SIDE, SIDE, 3), np.float32), [])
    assert str(caught.value) == "2 images have the objects of 0; give those of each image"


XML = """<annotation><folder>VOC2012</folder><filename>a.jpg</filename>
 <size><width>500</width><height>375</height><depth>3</depth></size>
 <object><name>disc</name><difficult>0</difficult>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>500</xmax><ymax>375</ymax></bndbox></object>
 <object><name>square</name>
  <bndbox><xmin>101</xmin><ymin>76</ymin><xmax>200.0</xmax><ymax>150</ymax></bndbox></object>
 <object><name>square</name><difficult>1</difficult>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "a.xml").write_text(XML)
    return tmp_path / "a.xml"


def test_an_annotation(voc: Path) -> None:
    (found,) = read_annotations(voc.parent, voc.parent, LABELS)
    assert found.image == voc.parent / "a.jpg"
    assert found.classes.tolist() == [2, 1]
    np.testing.assert_allclose(found.boxes, [[0, 0, 1, 1], [0.2, 0.2, 0.4, 0.4]])
    assert len(read_annotation(voc, voc.parent, LABELS, difficult=True).boxes) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<xmin>1</xmin><ymin>1</ymin><xmax>500", "<xmin>1</xmin><ymin>1</ymin><xmax>wide",
         "object 1: bndbox/xmax is 'wide', expected a number"),
        ("<ymin>76</ymin>", "", "object 2 has no bndbox/ymin"),
        ("<xmax>200.0</xmax>", "<xmax>90</xmax>",
         "object 2: bndbox is 101, 76 to 90, 150, which is no box in an image of 500 x 375 pixels"),
        ("<xmax>500", "<xmax>700",
         "object 1: bndbox is 1, 1 to 700, 375, which is no box in an image of 500 x 375 pixels"),
        ("<name>disc", "<name>cat", "object 1 is a 'cat', which is no class; classes are like 'disc'"),
        ("<width>500</width>", "", "the file has no size/width"),
        ("<width>500", "<width>nan", "the file: size/width is 'nan', expected a number"),
        ("<width>500", "<width>0", "size is 0 x 375 pixels, expected at least 1 x 1"),
        ("a.jpg", "../a.jpg", "filename is '../a.jpg', expected a name without a folder"),
        ("<annotation>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><annotation>',
         "line 1 declares a document type, which is refused"),
    ],
)  # fmt: skip
def test_bad_annotations(voc: Path, old: str, new: str, said: str) -> None:
    voc.write_text(XML.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read_annotation(voc, voc.parent, LABELS)
    assert str(caught.value) == f"{voc}: {said}"


def test_files_that_are_no_annotation(voc: Path) -> None:
    voc.write_text("hello")
    with pytest.raises(InputError) as text:
        read_annotation(voc, voc.parent, LABELS)
    assert str(text.value) == f"{voc} is no XML: syntax error: line 1, column 0"
    voc.write_text(" " * 2_000_000)
    with pytest.raises(InputError) as large:
        read_annotation(voc, voc.parent, LABELS)
    assert str(large.value) == f"{voc} has 2000000 bytes, an annotation has at most 1048576"
    voc.write_text(XML.replace("a.jpg", "b.jpg"))
    with pytest.raises(NotFoundError) as image:
        read_annotation(voc, voc.parent, LABELS)
    assert str(image.value) == f"{voc}: there is no image {voc.parent / 'b.jpg'}"
    empty = voc.parent / "empty"
    with pytest.raises(NotFoundError) as folder:
        read_annotations(empty, empty, LABELS)
    assert str(folder.value) == f"no folder {empty} with XML files; name one like VOC2012/Annotations"
