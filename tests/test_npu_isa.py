"""The contract: packing, its errors, and the page that is generated from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwave.errors import InputError
from fieldwave.npu import isa
from fieldwave.npu.record import Field, Record
from fieldwave.npu.reference import reference

RECORDS = (isa.HEADER, isa.COMPUTE, isa.TRANSFER, isa.PARAMETER, isa.SCALE)


def values(record: Record) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({f.name: st.integers(f.lowest, f.highest) for f in record.fields})


@given(st.data())
def test_decode_returns_what_encode_was_given(data: Any) -> None:
    record = data.draw(st.sampled_from(RECORDS))
    given_values = data.draw(values(record))
    encoded = record.encode(given_values)
    assert len(encoded) == record.size
    assert record.decode(encoded) == given_values


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_gateware_sees_the_same_bits(record: Record) -> None:
    pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
    layout = record.layout()
    assert layout.size == record.size * 8
    for name, (field, position) in record.positions.items():
        assert (layout[name].offset, layout[name].width) == (position, field.bits)


def test_a_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError) as error:
        isa.COMPUTE.encode({"tiles": 65536})
    assert str(error.value) == "field tiles of record compute is 65536, outside 0 to 65535"
    with pytest.raises(InputError) as error:
        isa.COMPUTE.encode({"start_y": -32769})
    assert str(error.value) == "field start_y of record compute is -32769, outside -32768 to 32767"


def test_a_field_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError) as error:
        isa.TRANSFER.encode({"tiles": 1})
    assert str(error.value) == "record transfer has no field 'tiles'"


def test_a_truncated_record_is_refused() -> None:
    with pytest.raises(InputError) as error:
        isa.HEADER.decode(b"FWNP")
    assert str(error.value) == "record header is cut off after 4 of 128 bytes"


def test_a_record_holds_no_more_than_its_bytes() -> None:
    with pytest.raises(ValueError, match=r"^record r has 9 bits of fields, more than its 1 bytes$"):
        Record("r", 1, "", (Field("a", 9, "", ""),))


def test_disassembly_names_what_is_not_zero() -> None:
    load = isa.TRANSFER.encode({"opcode": isa.Opcode.LOAD, "rows": 1, "row_words": 64, "memory_offset": 4096})
    end = isa.TRANSFER.encode({"opcode": isa.Opcode.END, "wait": 3})
    assert isa.disassemble(load + end) == ["LOAD rows=1 row_words=64 memory_offset=4096", "END wait=3"]


def test_disassembly_refuses_what_is_no_program() -> None:
    with pytest.raises(InputError) as error:
        isa.disassemble(bytes(128))
    assert str(error.value) == "descriptor 0 has opcode 0, which does not exist"
    with pytest.raises(InputError) as error:
        isa.disassemble(isa.COMPUTE.encode({"opcode": isa.Opcode.CONV, "tiles": 1}))
    assert str(error.value) == "the list ends after 1 descriptors without END"


def test_registers_are_distinct_words() -> None:
    assert set(isa.REGISTERS) == set(isa.Register)
    assert all(register % 4 == 0 and register < isa.TRACE_BASE for register in isa.Register)


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parent.parent / "docs" / "isa.md"
    assert page.read_text() == reference(), "run: python -m fieldwave.npu.reference docs/isa.md"
