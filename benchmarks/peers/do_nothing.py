"""What each peer serves: a tensor is accepted, an image file is decoded and resized; the answer is 1,000 numbers.

Used by the peers' own interpreters, which have numpy and Pillow and nothing of ours.
"""

import io

import numpy as np
from PIL import Image

SCORES = np.zeros((1, 1000), np.float32)
SHAPE = (1, 224, 224, 3)


def of_tensor(tensor):
    if tensor.shape != SHAPE:
        raise ValueError(f"shape {tensor.shape}")
    return SCORES


def of_image(data):
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(SHAPE[1:3], Image.Resampling.BILINEAR))
    return of_tensor(pixels[np.newaxis].astype(np.float32))
