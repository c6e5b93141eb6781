"""Objects that a network found, for the user: as a table, as JSON, on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.cli import output
from fieldwave.errors import ConflictError, InputError

if TYPE_CHECKING:
    from fieldwave.postprocess import Detection

__all__ = ["beside", "draw_onto", "pictures_for", "show", "to_dict"]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_JPEG_QUALITY = 92


def show(image: Path, size: tuple[int, int], found: Sequence[Detection], threshold: float) -> None:
    """A table: class, score, and the box's edges in pixels of the image itself."""
    output.data(f"{output.styled(str(image), bold=True)}  {size[0]} x {size[1]} pixels")
    if not found:
        output.data(f"  nothing with a score above {threshold:g}")
        return
    rows = [["class", "score", "left", "top", "right", "bottom"]]
    rows += [
        [output.plain(one.label), f"{one.score:.4f}", *(str(round(edge)) for edge in one.box.pixels(*size))]
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, (label, *values) in enumerate(rows):
        cells = [label.ljust(widths[0]), *(v.rjust(width) for v, width in zip(values, widths[1:], strict=True))]
        line = f"  {'  '.join(cells)}"
        output.data(output.styled(line, dim=True) if number == 0 else line)


def to_dict(size: tuple[int, int], found: Sequence[Detection]) -> dict[str, Any]:
    """The same for programs."""
    edges = ("left", "top", "right", "bottom")
    return {
        "width": size[0],
        "height": size[1],
        "detections": [
            {
                "label": one.label,
                "index": one.index,
                "score": one.score,
                "box": {name: round(v, 2) for name, v in zip(edges, one.box.pixels(*size), strict=True)},
            }
            for one in found
        ],
    }


def pictures_for(images: Sequence[Path], draw: Path) -> list[Path]:
    """Where the picture of each image goes: ``draw`` itself, or a file in it if it is a folder.

    Raises:
        InputError: several images and no folder, another format than PNG and JPEG, or the image itself.
        ConflictError: two pictures would have one name.
    """
    if not draw.is_dir():
        if len(images) > 1:
            raise InputError(
                f"--draw {draw} is no folder, but there are {len(images)} images; name a folder that exists"
            )
        if draw.suffix.lower() not in _FORMATS:
            raise InputError(f"--draw {draw} is no .png and no .jpg; name one of these, or a folder")
        pictures = [draw]
    else:
        pictures = [draw / beside(image).name for image in images]
    for image, picture in zip(images, pictures, strict=True):
        if pictures.count(picture) > 1:
            raise ConflictError(f"two images would be drawn to {picture}; draw them one by one")
        if picture.resolve() == image.resolve():
            raise InputError(f"--draw {picture} is the image itself; name another file")
    return pictures


def beside(image: Path) -> Path:
    """A good name for the picture of an image."""
    return image.with_name(f"{image.stem}-boxes.png")


def draw_onto(data: bytes, found: Sequence[Detection], picture: Path) -> None:
    """Write a copy of the image with the boxes on it: the pixels that the network saw, without any metadata.

    Raises:
        StorageError: it cannot be written; nothing is left behind.
    """
    import io

    from PIL import Image

    from fieldwave.files import write_atomically
    from fieldwave.postprocess import draw
    from fieldwave.preprocess import decode

    drawn, file = Image.fromarray(draw(decode(data, "RGB"), found)), io.BytesIO()
    drawn.save(file, _FORMATS[picture.suffix.lower()], quality=_JPEG_QUALITY)
    write_atomically(picture, file.getvalue())
    output.note(f"drawn on {picture}")
