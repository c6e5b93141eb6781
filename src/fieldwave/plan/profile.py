"""Where one request's time goes when nobody else asks: what a simulation of many draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import InputError

__all__ = ["Profile"]


@dataclass(frozen=True)
class Profile:
    """Requests that had a service to themselves, one value each; seconds.

    Attributes:
        decode: from the bytes to the device's tensors, on a core of the service's machine.
        device: the run; a device has one request at a time.
        encode: from the results to the bytes.
        outside: the rest of what a caller waits: the wire, gRPC on both sides.

    Raises:
        InputError: there is none, they are not equally many, or one is negative.
    """

    decode: NDArray[np.float64]
    device: NDArray[np.float64]
    encode: NDArray[np.float64]
    outside: NDArray[np.float64]

    def __post_init__(self) -> None:
        each = (self.decode, self.device, self.encode, self.outside)
        if len({len(one) for one in each}) != 1 or not len(self.device):
            raise InputError(
                f"a profile has equally many values of each stage; here are {[len(one) for one in each]}"
            )
        if min(float(one.min()) for one in each) < 0 or not self.device.any():
            raise InputError("a profile has seconds that are negative, or a device that takes none")

    @classmethod
    def of(
        cls,
        *,
        decode: float | Sequence[float],
        device: float | Sequence[float],
        encode: float | Sequence[float],
        outside: float | Sequence[float],
    ) -> Self:
        """One that is always so, or as often so as it was measured; single values go with all of the others."""
        arrays = np.broadcast_arrays(
            *(np.atleast_1d(one).astype(float) for one in (decode, device, encode, outside))
        )
        return cls(*(np.ascontiguousarray(one) for one in arrays))

    @property
    def alone(self) -> float:
        """The median of what a caller waits when nobody else asks."""
        return float(np.median(self.decode + self.device + self.encode + self.outside))
