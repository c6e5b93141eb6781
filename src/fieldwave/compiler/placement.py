"""Static addresses: buffers that live at the same time share no word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        first, last: index of the first operation that needs it and of the last, both included.
    """

    tensors: tuple[str, ...]
    words: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both live at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Place:
    """Where a buffer begins."""

    bank: int
    base: int  # words


def place(
    buffers: Sequence[Buffer], apart: Collection[tuple[int, int]], configuration: Configuration
) -> tuple[Place, ...] | int:
    """An address for every buffer, or the index of the first that does not fit.

    Several orders of placing are tried, and the first that fits is taken.

    Args:
        apart: pairs of buffers that are better kept in different banks.
    """
    blame = None
    for by_size, preference in product((False, True), ((0, 1), (1, 0))):
        order = sorted(
            range(len(buffers)),
            key=lambda i: (-buffers[i].words if by_size else buffers[i].first, buffers[i].first),
        )
        places, failed = _first_fit(buffers, order, apart, preference, configuration)
        if failed is None:
            return tuple(places[index] for index in range(len(buffers)))
        blame = failed if blame is None else blame
    assert blame is not None
    return blame


def _first_fit(
    buffers: Sequence[Buffer],
    order: Sequence[int],
    apart: Collection[tuple[int, int]],
    preference: tuple[int, int],
    configuration: Configuration,
) -> tuple[dict[int, Place], int | None]:
    """Put one buffer after the other at the lowest address that is free; on failure say which did not fit."""
    places: dict[int, Place] = {}
    for index in order:
        options = []
        for bank in preference:
            busy = sorted(
                (place.base, place.base + buffers[other].words)
                for other, place in places.items()
                if place.bank == bank and buffers[other].meets(buffers[index])
            )
            base = 0
            for start, end in busy:
                if base + buffers[index].words <= start:
                    break
                base = max(base, end)
            if base + buffers[index].words <= configuration.bank_words[bank]:
                clashes = sum((index, other) in apart for other, place in places.items() if place.bank == bank)
                options.append((clashes, base > 0, preference.index(bank), base, bank))
        if not options:
            return places, index
        *_, base, bank = min(options)
        places[index] = Place(bank, base)
    return places, None
