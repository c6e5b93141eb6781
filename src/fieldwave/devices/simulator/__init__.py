"""The cycle-exact simulation of the NPU: its Verilog in Verilator, memory and clock in C++, loaded by ctypes."""

from __future__ import annotations

from fieldwave.devices.simulator.build import build_simulator, cache_folder
from fieldwave.devices.simulator.simulation import MemoryModel, Simulation

__all__ = ["MemoryModel", "Simulation", "build_simulator", "cache_folder"]
