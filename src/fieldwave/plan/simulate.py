"""Many requests on many devices, one event after the other: what callers would wait.

The model is the service's own (`fieldwave.serving`): each device has a process before it, which takes so many
requests in hand and refuses the rest at once; a request is decoded on one of the machine's cores, waits for its
turn on the device, is encoded and goes back. Callers come independently of one another (a Poisson process), each
by one of the clients, which go round the devices, and on to the next at once when one refuses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldwave.errors import InputError
from fieldwave.plan.profile import Profile

__all__ = ["Outcome", "simulate"]

_WARM_UP = 0.1
_MOST_TRIES = 32


@dataclass(frozen=True)
class Outcome:
    """What callers met.

    Attributes:
        p50, p90, p99, mean: seconds until the answer, of those that were answered; infinite where nobody was.
        refused: the part of the requests that no device took at the first round.
        busy: the part of the time that a device computes.
    """

    p50: float
    p90: float
    p99: float
    mean: float
    refused: float
    busy: float


def simulate(
    profile: Profile,
    devices: int,
    rate: float,
    *,
    requests: int = 100_000,
    capacity: int = 8,
    cores: int = 2,
    clients: int = 8,
    between: float = 0.0,
    seed: int = 0,
    arrivals: Sequence[float] | None = None,
) -> Outcome:
    """The outcome of a load on so many equal devices. The first tenth of the requests does not count.

    Args:
        rate: requests a second, of all callers together.
        capacity: requests in hand before one device: ``ServeOptions.places``.
        cores: that decode at once before one device.
        clients: programs that call, each with its own turn round the devices.
        between: seconds that a device stands still between two runs, while its process goes from one to the next.
        seed: of all that is random.
        arrivals: when requests come, in seconds, instead of so many at random.

    Raises:
        InputError: a number that cannot be.
    """
    for name, value in (("devices", devices), ("requests", requests), ("capacity", capacity), ("cores", cores)):
        if value < 1:
            raise InputError(f"{name} is {value}; give at least 1")
    if not rate > 0 or clients < 1:
        raise InputError(f"rate is {rate:g} and clients are {clients}; give more than 0 and at least 1")
    if not between >= 0:
        raise InputError(f"between two runs are {between:g} s; give 0 or more")
    rng = np.random.default_rng(seed)
    if arrivals is None:
        times = np.cumsum(rng.exponential(1.0 / rate, requests)).tolist()
    else:
        times, requests = [float(one) for one in arrivals], len(arrivals)
    drawn = rng.integers(len(profile.device), size=requests)
    decode, device, encode, outside = (
        one[drawn].tolist() for one in (profile.decode, profile.device, profile.encode, profile.outside)
    )
    callers = rng.integers(clients, size=requests).tolist()
    turns = rng.integers(devices, size=clients).tolist()
    in_hand: list[deque[float]] = [deque() for _ in range(devices)]
    device_free = [0.0] * devices
    cores_free = [[0.0] * cores for _ in range(devices)]
    counted_from = int(_WARM_UP * requests)
    latencies: list[float] = []
    refused = 0
    work = 0.0
    for number, now in enumerate(times):
        caller = callers[number]
        one = turns[caller]
        turns[caller] = one + 1 if one + 1 < devices else 0
        for _ in range(min(devices, _MOST_TRIES)):
            hand = in_hand[one]
            while hand and hand[0] <= now:
                hand.popleft()
            if len(hand) < capacity:
                break
            one = one + 1 if one + 1 < devices else 0
        else:
            refused += number >= counted_from
            continue
        half = outside[number] / 2
        free = cores_free[one]
        core = free.index(min(free))
        ready = max(now + half, free[core]) + decode[number]
        free[core] = ready
        end = max(ready, device_free[one]) + device[number]
        device_free[one] = end + between
        done = end + encode[number]
        hand.append(done)
        if number >= counted_from:
            latencies.append(done + half - now)
            work += device[number]
    span = times[-1] - times[counted_from]
    p50, p90, p99 = np.percentile(latencies, (50, 90, 99)).tolist() if latencies else [float("inf")] * 3
    return Outcome(
        p50=p50,
        p90=p90,
        p99=p99,
        mean=float(np.mean(latencies)) if latencies else float("inf"),
        refused=refused / (requests - counted_from),
        busy=min(work / (span * devices), 1.0) if span else 0.0,
    )
