"""Random numbers that are the same on every machine and with every numpy.

numpy promises the bits of a bit generator for ever, but not what its distributions make of them, and their
logarithms differ between C libraries. So the distributions are made here, by arithmetic that IEEE-754 defines
to the last bit.
"""

from __future__ import annotations

import hashlib
from math import prod

import numpy as np
from numpy.typing import NDArray

__all__ = ["bell", "uniform"]

_CHUNK = 1 << 16


def uniform(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Uniform in [0, 1), multiples of 2^-53. Each ``stream`` of a seed is independent of the others."""
    return (_bits(seed, stream, prod(shape)) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def bell(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Nearly standard normal, within +-3.47: sums of four uniform numbers (Irwin-Hall), variance 1."""
    numbers = np.empty(prod(shape))
    generator = _generator(seed, stream)
    for start in range(0, numbers.size, _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        words = generator.random_raw(chunk.size).view(np.uint16).reshape(-1, 4)
        chunk[:] = words[:, 0]
        for column in range(1, 4):
            chunk += words[:, column]
        chunk -= 2 * 65535
    numbers *= np.sqrt(3.0) / 65536
    return numbers.reshape(shape)


def _bits(seed: int, stream: str, count: int) -> NDArray[np.uint64]:
    return np.asarray(_generator(seed, stream).random_raw(count))


def _generator(seed: int, stream: str) -> np.random.Philox:
    key = hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little"))
