"""What the report draws, on a network and a timeline that are small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldwave.compiler import Compiled, compile_network
from fieldwave.compiler.records import vectors_of
from fieldwave.compiler.timeline import Span, Timeline
from fieldwave.errors import InputError
from fieldwave.golden import Window
from fieldwave.npu import configuration
from fieldwave.report import Board, Layer, collect
from tests.random_networks import Builder

TINY = configuration("tiny")
BOARD = Board(clock=100e6, bandwidth=400e6)  # 4 bytes a cycle; the port takes 8


def compiled(**changes: object) -> Compiled:
    """A convolution with 12 of 16 channels used, a pool, and a convolution with a residual."""
    b = Builder(2)
    x = b.conv(b.input(8, 6, 6), 12, Window((3, 3), pads=(1, 1, 1, 1)))
    y = b.average_pool(x, Window((2, 2), (2, 2)), include=False)
    graph = b.graph(b.add(b.conv(y, 12, Window((1, 1))), y))
    return compile_network(graph, replace(TINY, **changes))  # type: ignore[arg-type]


def timeline(program: Compiled) -> Timeline:
    """Every task after the one before: transfers of 50 cycles, 10 cycles of drain and 3 between two of a queue."""
    spans, now = [], 20
    numbers = {"compute": 0, "transfer": 0}
    for task in program.images[0].tasks:
        start, number = now + 3, numbers[task.queue]
        operation = {2: "CONV", 4: "AVERAGE", 16: "LOAD", 17: "STORE"}[task.fields["opcode"]]
        if task.queue == "compute":
            vectors = vectors_of(task.fields)
            now = start + vectors + 10
            spans.append(
                Span("compute", number, task.label, operation, start, now, 0, vectors, {"drain": 10}, 400)
            )
        else:
            now = start + 50
            read, written = (200, 0) if operation == "LOAD" else (0, 100)
            spans.append(
                Span(
                    "transfer",
                    number,
                    task.label,
                    operation,
                    start,
                    now,
                    0,
                    bytes_read=read,
                    bytes_written=written,
                )
            )
        numbers[task.queue] += 1
    return Timeline("estimated", now + 5, tuple(spans), {}, 2000, 100)


def test_layers_add_up_to_the_whole_time() -> None:
    program = compiled()
    facts = collect(program, [timeline(program)], BOARD)
    first, pool, last, end = facts.layers
    # 36 pixels, 9 taps, 2 tiles of output channels; 12 channels used. The input comes first: 20 + 3 + 50 + 3.
    assert first == Layer(
        name=program.plans[0].operations[0].name,
        nodes=program.plans[0].operations[0].nodes,
        kind="CONV 3 x 3",
        result="6 x 6 x 12",
        parts={"multiply": 9 * 36 * 8 * 12 // 64, "idle lanes": 9 * 36 * 4 * 8 // 64, "drain": 10, "between": 76},
        macs=9 * 36 * 8 * 12,
        read=600,
        written=0,
        descriptors=2,
    )
    assert (pool.kind, pool.parts) == ("AVERAGE 2 x 2 / 2 x 2", {"pool": 4 * 9 * 2, "drain": 10, "between": 3})
    assert last.kind == "CONV 1 x 1 + residual"
    assert (end.name, end.parts) == ("the last stores", {"transfer": 3 + 50 + 5})
    assert sum(layer.cycles for layer in facts.layers) == facts.cycles == timeline(program).cycles
    assert sum(facts.parts().values()) == facts.cycles
    assert facts.parts()["drain"] == 30
    assert facts.utilisation == facts.summary.npu_macs / facts.cycles / 64
    assert (facts.read, facts.written, facts.origin) == (2000, 100, "estimated")


def test_what_two_descriptors_do_at_once_counts_once() -> None:
    """The pool starts 25 cycles before the first convolution has drained: 10 of the drain, 15 of its own fill."""
    program = compiled()
    whole = timeline(program)
    first, pool, *others = whole.spans[1:]
    pool = replace(pool, start=first.end - 25, wait=0, waits={"fill": 20, "drain": 10}, end=first.end + 77)
    late = [replace(one, start=one.start + 2, end=one.end + 2) for one in others]
    moved = replace(whole, spans=(whole.spans[0], first, pool, *late), cycles=whole.cycles + 2)
    facts = collect(program, [moved], BOARD)
    assert "drain" not in facts.layers[0].parts
    assert facts.layers[1].parts == {"pool": 72, "fill": 5, "drain": 10}
    assert sum(layer.cycles for layer in facts.layers) == facts.cycles


def test_the_roofline_is_the_slower_of_array_and_memory() -> None:
    program = compiled()
    first = collect(program, [timeline(program)], BOARD).layers[0]
    assert first.bounds(TINY, BOARD) == (9 * 36 * 12 * 8 / 64, 600 / 4)
    assert first.bounds(TINY, Board(100e6, 100e9))[1] == 600 / 8  # no more than the port


def test_how_busy_the_units_are() -> None:
    program = compiled()
    facts = collect(program, [timeline(program)], BOARD)
    first = next(one for one in facts.activities if one.span.operation == "CONV")
    vectors = 9 * 36 * 2
    assert first.useful == pytest.approx(12 / 16 * vectors / (vectors + 10))
    assert first.pipe == 2 * 36 * 4 / (vectors + 10)  # 8 results a vector, two at a time
    assert first.stream == pytest.approx(400 / 4 / (vectors + 10))
    pool = next(one for one in facts.activities if one.span.operation == "AVERAGE")
    assert (pool.useful, pool.layer) == (0, 1)


def test_buffers_live_from_the_first_access_to_the_last() -> None:
    program = compiled()
    facts = collect(program, [timeline(program)], BOARD)
    spans = {one.span.operation: one.span for one in facts.activities}
    by_tensor = {one.tensors[0]: one for one in facts.residencies}
    source = by_tensor[program.plans[0].operations[0].input]
    assert (source.start, source.layer, source.strip) == (spans["LOAD"].start, 0, False)
    assert source.end == next(one.span for one in facts.activities if one.span.operation == "CONV").end
    assert source.last - source.first == 36 * 8
    assert max(one.end for one in facts.residencies) == spans["STORE"].end
    for one in facts.residencies:
        for other in facts.residencies:
            apart = one.bank != other.bank or one.last <= other.first or other.last <= one.first
            assert one is other or apart or one.end <= other.start or other.end <= one.start


def test_what_passes_in_strips_is_marked() -> None:
    program = compiled(bank_bytes=(256, 512))
    facts = collect(program, [timeline(program)], BOARD)
    assert facts.summary.streamed
    assert {one.strip for one in facts.residencies} == {True, False}


def test_sections_follow_each_other_and_the_host_says_why() -> None:
    b = Builder(1)
    y = b.conv(b.input(8, 4, 4), 8, Window((1, 1)))
    middle = b.lookup(y)
    graph = b.graph(b.conv(middle, 8, Window((1, 1))))
    program = compile_network(graph, replace(TINY, lookup=False))
    once = Timeline(
        "measured", 100, (Span("compute", 0, "a", "CONV", 40, 90, 30, 16, {"lost": 34}),), {}, 10, 20, missing=1
    )
    facts = collect(program, [once, once], BOARD)
    assert facts.starts == (0, 100) and facts.cycles == 200
    assert [layer.parts for layer in facts.layers if layer.nodes] == [
        {"multiply": 16, "lost": 34, "transfer": 30, "between": 10}
    ] * 2
    assert [layer.name for layer in facts.layers if not layer.nodes] == ["1 descriptors without a trace"] * 2
    assert [one.span.start for one in facts.activities] == [40, 140]
    gather = next(node for node in facts.host if node.op == "Gather")
    assert gather.reason == dict(program.program.refusals)[gather.name]
    assert {node.name for node in facts.host} == {n.name for n in b.nodes} - {b.nodes[0].name, b.nodes[-1].name}


def test_a_timeline_of_another_program() -> None:
    program = compiled()
    span = Span("compute", 0, "a", "CONV", 0, 1, 0, 1)
    with pytest.raises(InputError) as caught:
        collect(program, [Timeline("measured", 9, (span,) * 9, {}, 0, 0)], BOARD)
    assert str(caught.value) == (
        "the timeline has 9 descriptors in the compute queue, the program 3; take the timeline of this program"
    )


def test_a_network_of_the_host_alone() -> None:
    b = Builder(1)
    program = compile_network(b.graph(b.lookup(b.input(8, 4, 4))), replace(TINY, lookup=False))
    with pytest.raises(InputError) as caught:
        collect(program, [], BOARD)
    assert str(caught.value) == "nothing of network 'random' runs on the NPU; there is nothing to draw"
