"""Where the time of one request went."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["STAGES", "Timings"]


@dataclass(slots=True)
class Timings:
    """Seconds that a request spent in each stage; 0 where it did not come to it.

    Attributes:
        decode: from the bytes received to the tensors of the device, images included.
        queue: until it was its turn on the device.
        device: the device's run.
        encode: from the results to the bytes of the answer.
    """

    decode: float = 0.0
    queue: float = 0.0
    device: float = 0.0
    encode: float = 0.0

    def seconds(self) -> tuple[float, float, float, float]:
        """Of each stage, in the order of `STAGES`."""
        return self.decode, self.queue, self.device, self.encode

    def header(self) -> str:
        """As the value of a ``Server-Timing`` header (W3C): each stage with its milliseconds."""
        return ", ".join(f"{stage};dur={1e3 * getattr(self, stage):.3f}" for stage in STAGES)


STAGES = tuple(field.name for field in fields(Timings))
"""The stages in the order in which a request passes them."""
