"""The fewest devices that hold a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fieldwave.errors import InputError
from fieldwave.plan.profile import Profile
from fieldwave.plan.simulate import Outcome, simulate

__all__ = ["MOST_DEVICES", "Plan", "devices_for"]

MOST_DEVICES = 16_384
_REFUSED = 1e-3
_SAMPLE_DEVICES = 64
_REQUESTS, _REQUESTS_EACH = 60_000, 200


@dataclass(frozen=True)
class Plan:
    """What a load needs.

    Attributes:
        devices: how many; 0 if no number will do.
        outcome: of the load on them; on one device that has each caller to itself, where no number will do.
        reason: why no number will do; else empty.
    """

    devices: int
    outcome: Outcome
    reason: str = ""


def devices_for(profile: Profile, rate: float, p99: float, *, busy: float = 0.8, **settings: Any) -> Plan:
    """The fewest devices on which the 99th percentile is at most ``p99`` seconds and at most 0.1 % is refused.

    While it searches among many devices, a part of 64 with its part of the rate stands for all of them; the answer
    is simulated whole.

    Args:
        busy: the most of its time that a device may compute. What it has left is for rates that are not what was
            thought: a queue grows without end near 1.
        settings: as `simulate` takes them: ``capacity``, ``cores``, ``clients``, ``between``, ``seed``.
    """

    def holds(outcome: Outcome) -> bool:
        return outcome.p99 <= p99 and outcome.refused <= _REFUSED

    def part(devices: int) -> Outcome:
        few = min(devices, _SAMPLE_DEVICES)
        return simulate(profile, few, rate * few / devices, requests=_REQUESTS, **settings)

    if not 0 < busy <= 1:
        raise InputError(f"busy is {busy:g}; give more than 0 and at most 1")
    if not p99 > 0:
        raise InputError(f"the latency to hold is {p99:g} s; give more than 0")
    least = max(math.ceil(rate * float(profile.device.mean()) / busy), 1)
    # One request at a time: what remains when there are devices enough.
    ideal = simulate(profile, _SAMPLE_DEVICES, 0.01 / profile.alone, requests=_REQUESTS, **settings)
    if not holds(ideal):
        said = f"alone, a request takes {1e3 * ideal.p99:.3g} ms (99 %)"
        return Plan(0, ideal, said)
    if least > MOST_DEVICES:
        return Plan(0, ideal, f"it would take more than {MOST_DEVICES:,} devices")
    enough = least
    while not holds(part(enough)):
        if enough >= MOST_DEVICES:
            return Plan(0, ideal, f"it would take more than {MOST_DEVICES:,} devices")
        least, enough = enough + 1, min(max(enough + 1, math.ceil(1.25 * enough)), MOST_DEVICES)
    while least < enough:
        middle = (least + enough) // 2
        if holds(part(middle)):
            enough = middle
        else:
            least = middle + 1
    requests = max(_REQUESTS, _REQUESTS_EACH * enough)
    while not holds(whole := simulate(profile, enough, rate, requests=requests, **settings)):
        enough += max(1, enough // 200)
        if enough > MOST_DEVICES:
            return Plan(0, ideal, f"it would take more than {MOST_DEVICES:,} devices")
    return Plan(enough, whole)
