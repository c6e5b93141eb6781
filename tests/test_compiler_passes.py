"""What each pass of the compiler decides, on networks that are small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldwave.compiler import Compiled, compile_network, explain
from fieldwave.compiler.fold import Fold
from fieldwave.compiler.queues import Region, Task, waits
from fieldwave.compiler.tile import Run
from fieldwave.errors import ModelError
from fieldwave.golden import Window
from fieldwave.graph import Graph, Value
from fieldwave.npu import Configuration, configuration
from tests.programs import check
from tests.random_networks import Builder

SIM16 = configuration("sim16")
SAME = Window((3, 3), pads=(1, 1, 1, 1))
POINT = Window((1, 1))


def operations(compiled: Compiled) -> list[tuple[str, tuple[str, ...]]]:
    return [(step.opcode.name, step.nodes) for step in compiled.plans[0].operations]


def refusals(graph: Graph) -> dict[str, str]:
    return dict(compile_network(graph, SIM16).program.refusals)


def edit(graph: Graph, index: int, **changes: object) -> Graph:
    """The graph with attributes of one node changed."""
    node = graph.nodes[index]
    changed = replace(node, attributes={**node.attributes, **changes})
    return replace(graph, nodes=(*graph.nodes[:index], changed, *graph.nodes[index + 1 :]))


# Fusion


def test_a_residual_block_is_four_operations() -> None:
    """Sum and clamp vanish into the second branch; the identity branch of stride 2 into the adder's own stride."""
    b = Builder(1)
    x = b.input(32, 8, 8)
    shortcut = b.max_pool(x, Window((1, 1), (2, 2)))
    inner = b.conv(x, 16, POINT)
    inner = b.conv(inner, 32, replace(SAME, strides=(2, 2)))
    y = b.clip(b.add(shortcut, inner))
    y = b.clip(b.add(b.conv(y, 32, SAME), y))
    compiled = check(b.graph(y), b.feeds(), SIM16)
    names = [node.name for node in b.nodes]
    assert operations(compiled) == [
        ("CONV", (names[1],)),
        ("CONV", (names[2], names[3], names[4], names[0])),
        ("CONV", (names[5], names[6], names[7])),
    ]
    residual = compiled.plans[0].operations[1].residual
    assert residual is not None and (residual.tensor, residual.stride) == ("x0", (2, 2))


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((8, 8), Window((2, 2), (2, 2))),
        ((9, 9), Window((2, 2), (2, 2))),
        ((9, 7), Window((2, 2), (2, 2), ceil_mode=True)),
        ((8, 8), Window((3, 3), (2, 2), (1, 1, 1, 1))),
        ((8, 8), Window((3, 3), (2, 2), (0, 0, 1, 1))),
    ],
)
def test_a_max_pool_goes_into_the_convolution_before_it(size: tuple[int, int], window: Window) -> None:
    b = Builder(3)
    y = b.max_pool(b.clip(b.conv(b.input(5, *size), 40, SAME)), window)
    compiled = check(b.graph(y), b.feeds(), SIM16)
    assert operations(compiled) == [("CONV", tuple(node.name for node in b.nodes))]
    assert compiled.program.sections[0].macs == 40 * 5 * 9 * size[0] * size[1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3)),  # two shared rows
        Window((1, 1), (2, 2)),  # gaps
        Window((2, 2), pads=(0, 0, 1, 1)),  # two windows end with the last pixel
    ],
)
def test_a_max_pool_that_cannot_is_an_operation_of_its_own(window: Window) -> None:
    b = Builder(4)
    y = b.max_pool(b.conv(b.input(5, 6, 6), 20, SAME), window)
    compiled = check(b.graph(y), b.feeds(), SIM16)
    assert [opcode for opcode, _ in operations(compiled)] == ["CONV", "MAX"]


def test_strips_of_a_fused_pool_compute_no_row_twice_where_its_output_stays() -> None:
    """The input streams, the pooled map stays; a row that two windows share ends one strip and begins the next."""
    b = Builder(5)
    y = b.max_pool(b.conv(b.input(16, 32, 32), 16, SAME), Window((3, 3), (2, 2), (1, 1, 1, 1)))
    small = replace(SIM16, bank_bytes=(8 * 1024, 8 * 1024))
    compiled = check(b.graph(y), b.feeds(), small)
    (plan,) = compiled.plans
    assert plan.memory.streamed == {"x0"} and len(plan.memory.strips[0]) > 1
    rows = [task.fields["output_height"] for task in compiled.images[0].tasks if task.queue == "compute"]
    assert sum(rows) == 32


def test_a_tensor_that_others_read_is_not_fused_away() -> None:
    b = Builder(2)
    x = b.input(8, 4, 4)
    inner = b.conv(x, 8, POINT)
    clipped = b.clip(inner)
    compiled = check(b.graph(inner, clipped), b.feeds(), SIM16)
    assert [opcode for opcode, _ in operations(compiled)] == ["CONV", "CONV"]
    assert compiled.plans[0].operations[1].identity


def test_the_sum_of_a_tensor_with_itself() -> None:
    b = Builder(3)
    x = b.input(8, 4, 4)
    y = b.conv(x, 8, POINT)
    check(b.graph(b.add(y, y)), b.feeds(), SIM16)


def test_a_table_ends_the_fusion() -> None:
    """A clamp after a table is an operation of its own, a table after a clamp is not."""
    b = Builder(4)
    x = b.input(8, 4, 4)
    y = b.clip(b.lookup(b.clip(b.conv(x, 8, POINT))))
    compiled = check(b.graph(y), b.feeds(), SIM16)
    assert [len(nodes) for _, nodes in operations(compiled)] == [3, 1]


# Scale-shift


def test_a_scale_shift_happens_on_the_way_to_each_of_its_readers() -> None:
    b = Builder(21)
    x = b.max_pool(b.input(40, 6, 6), POINT)
    scaled = b.scale_shift(x)
    y, z = b.conv(scaled, 16, SAME), b.max_pool(scaled, SAME)
    compiled = check(b.graph(y, z), b.feeds(), SIM16)
    copy, shift, conv, pool = (node.name for node in b.nodes)
    assert operations(compiled) == [("MAX", (copy,)), ("CONV", (shift, conv)), ("MAX", (shift, pool))]
    assert compiled.program.sections[0].macs == 40 * 36 + 40 * 9 * 16 * 36  # type: ignore[union-attr]


def test_a_scale_shift_stays_where_its_result_is_wanted_or_its_constants_have_no_room() -> None:
    b = Builder(22)
    x = b.input(40, 6, 6)
    scaled = b.scale_shift(x)
    y = b.conv(scaled, 16, SAME)
    graph, both = b.graph(y), b.graph(scaled, y)
    assert len(compile_network(graph, SIM16).plans[0].operations) == 1
    assert len(compile_network(both, SIM16).plans[0].operations) == 2
    assert len(compile_network(graph, replace(SIM16, prescale_words=2)).plans[0].operations) == 2


# Concatenation


def test_parts_are_written_in_place_and_copied_where_two_joins_want_them() -> None:
    b = Builder(5)
    x = b.input(20, 4, 4)
    one, two = b.conv(x, 20, POINT), b.conv(x, 5, POINT)
    first = b.concat(one, two)
    second = b.concat(one, x)
    compiled = check(b.graph(first, second), b.feeds(), SIM16)
    assert [opcode for opcode, _ in operations(compiled)] == ["CONV", "CONV", "MAX", "MAX"]
    layout = compiled.plans[0].layouts[two.name]
    assert (layout.buffer, layout.offset, layout.pitch) == (first.name, 2, 3)


def dense_block(b: Builder, *growth: int) -> Graph:
    """A small DenseNet: each layer narrows what is joined so far and joins its result."""
    whole = b.conv(b.input(16, 5, 5), growth[0], POINT)
    for maps in growth[1:]:
        whole = b.concat(whole, b.conv(b.conv(whole, 12, POINT), maps, SAME))
    return b.graph(b.conv(whole, 8, POINT))


def joined_layouts(compiled: Compiled) -> list[tuple[int, list[int], bool]]:
    """First word, lanes and merging of every part of the last concatenation."""
    layouts = compiled.plans[0].layouts
    widest = max(layouts.values(), key=lambda layout: layout.map.channels)
    parts = [o.output for o in compiled.plans[0].operations if layouts[o.output].buffer == widest.buffer]
    return [(layouts[n].offset, [int(layouts[n].lanes[i]) for i in (0, -1)], layouts[n].merged) for n in parts]


def test_a_part_begins_at_any_tile_of_a_word() -> None:
    """Words of 16 lanes, tiles of 8: 24 channels leave half a word, which the next 8 take; 9 more begin anew."""
    b = Builder(23)
    narrow = Configuration(16, 8, (1 << 15, 1 << 15), 4096, 16, 8)
    compiled = check(dense_block(b, 24, 8, 9, 7), b.feeds(), narrow)
    assert joined_layouts(compiled) == [
        (0, [0, 23], False), (1, [8, 15], False), (2, [0, 8], False), (3, [0, 6], False),
    ]  # fmt: skip
    slices = [tilings[0].runs[0].output_slice for tilings in compiled.plans[0].tilings]
    assert slices == [0, 0, 1, 0, 0, 0, 0, 0]


def test_parts_of_one_word_are_merged_by_the_residual_adder() -> None:
    """Words of 16 lanes written at once: 5 + 6 channels share one; 6 more would not end in it."""
    b = Builder(24)
    wide = Configuration(16, 16, (1 << 15, 1 << 15), 8192, 32, 16)
    compiled = check(dense_block(b, 21, 6, 6, 4), b.feeds(), wide)
    assert joined_layouts(compiled) == [
        (0, [0, 20], False), (1, [5, 10], True), (2, [0, 5], False), (2, [6, 9], True),
    ]  # fmt: skip


# Tiling


def test_pixels_are_split_evenly() -> None:
    b = Builder(6)
    y = b.conv(b.input(16, 14, 14), 16, POINT)
    tiling = compile_network(b.graph(y), SIM16).plans[0].tilings[0][0]
    assert (tiling.blocks, tiling.block_pixels, tiling.last_pixels) == (2, 98, 98)


def test_groups_become_runs_of_words() -> None:
    b = Builder(7)
    x = b.input(64, 4, 4)
    depthwise, grouped, narrow = b.conv(x, 64, SAME, 64), b.conv(x, 64, SAME, 2), b.conv(x, 64, SAME, 16)
    tilings = compile_network(b.graph(depthwise, grouped, narrow), SIM16).plans[0].tilings
    assert tilings[0][0].runs == (Run(0, 4, 0, 1, 1),)
    assert tilings[1][0].runs == (Run(0, 2, 0, 2, 0), Run(2, 2, 2, 2, 0))
    assert tilings[2][0].runs == (Run(0, 4, 0, 1, 1),)


def test_weights_that_exceed_the_ring_are_repeated() -> None:
    small = Configuration(16, 16, (1 << 18, 1 << 18), 4096, 16, 16, block_pixels=32)
    b = Builder(8)
    y = b.conv(b.input(64, 9, 9), 16, SAME)
    compiled = check(b.graph(y), b.feeds(), small)
    assert compiled.plans[0].tilings[0][0].repeat == (True,)


# Folding


def test_the_first_layer_takes_all_taps_at_once() -> None:
    """7 x 7 over 3 channels on 16 lanes: 147 channels are 10 words, so 10 steps instead of 49."""
    b = Builder(17)
    stem = Window((7, 7), (2, 2), (3, 2, 3, 4))
    y = b.conv(b.input(3, 20, 20), 64, stem)
    compiled = check(b.graph(y), b.feeds(), SIM16)
    (operation,), (tiling,) = compiled.plans[0].operations, compiled.plans[0].tilings[0]
    assert operation.window == POINT
    assert tiling.runs[0].input_words == 10
    fold = compiled.images[0].inputs[0].fold
    assert fold == Fold((7, 7), (2, 2), (1, 1), (3, 2), (10, 10), b.inputs[0].zero)


def test_only_columns_are_folded_where_more_would_take_longer_to_load() -> None:
    """One tile of 16 channels needs 3 cycles a pixel for all taps and 4 for its columns, at 3 bytes a cycle."""
    b = Builder(17)
    y = b.conv(b.input(3, 20, 20), 16, Window((2, 7), (1, 2), (0, 2, 0, 4), (1, 2)))
    narrow = replace(SIM16, port_bytes=4, ring_bytes=1 << 16)
    compiled = check(b.graph(y), b.feeds(), narrow)
    (operation,) = compiled.plans[0].operations
    assert operation.window == Window((2, 1))
    fold = compiled.images[0].inputs[0].fold
    assert fold == Fold((1, 7), (1, 2), (1, 2), (0, 2), (20, 7), b.inputs[0].zero)


def test_rows_are_folded_in_groups_where_that_is_less_to_load() -> None:
    """7 x 7 over 3 channels on 64 lanes: all taps take 3 words of a pixel, three rows of 21 take one of two."""
    b = Builder(17)
    y = b.conv(b.input(3, 20, 20), 64, Window((7, 7), (2, 2), (3, 2, 3, 4)))
    wide = Configuration(64, 64, (1 << 16, 1 << 16), 1 << 16, 128, 64)
    compiled = check(b.graph(y), b.feeds(), wide)
    (operation,) = compiled.plans[0].operations
    assert operation.window == Window((3, 1), (2, 1), dilations=(3, 1))
    fold = compiled.images[0].inputs[0].fold
    assert fold == Fold((3, 7), (1, 2), (1, 1), (3, 2), (25, 10), b.inputs[0].zero)
    assert compiled.program.sections[0].macs == 100 * 64 * 147  # type: ignore[union-attr]


def test_an_input_that_others_read_is_not_folded() -> None:
    b = Builder(18)
    x = b.input(3, 20, 20)
    y, z = b.conv(x, 16, SAME), b.max_pool(x, SAME)
    assert not compile_network(b.graph(y, z), SIM16).plans[0].folds


def test_an_input_that_fits_is_not_folded_into_one_that_does_not() -> None:
    """177 channels of 11 x 17 pixels are 34 kB; the seven columns of each of 5 output columns are 68 kB."""
    b = Builder(19)
    y = b.conv(b.input(177, 11, 17), 1, Window((4, 7), dilations=(2, 2)))
    assert not compile_network(b.graph(y), configuration("tiny")).plans[0].folds


def test_even_and_odd_strips_may_lie_in_different_banks() -> None:
    """An input just over a bank, of which every output row needs 13 of 22 rows: twice that fits in no one bank."""
    b = Builder(20)
    y = b.conv(b.input(129, 22, 22), 1, Window((7, 7), dilations=(2, 2)))
    compiled = check(b.graph(y), b.feeds(), configuration("tiny"))
    memory = compiled.plans[0].memory
    assert len(memory.strips[0]) > 1
    places = {memory.slab(0, compiled.plans[0].operations[0], "input", compiled.plans[0].layouts["x0"], n).bank
              for n in range(2)}  # fmt: skip
    assert places == {0, 1}


def test_a_fold_of_columns_by_its_definition() -> None:
    pixels = np.arange(1, 6, dtype=np.uint8).reshape(1, 5, 1)
    fold = Fold((1, 2), (1, 2), (1, 3), (0, 1), (1, 3), value=0)
    assert fold.folded(pixels)[0].tolist() == [[0, 3], [2, 5], [4, 0]]


def test_a_fold_of_rows_and_columns_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 6, 2)).astype(np.uint8)
    fold = Fold((2, 3), (2, 1), (1, 2), (1, 2), (3, 5), value=9)
    folded = fold.folded(pixels)
    for y, x, ky, kx, c in np.ndindex(3, 5, 2, 3, 2):
        row, column = y * 2 + ky - 1, x + kx * 2 - 2
        inside = 0 <= row < 5 and 0 <= column < 6
        assert folded[y, x, (ky * 3 + kx) * 2 + c] == (pixels[row, column, c] if inside else 9)


# Memory


def test_a_sum_takes_the_place_of_its_residual_and_the_input_lies_in_the_other_bank() -> None:
    b = Builder(9)
    x = b.input(16, 8, 8)
    y = b.conv(x, 16, SAME)
    z = b.add(b.conv(y, 16, SAME), x)
    plan = compile_network(b.graph(z), SIM16).plans[0]
    places = {name: plan.memory.place(name, plan.layouts[name]) for name in (x.name, y.name, z.name)}
    assert places[z.name] == places[x.name]
    assert places[y.name].bank != places[x.name].bank


def test_what_does_not_fit_is_streamed_in_strips() -> None:
    """16 KiB of activations pass through banks of 8 and 4 KiB; what fits stays."""
    b = Builder(10)
    x = b.input(16, 32, 32)
    y = b.conv(x, 16, SAME)
    y = b.add(b.conv(y, 16, SAME), x)
    z = b.conv(b.max_pool(y, Window((4, 4), (4, 4))), 16, SAME)
    compiled = check(b.graph(z), b.feeds(), Configuration(16, 16, (8192, 4096), 16384, 16, 16), eager="transfer")
    memory = compiled.plans[0].memory
    assert memory.streamed >= {x.name, y.name}
    assert z.name not in memory.streamed
    assert [len(strips) > 1 for strips in memory.strips] == [True, True, True, False]


def test_a_row_too_large_is_named() -> None:
    b = Builder(10)
    y = b.conv(b.input(16, 64, 64), 16, POINT)
    with pytest.raises(ModelError) as caught:
        compile_network(b.graph(y), Configuration(16, 16, (1024, 512), 65536, 16, 16))
    assert str(caught.value) == (
        f"the activation banks of 1024 and 512 bytes have no room for rows of '{y.name}' (1024 bytes) beside rows "
        "of 'x0' (1024 bytes); choose a configuration with larger banks"
    )


def test_a_global_sum_takes_words_in_strips_where_a_map_does_not_fit() -> None:
    """25 words of 81 pixels are 16 kB; each of them needs all pixels at once."""
    b = Builder(25)
    y = b.global_pool(b.max_pool(b.input(200, 9, 9), POINT))
    small = Configuration(8, 8, (8192, 4096), 4096, 8, 8)
    compiled = check(b.graph(y), b.feeds(), small)
    memory = compiled.plans[0].memory
    assert len(memory.strips[1]) > 1 and memory.strips[1][-1].last == 25


def test_a_pool_whose_rows_do_not_fit_is_an_operation_of_its_own() -> None:
    """A row of windows takes 4 rows of 30 x 16 bytes and its own, where a row of results takes 3 rows and one."""
    b = Builder(26)
    y = b.max_pool(b.conv(b.input(16, 30, 30), 16, SAME), Window((2, 2), (2, 2)))
    for banks, expected in (((4096, 4096), ["CONV"]), ((1536, 1024), ["CONV", "MAX"])):
        compiled = check(b.graph(y), b.feeds(), Configuration(16, 16, banks, 8192, 16, 16))
        assert [opcode for opcode, _ in operations(compiled)] == expected


# Order


def test_the_branch_with_the_largest_result_comes_last() -> None:
    """The shortcut comes first in the network; after the other branch, it lives beside less."""
    b = Builder(27)
    x = b.max_pool(b.input(16, 8, 8), POINT)
    shortcut = b.conv(x, 64, POINT)
    inner = b.conv(b.conv(x, 32, POINT), 16, SAME)
    y = b.add(b.conv(inner, 64, POINT), shortcut)
    compiled = check(b.graph(y), b.feeds(), SIM16)
    names = [node.name for node in b.nodes]
    assert [nodes[0] for _, nodes in operations(compiled)] == [names[0], names[2], names[3], names[1], names[4]]


def test_waits_follow_the_words_that_are_shared() -> None:
    def task(queue: str, reads: str = "", writes: str = "") -> Task:
        def regions(names: str) -> tuple[Region, ...]:
            return tuple(Region(0, ord(name), ord(name) + 1) for name in names)

        return Task(queue, "", {}, regions(reads), regions(writes))  # type: ignore[arg-type]

    tasks = [
        task("transfer", writes="a"),
        task("compute", "a", "b"),
        task("transfer", reads="b"),
        task("compute", "a", "c"),
        task("compute", "c", "b"),  # overwrites what is being stored
        task("transfer", writes="d"),
        task("transfer", writes="a"),  # after its last reader
        task("compute", "d", "e"),
    ]
    assert waits(tasks) == [0, 1, 1, 1, 2, 0, 2, 3]


# Host sections


def test_a_node_that_the_npu_cannot_run_splits_the_network() -> None:
    b = Builder(11)
    y = b.conv(b.input(8, 6, 6), 8, SAME)
    middle = b.conv(y, 8, SAME)
    b.nodes[-1] = replace(b.nodes[-1], attributes={**b.nodes[-1].attributes, "auto_pad": "SAME_UPPER", "pads": []})
    b.nodes[-1].attributes.pop("pads")  # type: ignore[attr-defined]
    z = b.add(b.conv(middle, 8, SAME), y)
    compiled = compile_network(b.graph(z), SIM16)
    assert [(s.side, s.inputs, s.outputs) for s in compiled.sections] == [
        ("npu", ("x0",), (y.name,)),
        ("host", (y.name,), (middle.name,)),
        ("npu", (middle.name, y.name), (z.name,)),
    ]
    assert compiled.program.refusals == ((b.nodes[1].name, "auto_pad is SAME_UPPER; write the pads out"),)


def test_what_a_convolution_must_be() -> None:
    b = Builder(12)
    graph = b.graph(b.conv(b.input(8, 6, 6), 8, SAME))
    node = graph.nodes[0]
    assert refusals(edit(graph, 0, strides=[300, 1])) == {
        node.name: "its stride is [300, 1]; the NPU goes up to 255"
    }
    for index, value, reason in (
        (5, np.ones(8, np.int8), "its weights are not symmetric int8"),
        (4, np.full(8, 1e-45, np.float32), "a multiplier of its requantization is no normal positive float32"),
    ):
        changed = replace(graph, constants={**graph.constants, node.inputs[index]: value})
        assert refusals(changed) == {node.name: reason}


def test_a_network_that_does_not_run() -> None:
    b = Builder(12)
    graph = b.graph(b.conv(b.input(8, 6, 6), 8, SAME))
    flat = graph.constants[graph.nodes[0].inputs[3]].reshape(8, -1)
    with pytest.raises(ModelError) as caught:
        compile_network(replace(graph, constants={**graph.constants, graph.nodes[0].inputs[3]: flat}), SIM16)
    assert str(caught.value).startswith("ONNX Runtime does not run network 'random': ")
    assert "\n" not in str(caught.value)


def test_adds_whose_scales_are_no_powers_of_two_stay_on_the_host() -> None:
    b = Builder(13)
    x = b.input(8, 6, 6)
    y = b.add(x, b.conv(x, 8, POINT))
    graph = b.graph(y)
    scale = graph.nodes[1].inputs[6]
    for value, reason in (
        (np.float32(0.3), "its scales are no powers of two"),
        (np.float32(2.0**-30), "its scales differ by 2^{}; the NPU goes up to 2^15"),
    ):
        changed = replace(graph, constants={**graph.constants, scale: np.asarray(value)})
        found = refusals(changed)[graph.nodes[1].name]
        exponent = x.exponent + 30
        assert found == reason.format(exponent)


def test_a_configuration_without_tables() -> None:
    b = Builder(19)
    y = b.lookup(b.conv(b.input(8, 6, 6), 8, POINT))
    compiled = compile_network(b.graph(y), configuration("ecp5-85f"))
    assert [section.side for section in compiled.sections] == ["npu", "host"]
    index, gather = (node.name for node in b.nodes[1:])
    assert dict(compiled.program.refusals) == {gather: "this configuration has no look-up tables"}
    assert index not in dict(compiled.program.refusals)


def test_a_free_size_is_refused() -> None:
    b = Builder(14)
    y = b.conv(b.input(8, 6, 6), 8, POINT)
    graph = replace(b.graph(y), inputs=(Value("x0", "uint8", (None, 8, None, 6)),))
    with pytest.raises(ModelError) as caught:
        compile_network(graph, SIM16)
    assert str(caught.value) == (
        "input 'x0' has shape [None, 8, None, 6]; a program is compiled for one image of one size: "
        "give the sizes, and 1 or a symbol as the batch"
    )


# Text


def test_explain_names_every_decision() -> None:
    b = Builder(15)
    x = b.input(16, 8, 8)
    y = b.add(b.conv(x, 16, SAME), x)
    text = explain(compile_network(b.graph(y), SIM16))
    conv, add = (node.name for node in b.nodes)
    assert text == (
        "section 0 on the npu: 2 nodes\n"
        "  operations\n"
        f"    CONV 3 x 3  x0 (8 x 8 x 16) + x0 -> {y.name} (8 x 8 x 16)  [{conv}, {add}]\n"
        "  tiles\n"
        f"    {conv}: 1 tiles x 1 blocks of 64 pixels: 576 cycles, 100.0 % of the array\n"
        "    together at least 576 cycles, 100.0 % of the array\n"
        "  activation memory\n"
        "    bank 0 words 0 to 64 (1024 bytes), steps 0 to 0: x0\n"
        f"    bank 1 words 0 to 64 (1024 bytes), steps 0 to 0: {y.name}\n"
        "    bank 0: 64 of 65536 words\n"
        "    bank 1: 64 of 65536 words\n"
        "  descriptors\n"
        "    transfer LOAD    x0: 1024 bytes\n"
        f"    compute  CONV    {conv}: 2496 bytes of the stream, after 1 transfers\n"
        f"    transfer STORE   {y.name}: 1024 bytes, after 1 computations\n"
        "    image of 3264 bytes, memory of 5376 bytes\n"
    )


def test_explain_says_how_inputs_are_folded_and_parts_joined() -> None:
    b = Builder(16)
    x = b.conv(b.input(3, 16, 16), 12, Window((7, 7), (2, 2), (3, 3, 3, 3)))
    y = b.conv(x, 20, POINT)
    compiled = compile_network(b.graph(b.conv(b.concat(x, y), 16, SAME)), SIM16)
    lines = [line.strip() for line in explain(compiled).splitlines()]
    joined, (fold,) = b.nodes[2].output, compiled.plans[0].folds.values()
    (at,) = (number for number, line in enumerate(lines) if line == "folded inputs")
    laid = compiled.plans[0].layouts["x0"].map
    assert lines[at + 1] == f"x0: {fold.taps[0]} x {fold.taps[1]} taps of 16 x 16 x 3 side by side, {laid}"
    assert lines[at + 2 : at + 6] == [
        "layouts that are not plain",
        f"{x.name}: 12 channels, 1 words from word 0 of {joined}, every 3 words",
        f"{y.name}: 20 channels, 2 words from word 1 of {joined}, every 3 words",
        f"{joined}: 32 channels, 3 words, every 3 words, 4 lanes between them empty",
    ]


def test_compiling_twice_gives_the_same_bytes() -> None:
    def compiled() -> bytes:
        b = Builder(16)
        x = b.input(16, 8, 8)
        return compile_network(b.graph(b.global_pool(b.conv(x, 40, SAME))), SIM16).images[0].data

    assert compiled() == compiled()
