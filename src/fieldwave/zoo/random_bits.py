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


def uniform(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Uniform in [0, 1), multiples of 2^-53. Each ``stream`` of a seed is independent of the others."""
    return (_bits(seed, stream, prod(shape)) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def bell(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Nearly standard normal, within +-3.47: sums of four uniform numbers (Irwin-Hall), variance 1."""
    words = _bits(seed, stream, prod(shape)).view(np.uint16).reshape(-1, 4)
    centred = words.sum(axis=1, dtype=np.int64) - 2 * 65535
    return np.asarray(centred.reshape(shape) * (np.sqrt(3.0) / 65536))


def _bits(seed: int, stream: str, count: int) -> NDArray[np.uint64]:
    key = hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:16]
    return np.asarray(np.random.Philox(key=int.from_bytes(key, "little")).random_raw(count))
