"""From an ONNX file to a served prediction on this machine, in a few seconds.

    pip install '.[convert]'
    python examples/onnx_to_service.py

Any ONNX file of an image network will do; this one is the zoo's network for handwritten digits. What an ONNX file
seldom says is how pixels become its input, so that is said here. The same road in the shell::

    fieldwave convert digits.onnx --mean 0 --scale 0.00390625 --calibration photos --output digits-onnx.zip
    fieldwave services deploy digits-onnx.zip
    fieldwave predict digits-onnx photos/0.png
    fieldwave services delete digits-onnx
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

import fieldwave
from fieldwave import zoo
from fieldwave.frontends import Pixels


def main() -> None:
    digits = zoo.digits_images()
    with tempfile.TemporaryDirectory() as folder:
        model, photos, package = (Path(folder) / name for name in ("digits.onnx", "photos", "digits-onnx.zip"))
        photos.mkdir()
        for index, pixels in enumerate(digits.heldout_images[:60]):
            (photos / f"{index}.png").write_bytes(zoo.digit_png(pixels))

        onnx.save(zoo.to_onnx(*zoo.load("digits", "")), model)

        made = fieldwave.convert(
            model,
            preprocessing=Pixels(mean=(0,), scale=1 / 256),
            calibration=photos,
            labels="0123456789",
            output=package,
        )
        print(*(f"note: {line}" for line in made.notes), sep="\n")
        print(
            f"{made.path.name}: float and int8 agree on {made.report.agreement:.1%} of {made.report.images} images"
        )

        target = fieldwave.LocalTarget()
        service = target.deploy(package, name="digits-onnx")
        try:
            with service.client() as client:
                scores = [client.score_file(photos / f"{index}.png") for index in range(60)]
        finally:
            target.delete("digits-onnx")
        right = np.mean(np.argmax(scores, axis=1) == digits.heldout_labels[:60])
        print(f"served {len(scores)} digits: {right:.1%} right")


if __name__ == "__main__":
    main()
