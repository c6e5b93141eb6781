"""Tasks say when they are, in the steps of the memory plan, and of which operation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldwave.compiler import Compiled, compile_network
from fieldwave.golden import Window
from fieldwave.npu import configuration
from tests.random_networks import Builder

SIM16 = configuration("sim16")
SAME = Window((3, 3), pads=(1, 1, 1, 1))


def network(bank_bytes: int) -> Compiled:
    """A residual, a concatenation and a pool; what does not fit the banks is streamed."""
    b = Builder(5)
    x = b.conv(b.input(16, 40, 40), 16, SAME)
    x = b.max_pool(b.add(x, b.conv(x, 16, SAME)), Window((2, 2), (2, 2)))
    y = b.concat(x, b.conv(x, 16, Window((1, 1))))
    return compile_network(b.graph(b.conv(y, 32, SAME)), replace(SIM16, bank_bytes=(bank_bytes, bank_bytes)))


@pytest.mark.parametrize(("bank_bytes", "streams"), [(1 << 20, False), (16 << 10, True)])
def test_every_task_touches_what_lives_in_its_step(bank_bytes: int, streams: bool) -> None:
    compiled = network(bank_bytes)
    ((plan,), (image,)) = compiled.plans, compiled.images
    assert bool(plan.memory.streamed) is streams
    placed = list(zip(plan.memory.buffers, plan.memory.places, strict=True))
    for task in image.tasks:
        for region in (*task.reads, *task.writes):
            assert any(
                place.bank == region.bank
                and place.base <= region.start
                and region.end <= place.base + buffer.words
                and buffer.first <= task.step <= buffer.last
                for buffer, place in placed
            ), task.label


@pytest.mark.parametrize("bank_bytes", [1 << 20, 16 << 10])
def test_every_operation_has_its_tasks_in_order(bank_bytes: int) -> None:
    compiled = network(bank_bytes)
    ((plan,), (image,)) = compiled.plans, compiled.images
    for task in image.tasks:
        operation = plan.operations[task.operation]
        if task.queue == "compute":
            assert task.label.startswith(operation.name)
        else:
            assert task.label.startswith((*operation.reads, operation.output))
    steps = [task.step for task in image.tasks if task.queue == "compute"]
    assert steps == sorted(steps)
    assert {task.operation for task in image.tasks} == set(range(len(plan.operations)))
