"""The user's images, as inputs of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import CalibrationError, ImageError, NotFoundError, StorageError

if TYPE_CHECKING:
    from fieldwave.preprocess import Preprocessing

__all__ = ["Images", "image_paths", "labelled_images", "load_images"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


def image_paths(folder: Path) -> list[Path]:
    """The JPEG and PNG files of a folder, sorted.

    Raises:
        NotFoundError: no such folder.
        CalibrationError: it holds no image.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}; name one that holds JPEG or PNG images")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise CalibrationError(
            f"folder {folder} holds no JPEG or PNG image; put 16 or more there, like those to come"
        )
    return found


def labelled_images(folder: Path, labels: Sequence[str]) -> list[tuple[Path, int]]:
    """The files of a folder with a sub-folder for each class, each with the number of its class.

    Raises:
        NotFoundError: no such folder.
        CalibrationError: a sub-folder is no class, or there is none.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}; name one with a sub-folder of images for each class")
    numbers = {label: index for index, label in enumerate(labels)}
    pairs: list[tuple[Path, int]] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name not in numbers:
            raise CalibrationError(
                f"folder {place} is no class of the network; its classes are like {labels[0]!r}"
            )
        pairs.extend((path, numbers[place.name]) for path in image_paths(place))
    if not pairs:
        raise CalibrationError(
            f"folder {folder} holds no class folders; name each by its label, like {labels[0]!r}"
        )
    return pairs


class Images(Sequence[NDArray[np.float32]]):
    """Files as inputs of the network, each [1, height, width, channels], decoded when they are asked for.

    A folder of 50,000 photographs takes no more memory than one of them.

    Raises:
        ImageError: a file is no image.
        StorageError: a file cannot be read.
    """

    def __init__(self, paths: Sequence[Path], spec: Preprocessing) -> None:
        self._paths, self._spec = paths, spec

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...

    @overload
    def __getitem__(self, index: slice) -> Images: ...

    def __getitem__(self, index: int | slice) -> NDArray[np.float32] | Images:
        from fieldwave.preprocess import preprocess

        if isinstance(index, slice):
            return Images(self._paths[index], self._spec)
        path = self._paths[index]
        try:
            return preprocess(path.read_bytes(), self._spec)[np.newaxis]
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def load_images(
    paths: Sequence[Path], spec: Preprocessing, what: str, progress: Callable[[str, float], None]
) -> list[NDArray[np.float32]]:
    """The inputs in memory, for a few that are looked at several times; errors are those of `Images`."""
    images = []
    for index, image in enumerate(Images(paths, spec)):
        images.append(image)
        progress(what, (index + 1) / len(paths))
    return images
