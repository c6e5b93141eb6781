"""The file of a program: what is written is read, and nothing else is believed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwave.compiler import MemoryTensor, NpuSection, Program, compile_network, read_program, write_program
from fieldwave.compiler.interpreter import Interpreter
from fieldwave.compiler.operations import FeatureMap
from fieldwave.errors import DeviceError, PackageError, TensorError
from fieldwave.golden import Window
from fieldwave.npu import configuration
from tests.programs import run_section
from tests.random_networks import Builder

TINY = configuration("tiny")


def program() -> Program:
    """A network with a host section between two NPU sections."""
    b = Builder(1)
    y = b.conv(b.input(8, 4, 4), 8, Window((1, 1)))
    middle = b.conv(y, 8, Window((1, 1)))
    zeros = b.nodes[-1].inputs[5]
    b.constants[b.nodes[-1].inputs[3]] = (b.constants[b.nodes[-1].inputs[3]].view(np.uint8) ^ 0x80).astype(
        np.uint8
    )
    b.constants[zeros] = np.full(8, 128, np.uint8)
    return compile_network(b.graph(b.conv(middle, 8, Window((1, 1)))), TINY).program


def test_what_is_written_is_read() -> None:
    written = program()
    assert [type(section).__name__ for section in written.sections] == ["NpuSection", "HostSection", "NpuSection"]
    assert written.refusals == (("qlinearconv_1", "its weights are not symmetric int8"),)
    assert read_program(write_program(written)) == written


def test_other_bytes() -> None:
    with pytest.raises(PackageError) as caught:
        read_program(b"PK\3\4 is a zip file")
    assert str(caught.value) == ("not a program for the NPU: it begins with b'PK\\x03\\x04 is ', not b'FWPROG02'")


def test_bytes_after_the_end() -> None:
    data = write_program(program())
    with pytest.raises(PackageError) as caught:
        read_program(data + b"!")
    assert str(caught.value) == f"the program ends at byte {len(data)}, but its file has {len(data) + 1}"


@given(st.data())
def test_every_truncation_is_noticed(data: st.DataObject) -> None:
    whole = write_program(program())
    with pytest.raises(PackageError):
        read_program(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_a_truncation_says_where() -> None:
    with pytest.raises(PackageError) as caught:
        read_program(write_program(program())[:20])
    assert str(caught.value) == "the program is cut off: 8 bytes are expected at byte 16 of 20"


def test_a_tensor_outside_the_memory() -> None:
    written = program()
    section = written.sections[0]
    assert isinstance(section, NpuSection)
    outside = replace(section.inputs[0], offset=section.arena_bytes)
    broken = replace(written, sections=(replace(section, inputs=(outside,)),))
    with pytest.raises(PackageError) as caught:
        read_program(write_program(broken))
    assert str(caught.value) == "tensor 'x0' of the program lies outside its memory"


def test_tensors_of_every_form_survive_memory() -> None:
    values = np.arange(2 * 3 * 5, dtype=np.uint8)
    for form, shape in (("nchw", (1, 5, 2, 3)), ("nhwc", (1, 2, 3, 5)), ("flat", (1, 30))):
        tensor = MemoryTensor("t", FeatureMap(2, 3, 5, form), 7, 16, 64, ((0, 2), (8, 3)))  # type: ignore[arg-type]
        memory = np.zeros(7 + tensor.size, np.uint8)
        tensor.pack(values.reshape(shape), memory)
        assert np.array_equal(tensor.unpack(memory), values.reshape(shape))
        assert tensor.unpack(memory).shape == tensor.shape == shape


def test_another_array_is_refused() -> None:
    section = program().sections[0]
    assert isinstance(section, NpuSection)
    with pytest.raises(TensorError) as caught:
        section.inputs[0].pack(np.zeros((1, 8, 4, 5), np.uint8), np.zeros(section.arena_bytes, np.uint8))
    assert str(caught.value) == "tensor 'x0' is uint8 [1, 8, 4, 5]; the program takes uint8 [1, 8, 4, 4]"


def test_a_program_for_another_configuration() -> None:
    section = program().sections[0]
    assert isinstance(section, NpuSection)
    other = configuration("sim16")
    with pytest.raises(DeviceError) as caught:
        run_section(section, {"x0": np.zeros((1, 8, 4, 4), np.uint8)}, Interpreter(other).run)
    assert str(caught.value) == (
        f"the program is for configuration {TINY.fingerprint:016x}, this is {other.fingerprint:016x}; "
        "compile it again"
    )


COMPILE = """
import hashlib, sys
from fieldwave.cli.network import read_network
from fieldwave.compiler import compile_network, write_program
from fieldwave.npu import configuration
for name, npu in (("densenet121", "kv260"), ("digits", "tiny")):
    program = compile_network(read_network(name, zoo=True).graph, configuration(npu)).program
    print(hashlib.sha256(write_program(program)).hexdigest())
"""


def test_programs_do_not_depend_on_the_order_of_sets() -> None:
    """Python's hashes of strings, and with them the order of sets, differ from process to process."""
    made = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILE],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
        )
        for seed in (1, 2)
    ]
    first, second = (process.communicate()[0] for process in made)
    assert [process.returncode for process in made] == [0, 0]
    assert first == second and len(first.split()) == 2
