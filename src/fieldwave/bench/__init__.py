"""How fast devices and services are, as those see it who use them."""

from fieldwave.bench.device import HardwareTime, bench_device, example_input, hardware_time
from fieldwave.bench.latency import Latency, measure
from fieldwave.bench.load import ClosedLoop, Figures, OpenLoop, Sent, arrivals, closed_loop, open_loop
from fieldwave.bench.protocols import PROTOCOLS, Request, prepare
from fieldwave.bench.stages import OUTSIDE, sample_stages

__all__ = [
    "OUTSIDE",
    "PROTOCOLS",
    "ClosedLoop",
    "Figures",
    "HardwareTime",
    "Latency",
    "OpenLoop",
    "Request",
    "Sent",
    "arrivals",
    "bench_device",
    "closed_loop",
    "example_input",
    "hardware_time",
    "measure",
    "open_loop",
    "prepare",
    "sample_stages",
]
