"""Every pass that rewrites operations leaves their results as they are: run in numpy before it and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fieldwave import golden
from fieldwave.compiler.concat import copy_shared_parts
from fieldwave.compiler.fold import Fold, fold_first_layers, folded_map
from fieldwave.compiler.fuse import fuse
from fieldwave.compiler.layout import lay_out
from fieldwave.compiler.lower import lower
from fieldwave.compiler.operations import FeatureMap, Step
from fieldwave.compiler.order import in_order
from fieldwave.compiler.pooled import fuse_pools
from fieldwave.compiler.resolve import resolve
from fieldwave.compiler.scale_shift import fuse_scale_shifts
from fieldwave.compiler.shapes import tensor_types
from fieldwave.golden import Window
from fieldwave.graph import Graph
from fieldwave.npu import configuration
from tests.random_networks import Builder
from tests.random_operators import Case, operators
from tests.steps import as_map, run_steps

SIM16 = configuration("sim16")
Stage = tuple[str, tuple[Step, ...], Mapping[str, Fold]]


def stages(graph: Graph) -> Iterator[Stage]:
    """What every pass makes of a network that the NPU runs whole."""
    lowering = lower(graph, tensor_types(graph), SIM16)
    assert not lowering.refusals
    lowered = tuple(lowering.steps[node.name] for node in graph.nodes)
    yield "lower", lowered, {}
    steps, aliases = resolve(lowered)
    yield "resolve", tuple(steps), {}
    inputs = tuple(value.name for value in graph.inputs)
    kept = frozenset(aliases.get(value.name, value.name) for value in graph.outputs)
    fused = fuse(steps, kept)
    yield "fuse", fused, {}
    fused = fuse_pools(fused, kept, lowering.maps)
    yield "fuse_pools", fused, {}
    folded, folds = fold_first_layers(fused, inputs, kept, lowering.maps, SIM16)
    yield "fold", folded, folds
    copied = copy_shared_parts(folded)
    yield "concat", copied, folds
    maps = {**lowering.maps, **{name: folded_map(lowering.maps[name], fold) for name, fold in folds.items()}}
    layouts = lay_out(copied, inputs, maps, SIM16)
    scaled = fuse_scale_shifts(copied, kept, maps, layouts, SIM16)
    yield "scale_shift", scaled, folds
    yield "order", in_order(scaled, layouts, kept), folds


def check_stages(case: Case) -> dict[str, int]:
    """Every tensor that is left after a pass has the golden model's values; returns how many steps each leaves."""
    graph, feeds = case
    truth = golden.run(graph, feeds)
    maps: Mapping[str, FeatureMap] = lower(graph, tensor_types(graph), SIM16).maps
    left = {}
    for name, steps, folds in stages(graph):
        inputs = {value.name: as_map(feeds[value.name], maps[value.name]) for value in graph.inputs}
        inputs |= {tensor: fold.folded(inputs[tensor]) for tensor, fold in folds.items()}
        found = run_steps(steps, inputs)
        for tensor in set(found) & set(truth) - set(folds):
            np.testing.assert_array_equal(found[tensor], as_map(truth[tensor], maps[tensor]), f"{name}: {tensor}")
        left[name] = len(steps)
    return left


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(operators())
def test_no_pass_changes_a_number(case: Case) -> None:
    check_stages(case)


def test_every_pass_does_something_here() -> None:
    b = Builder(30)
    x = b.conv(b.input(3, 20, 20), 40, Window((5, 5), (2, 2), (2, 2, 2, 2)))
    pooled = b.max_pool(b.clip(x), Window((2, 2), (2, 2)))
    scaled = b.scale_shift(pooled)
    y = b.add(b.conv(scaled, 40, Window((1, 1))), pooled)
    z = b.gemm(b.flatten(b.global_pool(b.concat(y, pooled))), 10, transposed=False)
    left = check_stages((b.graph(z), b.feeds()))
    assert left == {
        "lower": 10, "resolve": 9, "fuse": 7, "fuse_pools": 6, "fold": 6, "concat": 6, "scale_shift": 5,
        "order": 5,
    }  # fmt: skip


def test_a_changed_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(31)
    y = b.conv(b.input(8, 6, 6), 8, Window((3, 3)))
    case = b.graph(y), b.feeds()
    true = Fold.folded
    monkeypatch.setattr(Fold, "folded", lambda fold, pixels: true(fold, pixels) + np.uint8(1))
    with pytest.raises(AssertionError, match="fold: "):
        check_stages(case)
