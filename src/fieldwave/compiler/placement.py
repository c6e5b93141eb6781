"""Static addresses: buffers that live at the same time share no word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fieldwave.npu import Configuration

__all__ = ["Buffer", "Place", "place"]


@dataclass(frozen=True)
class Buffer:
    """Memory that one or several tensors share.

    Attributes:
        tensors: the tensors in it; the first gives it its name.
        words: its size.
        first, last: the first step that needs it and the last, both included.
        family: strips of one operand, which are better kept in one bank: then the others are in the other.
    """

    tensors: tuple[str, ...]
    words: int
    first: int
    last: int
    family: str = ""

    def meets(self, other: Buffer) -> bool:
        """Whether both live at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Place:
    """Where a buffer begins."""

    bank: int
    base: int  # words


def place(
    buffers: Sequence[Buffer],
    apart: Mapping[tuple[int, int], int],
    configuration: Configuration,
    *,
    first: bool = False,
) -> tuple[Place, ...] | int:
    """An address for every buffer, or the index of the first that does not fit.

    Several orders of placing are tried; of those that fit, the one with the fewest conflicts is taken.

    Args:
        first: the first that fits will do.
        apart: pairs of buffers that are better kept in different banks, and what it costs where they are not.
    """
    blame: int | None = None
    best: tuple[int, dict[int, Place]] | None = None
    neighbours: dict[int, dict[int, int]] = {}
    for (index, other), cycles in apart.items():
        neighbours.setdefault(index, {})[other] = cycles
    begins = [buffer.first for buffer in buffers]
    by_time = sorted(range(len(buffers)), key=lambda i: (begins[i], i))
    by_size = sorted(by_time, key=lambda i: -buffers[i].words)
    for order, preference in product((by_time, by_size), ((0, 1), (1, 0))):
        places, failed = _first_fit(buffers, order, neighbours, preference, configuration)
        if failed is not None:
            blame = failed if blame is None else blame
            continue
        conflicts = sum(cycles for (a, b), cycles in apart.items() if a < b and places[a].bank == places[b].bank)
        if best is None or conflicts < best[0]:
            best = conflicts, places
        if first or not conflicts:
            break
    if best is not None:
        return tuple(best[1][index] for index in range(len(buffers)))
    assert blame is not None
    return blame


def _first_fit(
    buffers: Sequence[Buffer],
    order: Sequence[int],
    neighbours: Mapping[int, Mapping[int, int]],
    preference: tuple[int, int],
    configuration: Configuration,
) -> tuple[dict[int, Place], int | None]:
    """Put one buffer after the other at the lowest address that is free; on failure say which did not fit."""
    places: dict[int, Place] = {}
    living: dict[int, list[int]] = {}  # step -> what is placed and lives then
    families: dict[str, int] = {}  # the bank of the last of each family
    for index in order:
        buffer = buffers[index]
        steps = range(buffer.first, buffer.last + 1)
        beside = {other for step in steps for other in living.get(step, ())}
        options = []
        for bank in preference:
            busy = sorted(
                (places[other].base, places[other].base + buffers[other].words)
                for other in beside
                if places[other].bank == bank
            )
            base = 0
            for start, end in busy:
                if base + buffer.words <= start:
                    break
                base = max(base, end)
            if base + buffer.words <= configuration.bank_words[bank]:
                conflicts = sum(
                    cycles
                    for other, cycles in neighbours.get(index, {}).items()
                    if other in places and places[other].bank == bank
                )
                moves = families.get(buffer.family, bank) != bank
                options.append((conflicts, moves, base > 0, preference.index(bank), base, bank))
        if not options:
            return places, index
        *_, base, bank = min(options)
        places[index] = Place(bank, base)
        if buffer.family:
            families[buffer.family] = bank
        for step in steps:
            living.setdefault(step, []).append(index)
    return places, None
