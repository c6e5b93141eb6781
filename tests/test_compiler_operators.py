"""Random operators through the compiler, executed by the interpreter: every byte equals the golden model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fieldwave.compiler import Compiled
from fieldwave.errors import ModelError
from fieldwave.golden import Window
from fieldwave.npu import Configuration, configuration
from tests.programs import check
from tests.random_networks import Builder
from tests.random_operators import Case, convolutions, operators, pools, residuals, scaled

CONFIGURATIONS = (
    configuration("tiny"),
    configuration("sim16"),
    # Several tiles to a word, a port wider than a word, and a ring so small that weights are repeated.
    Configuration(16, 8, (256 * 1024, 192 * 1024), 4 * 1024, 16, 8, block_pixels=32, prescale_words=8),
    Configuration(16, 16, (256 * 1024, 256 * 1024), 8 * 1024, 32, 16, block_pixels=64),
    # Several pixels at once; descriptors in less than a beat.
    Configuration(16, 8, (256 * 1024, 192 * 1024), 16 * 1024, 16, 8, block_pixels=32, pixel_lanes=2),
    Configuration(32, 32, (256 * 1024, 256 * 1024), 64 * 1024, 256, 32, block_pixels=16, pixel_lanes=4),
)


def on_the_npu(compiled: Compiled) -> bool:
    return not compiled.lowering.refusals and [section.side for section in compiled.sections] == ["npu"]


SMALL = (
    Configuration(8, 8, (8 * 1024, 4 * 1024), 16 * 1024, 8, 8, block_pixels=64),
    Configuration(16, 8, (16 * 1024, 8 * 1024), 16 * 1024, 32, 8),
    Configuration(16, 8, (32 * 1024, 16 * 1024), 16 * 1024, 32, 8, pixel_lanes=2),
)
HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
anywhere = st.sampled_from(CONFIGURATIONS)
orders = st.sampled_from(["compute", "transfer"])


@settings(max_examples=80, deadline=None, suppress_health_check=HEALTH)
@given(operators(), anywhere, orders)
def test_random_operators_equal_the_golden_model(case: Case, configuration: Configuration, eager: Any) -> None:
    graph, feeds = case
    assert on_the_npu(check(graph, feeds, configuration, eager=eager))


@settings(max_examples=15, deadline=None, suppress_health_check=HEALTH)
@given(scaled(), anywhere, orders)
def test_random_scale_shifts(case: Case, configuration: Configuration, eager: Any) -> None:
    graph, feeds = case
    assert on_the_npu(check(graph, feeds, configuration, eager=eager))


@settings(max_examples=60, deadline=None, suppress_health_check=HEALTH)
@given(st.one_of(convolutions(), residuals(), pools(), scaled()), st.sampled_from(SMALL), orders)
def test_random_operators_in_strips(case: Case, configuration: Configuration, eager: Any) -> None:
    graph, feeds = case
    try:
        check(graph, feeds, configuration, eager=eager)
    except ModelError:
        assume(False)  # a row of it is too large


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=HEALTH)
@given(operators(), anywhere, orders)
def test_many_random_operators_equal_the_golden_model(
    case: Case, configuration: Configuration, eager: Any
) -> None:
    graph, feeds = case
    assert on_the_npu(check(graph, feeds, configuration, eager=eager))


def test_the_golden_values_are_worth_comparing() -> None:
    b = Builder(1)
    y = b.conv(b.input(64, 9, 9), 64, Window((3, 3)))
    from fieldwave import golden

    values = golden.run(b.graph(y), b.feeds())[y.name]
    assert len(np.unique(values)) > 100
