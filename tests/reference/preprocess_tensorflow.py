"""Writes tests/data/preprocess_tensorflow.json: what TensorFlow makes of the test images.

    python -m venv /somewhere && /somewhere/bin/pip install 'tensorflow-cpu==2.21.*'
    /somewhere/bin/python tests/reference/preprocess_tensorflow.py [output.json]

The pipeline is the one that the networks were trained with: decode_png, resize_bilinear of TensorFlow 1,
central crop, mean, order, scale. Each case holds the SHA-256 of the float32 result and four of its values.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"
SPECS: dict[str, dict[str, Any]] = {
    "imagenet": {"height": 224, "width": 224},
    "detection": {"height": 300, "width": 300, "resize": "stretch"},
    "scaled": {"height": 224, "width": 224, "order": "BGR", "scale": 0.017},
    "wide": {"height": 97, "width": 240, "order": "BGR"},
    "small": {
        "height": 31,
        "width": 23,
        "shortest_side": 48,
        "mean": [127.5, 127.5, 127.5],
        "scale": 1 / 127.5,
    },
    "grey": {"height": 224, "width": 224, "order": "GRAY", "mean": [117.001]},
    "digit": {"height": 8, "width": 8, "order": "GRAY", "mean": [0.0], "scale": 1 / 16, "resize": "stretch"},
    "plane": {"height": 29, "width": 37, "order": "GRAY", "mean": [0.0], "resize": "stretch"},
}
# TensorFlow makes no grey of CMYK, and weighs all 16 bits, and light where a gamma is given.
WITHOUT_GREY = {"jpeg_cmyk", "jpeg_cmyk_adobe", "rgb16", "rgb16_interlaced", "rgb_alpha16", "rgb8_gamma"}


def reference(data: bytes, spec: dict[str, Any]) -> NDArray[np.float32]:
    order = spec.get("order", "RGB")
    mean = spec.get("mean", [123.68, 116.779, 103.939])
    image = tf.cast(tf.image.decode_png(data, channels=1 if order == "GRAY" else 3), tf.float32)
    if spec.get("resize") == "stretch":
        image = legacy_bilinear(image, spec["height"], spec["width"])
    else:
        height, width = (tf.cast(size, tf.float32) for size in image.shape[:2])
        scale = tf.constant(spec.get("shortest_side", 256), tf.float32) / tf.minimum(height, width)
        resized = [int(tf.cast(size * scale, tf.int32)) for size in (height, width)]
        image = legacy_bilinear(image, *resized)
        top, left = (resized[0] - spec["height"]) // 2, (resized[1] - spec["width"]) // 2
        assert top >= 0 and left >= 0, "the crop does not fit"
        image = tf.slice(image, [top, left, 0], [spec["height"], spec["width"], -1])
    planes = [plane - value for plane, value in zip(tf.unstack(image, axis=2), mean, strict=True)]
    image = tf.stack(planes[::-1] if order == "BGR" else planes, axis=2)
    return (image * tf.constant(spec.get("scale", 1.0), tf.float32)).numpy()


def legacy_bilinear(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    return tf.compat.v1.image.resize_bilinear(image[tf.newaxis], [height, width], align_corners=False)[0]


def case(image: Path, name: str) -> dict[str, Any]:
    result = reference(image.read_bytes(), SPECS[name])
    flat = result.ravel()
    return {
        "image": str(image.relative_to(DATA)),
        "spec": name,
        "sha256": hashlib.sha256(result.tobytes()).hexdigest(),
        "samples": [float(flat[flat.size * eighths // 8]) for eighths in (1, 3, 5, 7)],
    }


def main(output: Path) -> None:
    cases = [
        case(image, name) for image in sorted((DATA / "images").glob("*.jpg")) for name in SPECS if name != "plane"
    ]
    for image in sorted((DATA / "preprocess").iterdir()):
        grey = [] if image.stem in WITHOUT_GREY else ["plane"]
        cases += [case(image, name) for name in ["imagenet", "small", *grey]]
    lines = [
        f'{{"tensorflow": {json.dumps(tf.__version__)},',
        f' "specs": {json.dumps(SPECS)},',
        ' "cases": [',
        ",\n".join("  " + json.dumps(entry) for entry in cases),
        " ]}",
    ]
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "preprocess_tensorflow.json")
