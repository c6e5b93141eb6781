"""The simulation against what is known of queues, and the search for the fewest devices."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from fieldwave.cli import plan as command
from fieldwave.errors import InputError
from fieldwave.plan import Outcome, Profile, devices_for, simulate
from fieldwave.serving import ServeOptions

ENDLESS = 10**6


def of(device: float | list[float], decode: float = 0.0, encode: float = 0.0, outside: float = 0.0) -> Profile:
    return Profile.of(decode=decode, device=device, encode=encode, outside=outside)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_one_device_that_always_takes_as_long_is_the_queue_m_d_1(load: float) -> None:
    found = simulate(of(1.0), 1, load, requests=200_000, capacity=ENDLESS)
    assert found.mean == pytest.approx(1 + load / (2 * (1 - load)), rel=0.03)  # Pollaczek, Khinchine
    assert found.busy == pytest.approx(load, rel=0.02)
    assert found.refused == 0


def test_a_device_that_varies_is_the_queue_m_g_1() -> None:
    values = [0.2, 1.8]
    second_moment = sum(value**2 for value in values) / 2
    found = simulate(of(values), 1, 0.6, requests=200_000, capacity=ENDLESS)
    assert found.mean == pytest.approx(1 + 0.6 * second_moment / (2 * (1 - 0.6)), rel=0.03)


@pytest.mark.parametrize(("capacity", "load"), [(1, 0.5), (1, 2.0)])
def test_without_a_queue_the_part_that_is_refused_is_erlang_s(capacity: int, load: float) -> None:
    found = simulate(of(1.0), 1, load, requests=100_000, capacity=capacity)
    assert found.refused == pytest.approx(load / (1 + load), rel=0.03)
    assert found.p50 == found.p99 == pytest.approx(1.0)


def test_two_devices_without_queues_are_asked_one_after_the_other() -> None:
    """Erlang's B of two places, because who is refused by the one goes to the other at once."""
    load = 1.5
    found = simulate(of(1.0), 2, load, requests=100_000, capacity=1)
    assert found.refused == pytest.approx(load**2 / 2 / (1 + load + load**2 / 2), rel=0.03)


def test_one_client_that_goes_round_keeps_devices_more_evenly_busy_than_many() -> None:
    one, many = (simulate(of(1.0), 8, 6.0, requests=80_000, clients=clients).p99 for clients in (1, 1000))
    assert one < many


def test_overload_is_refused_and_what_is_taken_waits_for_no_more_than_the_places() -> None:
    found = simulate(of(1.0), 2, 10.0, requests=40_000, capacity=4)
    assert found.refused == pytest.approx(0.8, abs=0.01)
    assert found.busy > 0.99
    assert found.p99 <= 4.0 + 1e-6


def test_stages_add_up_and_cores_are_a_limit() -> None:
    found = simulate(of(1.0, 0.5, 0.25, 0.125), 1, 1e-6, requests=1000)
    assert found.p50 == pytest.approx(1.875)
    few, enough = (simulate(of(0.1, 1.0), 1, 0.9, requests=40_000, cores=cores).p99 for cores in (1, 2))
    assert few > 1.5 * enough


def test_what_a_device_needs_between_two_runs_keeps_others_waiting_and_not_whoever_is_served() -> None:
    busy = simulate(of(0.008), 1, 100.0, capacity=ENDLESS, between=0.0005)
    other = simulate(of(0.0085), 1, 100.0, capacity=ENDLESS)
    assert busy.mean == pytest.approx(other.mean - 0.0005, rel=1e-9)
    assert busy.p99 == pytest.approx(other.p99 - 0.0005, rel=1e-9)


def test_the_same_seed_is_the_same_outcome() -> None:
    assert simulate(of(1.0), 3, 2.0, requests=5000) == simulate(of(1.0), 3, 2.0, requests=5000)
    assert simulate(of(1.0), 3, 2.0, requests=5000, seed=1) != simulate(of(1.0), 3, 2.0, requests=5000)


@pytest.mark.parametrize("rate", [5.0, 50.0, 700.0])
def test_the_fewest_devices_hold_and_one_less_does_not(rate: float) -> None:
    profile, settings = of(0.1, 0.01), {"clients": 1}
    plan = devices_for(profile, rate, 0.2, busy=1.0, **settings)
    assert plan.reason == "" and plan.outcome.p99 <= 0.2 and plan.outcome.refused <= 1e-3
    fewer: Outcome | None = None
    if plan.devices > 1:
        fewer = simulate(profile, plan.devices - max(1, plan.devices // 50), rate, requests=60_000, **settings)
    assert fewer is None or fewer.p99 > 0.2 or fewer.refused > 1e-3


def test_devices_are_left_some_of_their_time() -> None:
    plan = devices_for(of(1e-3), 10_000, 1.0, busy=0.5)
    assert plan.devices == 20
    assert plan.outcome.busy == pytest.approx(0.5, rel=0.02)


def test_what_no_number_of_devices_holds_is_said() -> None:
    plan = devices_for(of(0.02), 10.0, 0.01)
    assert (plan.devices, plan.reason) == (0, "alone, a request takes 20 ms (99 %)")
    plan = devices_for(of(1.0), 1e6, 10.0)
    assert (plan.devices, plan.reason) == (0, "it would take more than 16,384 devices")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(of(1.0), 0, 1.0), "devices is 0; give at least 1"),
        (lambda: simulate(of(1.0), 1, 0.0), "rate is 0 and clients are 8; give more than 0 and at least 1"),
        (lambda: simulate(of(1.0), 1, 1.0, between=-1.0), "between two runs are -1 s; give 0 or more"),
        (lambda: devices_for(of(1.0), 1.0, 1.0, busy=1.5), "busy is 1.5; give more than 0 and at most 1"),
        (lambda: devices_for(of(1.0), 1.0, 0.0), "the latency to hold is 0 s; give more than 0"),
        (lambda: of(0.0), "a profile has seconds that are negative, or a device that takes none"),
        (
            lambda: Profile(*(of([1.0, 2.0]).device,) * 3, of(1.0).device),
            "a profile has equally many values of each stage; here are [2, 2, 2, 1]",
        ),
    ],
)
def test_what_cannot_be_is_said(call: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message


def test_a_service_that_nobody_configured_is_the_default() -> None:
    for function in (simulate, command.plan):
        assert inspect.signature(function).parameters["capacity"].default == ServeOptions(Path("any.zip")).places
