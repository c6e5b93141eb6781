"""The order between the two queues: what a descriptor waits for in the other one.

Each queue runs its descriptors in order; a wait counts descriptors that the other queue must have completed.
A task waits for the last earlier one in the other queue that touches the same words of activation memory, where
at least one of the two writes. Waits only point back in the list, so the queues cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Region", "Task", "waits"]


@dataclass(frozen=True)
class Region:
    """Words ``start`` to ``end`` (excluded) of an activation bank."""

    bank: int
    start: int
    end: int

    def meets(self, other: Region) -> bool:
        return self.bank == other.bank and self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Task:
    """One descriptor, its wait still missing.

    Attributes:
        queue: where it runs.
        label: what it is for, for readers.
        fields: the values of its record.
        reads, writes: activation memory.
        operation: which operation of the plan it computes, loads for or stores from.
        step: when, in the steps in which the plan counts the life of buffers.
    """

    queue: Literal["compute", "transfer"]
    label: str
    fields: Mapping[str, int]
    reads: tuple[Region, ...] = field(default=())
    writes: tuple[Region, ...] = field(default=())
    operation: int = 0
    step: int = 0

    def must_follow(self, other: Task) -> bool:
        """Whether one of the two writes what the other touches."""
        return (
            _meet(self.reads, other.writes) or _meet(self.writes, other.reads) or _meet(self.writes, other.writes)
        )


def waits(tasks: Sequence[Task]) -> list[int]:
    """For each task, in the order in which they would run one by one, what it waits for."""
    numbers = {"compute": 0, "transfer": 0}
    positions: list[int] = []
    result: list[int] = []
    for index, task in enumerate(tasks):
        found = 0
        for other, position in zip(reversed(tasks[:index]), reversed(positions), strict=True):
            if other.queue != task.queue and task.must_follow(other):
                found = position + 1
                break
        result.append(found)
        positions.append(numbers[task.queue])
        numbers[task.queue] += 1
    return result


def _meet(first: Sequence[Region], second: Sequence[Region]) -> bool:
    return any(a.meets(b) for a in first for b in second)
