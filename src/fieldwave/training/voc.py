"""Annotations as Pascal VOC has them: one XML file for each image (Everingham et al. 2010, section 3).

The files may come from anywhere: document types, and with them entities, are refused, as is what is larger than a
megabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import InputError, NotFoundError

__all__ = ["Annotation", "read_annotation", "read_annotations"]

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Annotation:
    """The objects of one image.

    Attributes:
        image: the image's file.
        boxes: float64 [objects, 4]: ymin, xmin, ymax, xmax, as fractions of the image.
        classes: int64 [objects]: numbers of the labels.
    """

    image: Path
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


def read_annotations(
    annotations: Path, images: Path, labels: Sequence[str], *, difficult: bool = False
) -> list[Annotation]:
    """All the XML files of a folder, by name.

    Args:
        annotations: a folder of XML files (``VOC2012/Annotations``).
        images: the folder of their images (``VOC2012/JPEGImages``).
        labels: the classes; 0 is the background.
        difficult: whether objects that are marked as difficult count.

    Raises:
        NotFoundError: no such folder, no XML file in it, or an image that is not there.
        InputError: a file is damaged; the message names it and the field.
    """
    files = sorted(annotations.glob("*.xml"))
    if not files:
        raise NotFoundError(f"no folder {annotations} with XML files; name one like VOC2012/Annotations")
    return [read_annotation(path, images, labels, difficult=difficult) for path in files]


def read_annotation(path: Path, images: Path, labels: Sequence[str], *, difficult: bool = False) -> Annotation:
    """One XML file; arguments and errors as in `read_annotations`.

    Pixels count from 1, and a box holds those it names: an object over a whole image of 500 x 375 is
    ``1, 1, 500, 375``.
    """
    root = _parsed(path)
    name = _text(root, "filename", path, "the file")
    if Path(name).name != name:
        raise InputError(f"{path}: filename is {name!r}, expected a name without a folder")
    if not (images / name).is_file():
        raise NotFoundError(f"{path}: there is no image {images / name}")
    width, height = (_number(root, f"size/{side}", path, "the file") for side in ("width", "height"))
    if min(width, height) < 1:
        raise InputError(f"{path}: size is {width:g} x {height:g} pixels, expected at least 1 x 1")
    boxes, classes = [], []
    for index, item in enumerate(root.findall("object"), start=1):
        what = f"object {index}"
        label = _text(item, "name", path, what)
        if label not in labels[1:]:
            raise InputError(f"{path}: {what} is a {label!r}, which is no class; classes are like {labels[-1]!r}")
        if not difficult and (item.findtext("difficult") or "0").strip() == "1":
            continue
        xmin, ymin, xmax, ymax = (
            _number(item, f"bndbox/{edge}", path, what) for edge in ("xmin", "ymin", "xmax", "ymax")
        )
        if not (xmin < xmax and ymin < ymax and xmax <= width + 1 and ymax <= height + 1 and min(xmin, ymin) >= 0):
            raise InputError(
                f"{path}: {what}: bndbox is {xmin:g}, {ymin:g} to {xmax:g}, {ymax:g}, which is no box in an image "
                f"of {width:g} x {height:g} pixels"
            )
        edges = np.array([ymin - 1, xmin - 1, ymax, xmax]) / [height, width, height, width]
        boxes.append(np.clip(edges, 0, 1))
        classes.append(labels.index(label))
    return Annotation(images / name, np.array(boxes).reshape(-1, 4), np.array(classes, np.int64))


def _parsed(path: Path) -> Element:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path} has {len(data)} bytes, an annotation has at most {_LARGEST}")
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*arguments: Any) -> None:
        raise InputError(f"{path}: line {parser.CurrentLineNumber} declares a document type, which is refused")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"{path} is no XML: {error}") from None
    return builder.close()


def _text(element: Element, field: str, path: Path, what: str) -> str:
    text = (element.findtext(field) or "").strip()
    if not text:
        raise InputError(f"{path}: {what} has no {field}")
    return text


def _number(element: Element, field: str, path: Path, what: str) -> float:
    text = _text(element, field, path, what)
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{path}: {what}: {field} is {text!r}, expected a number")
    return number
