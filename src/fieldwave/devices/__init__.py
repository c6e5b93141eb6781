"""Devices: one small protocol over the CPU, the simulated gateware and boards."""

from fieldwave.devices.protocol import Counters, Device
from fieldwave.devices.registry import create_device, device_names, lease_device, open_device

__all__ = ["Counters", "Device", "create_device", "device_names", "lease_device", "open_device"]
