"""From a Keras model to a served prediction on this machine, in about twenty seconds.

    pip install '.[tensorflow]'
    python examples/tensorflow_to_service.py

A small network learns handwritten digits, is exported as a SavedModel, becomes an int8 package and a service,
names the digits of some image files, and is deleted again. The same road in the shell, from the SavedModel on::

    fieldwave convert saved_model --calibration photos --labels labels.txt --output digits-keras.zip
    fieldwave services deploy digits-keras.zip
    fieldwave predict digits-keras photos/0.png
    fieldwave services delete digits-keras
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import fieldwave
from fieldwave import zoo


def train(images: np.ndarray, labels: np.ndarray) -> keras.Model:
    """A convolutional network that takes pixels from 0 to 255, as they come out of the file."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(images[..., np.newaxis].astype(np.float32), labels, batch_size=32, epochs=12, verbose=0)
    return model


def main() -> None:
    digits = zoo.digits_images()
    images, labels = digits.heldout_images, digits.heldout_labels  # 360 images with labels
    known, unseen = slice(0, 300), slice(300, 360)
    with tempfile.TemporaryDirectory() as folder:
        saved, photos, package = (Path(folder) / name for name in ("saved_model", "photos", "digits-keras.zip"))
        photos.mkdir()
        for index, pixels in enumerate(images):
            (photos / f"{index}.png").write_bytes(zoo.digit_png(pixels))

        train(images[known], labels[known]).export(saved, verbose=False)

        made = fieldwave.convert(saved, calibration=photos, labels="0123456789", output=package)
        print(*(f"note: {line}" for line in made.notes), sep="\n")
        print(
            f"{made.path.name}: float and int8 agree on {made.report.agreement:.1%} of {made.report.images} images"
        )

        target = fieldwave.LocalTarget()
        service = target.deploy(package, name="digits-keras")
        try:
            with service.client() as client:
                scores = [client.score_file(photos / f"{index}.png") for index in range(360)[unseen]]
        finally:
            target.delete("digits-keras")
        right = np.mean(np.argmax(scores, axis=1) == labels[unseen])
        print(f"served {len(scores)} digits that the network has not seen: {right:.1%} right")


if __name__ == "__main__":
    main()
