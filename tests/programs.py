"""Run compiled networks section by section on anything that executes program images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.compiler import Compiled, NpuSection, compile_network
from fieldwave.compiler.interpreter import Interpreter, Order
from fieldwave.graph import Graph
from fieldwave.npu import Configuration

Execute = Callable[[NDArray[np.uint8]], object]


def run_section(
    section: NpuSection, tensors: Mapping[str, NDArray[Any]], execute: Execute
) -> dict[str, NDArray[Any]]:
    """Hand over the inputs, execute, and read back every tensor that the program stores."""
    rng = np.random.default_rng(1)
    memory = rng.integers(0, 256, section.arena_bytes).astype(np.uint8)  # nothing may rely on zeros
    memory[: len(section.image)] = np.frombuffer(section.image, np.uint8)
    for tensor in section.inputs:
        tensor.pack(tensors[tensor.name], memory)
    execute(memory)
    return {tensor.name: tensor.unpack(memory) for tensor in section.outputs}


def check(
    graph: Graph,
    feeds: Mapping[str, NDArray[Any]],
    configuration: Configuration,
    execute: Execute | None = None,
    *,
    eager: Order = "compute",
    traces: Sequence[bool] = (False, True),
) -> Compiled:
    """Compile with and without trace; every tensor that is stored must equal the golden model's."""
    truth = golden.run(graph, feeds)
    for trace in traces:
        compiled = compile_network(graph, configuration, trace=trace)
        for section in compiled.program.sections:
            if not isinstance(section, NpuSection):
                continue
            run = execute or Interpreter(configuration, eager).run
            for name, values in run_section(section, truth, run).items():
                np.testing.assert_array_equal(values, truth[name], err_msg=name)
    return compiled
