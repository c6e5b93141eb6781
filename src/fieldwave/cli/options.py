"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from fieldwave.cli import output

__all__ = ["BANDWIDTH", "CLOCK_MHZ", "LATENCY_CYCLES", "Bandwidth", "Clock", "Json", "Latency", "On", "Quiet"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
On = Annotated[str, typer.Option("--on", metavar="COMPUTE", help="Where; else what fieldwave.toml says, or here.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print data and errors only.", callback=output.set_quiet),
]

Clock = Annotated[float, typer.Option(help="Clock of the NPU.", metavar="MHZ", min=1.0)]
Bandwidth = Annotated[
    float, typer.Option(help="Of its memory, reads and writes together.", metavar="GB/S", min=0.001)
]
Latency = Annotated[int, typer.Option(help="Of its memory, in clock cycles.", metavar="CYCLES", min=1)]

CLOCK_MHZ, BANDWIDTH, LATENCY_CYCLES = 200.0, 19.2, 100
"""An NPU and its memory where nothing is said of them: 96 bytes a cycle, one channel of DDR4-2400."""
