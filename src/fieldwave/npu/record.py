"""Fixed-size binary records, declared once: bytes for software, a struct layout for gateware, a page for readers.

A :class:`Record` lists its fields from bit 0 upwards, without gaps; software packs and unpacks them here with
plain integers, and the gateware reads the same list as an ``amaranth.lib.data.StructLayout``. Only
:meth:`Record.layout` imports Amaranth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fieldwave.errors import InputError

__all__ = ["Field", "Record"]


@dataclass(frozen=True)
class Field:
    """One bit field of a record.

    Parameters:
        name: how code on both sides calls it.
        bits: width.
        unit: what one count of it is ("words", "pixels", ...).
        meaning: one sentence for the reference page.
        signed: two's complement.
    """

    name: str
    bits: int
    unit: str
    meaning: str
    signed: bool = False

    @property
    def lowest(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << self.bits - self.signed) - 1


@dataclass(frozen=True)
class Record:
    """A record of ``size`` bytes; bits after the last field are reserved and zero."""

    name: str
    size: int
    meaning: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        used = sum(field.bits for field in self.fields)
        if used > self.size * 8:
            raise ValueError(f"record {self.name} has {used} bits of fields, more than its {self.size} bytes")

    @cached_property
    def positions(self) -> dict[str, tuple[Field, int]]:
        """Each field with the number of its lowest bit."""
        found, position = {}, 0
        for field in self.fields:
            found[field.name] = (field, position)
            position += field.bits
        return found

    def encode(self, values: Mapping[str, int]) -> bytes:
        """Pack ``values`` into ``size`` bytes, little-endian; a field that is not given is zero.

        Raises:
            InputError: no such field, or a value that its bits cannot hold.
        """
        word = 0
        for name, value in values.items():
            if name not in self.positions:
                raise InputError(f"record {self.name} has no field {name!r}")
            field, position = self.positions[name]
            if not field.lowest <= value <= field.highest:
                raise InputError(
                    f"field {name} of record {self.name} is {value}, outside {field.lowest} to {field.highest}"
                )
            word |= (value & (1 << field.bits) - 1) << position
        return word.to_bytes(self.size, "little")

    def decode(self, data: bytes) -> dict[str, int]:
        """Unpack ``size`` bytes into the value of every field.

        Raises:
            InputError: fewer bytes than the record has.
        """
        if len(data) < self.size:
            raise InputError(f"record {self.name} is cut off after {len(data)} of {self.size} bytes")
        word = int.from_bytes(data[: self.size], "little")
        values = {}
        for field, position in self.positions.values():
            value = word >> position & (1 << field.bits) - 1
            values[field.name] = value - (1 << field.bits) if value > field.highest else value
        return values

    def layout(self) -> Any:
        """The same bits as an ``amaranth.lib.data.StructLayout`` of ``size`` bytes."""
        from amaranth import Shape
        from amaranth.lib import data

        members: dict[str, Any] = {field.name: Shape(field.bits, field.signed) for field in self.fields}
        unused = self.size * 8 - sum(field.bits for field in self.fields)
        if unused:
            members["unused"] = Shape(unused)
        return data.StructLayout(members)
