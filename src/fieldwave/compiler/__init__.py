"""The compiler: a quantized network to a program of the NPU, and the host sections around it."""

from fieldwave.compiler.compiler import Compiled, compile_network
from fieldwave.compiler.explanation import explain
from fieldwave.compiler.program import HostSection, NpuSection, Program, read_program, write_program
from fieldwave.compiler.summary import Summary, summarize
from fieldwave.compiler.tensors import MemoryTensor

__all__ = [
    "Compiled",
    "HostSection",
    "MemoryTensor",
    "NpuSection",
    "Program",
    "Summary",
    "compile_network",
    "explain",
    "read_program",
    "summarize",
    "write_program",
]
