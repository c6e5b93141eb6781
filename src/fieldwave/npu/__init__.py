"""The NPU: its contract (configuration, instruction set) and its gateware, one component a file.

The contract needs numpy-free plain Python only; everything that describes hardware needs the extra ``gateware``.
"""

from __future__ import annotations

from fieldwave.npu.config import CONFIGURATIONS, Configuration, configuration

__all__ = ["CONFIGURATIONS", "Configuration", "configuration"]
