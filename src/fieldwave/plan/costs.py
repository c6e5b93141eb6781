"""What a service's process takes for a request besides its device, by what is sent.

Measured with a device that computes nothing, a network of 224 x 224 x 3, one caller on the same machine, by
``benchmarks/plan.py`` (``costs`` in ``benchmarks/results/plan.json``); the medians, of two
cores that others used too.
A service that runs already tells its own: ``fieldwave plan --service``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fieldwave.errors import InputError

__all__ = ["BETWEEN_RUNS", "COSTS", "HOST_MACS_PER_SECOND", "Costs", "Sent", "process_costs"]

Sent = Literal["jpeg", "pixels", "tensor"]


@dataclass(frozen=True)
class Costs:
    """Seconds of one request.

    Attributes:
        decode: from its bytes to the device's tensors.
        encode: from the results to the bytes of the answer.
        outside: gRPC on both sides, and the way.
    """

    decode: float
    encode: float
    outside: float


COSTS: dict[Sent, Costs] = {
    "jpeg": Costs(2.5e-3, 0.07e-3, 1.0e-3),  # a photograph of 640 x 480, 50 kB
    "pixels": Costs(0.13e-3, 0.04e-3, 0.64e-3),  # uint8, 150 kB
    "tensor": Costs(0.09e-3, 0.04e-3, 0.79e-3),  # float32, 602 kB
}

BETWEEN_RUNS = 0.12e-3
"""Seconds from the end of a run to the beginning of the next where others wait: the thread of the device tells
whoever waited, and takes the next. Measured by ``benchmarks/plan.py`` (``between_ms`` in its results)."""

HOST_MACS_PER_SECOND = 250e9
"""Multiply-accumulates of quantized layers that two cores do: ResNet-50's 3.48 G in 13.96 ms of the ``cpu`` device
(``cpu_device.device_ms`` in ``benchmarks/results/main_road.json``)."""


def process_costs(sent: str) -> Costs:
    """The costs by what callers send.

    Raises:
        InputError: there is no such thing.
    """
    for name, costs in COSTS.items():
        if name == sent:
            return costs
    raise InputError(f"{sent!r} cannot be sent; choose {', '.join(get_args(Sent))}")
