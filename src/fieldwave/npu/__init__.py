"""The NPU in gateware, one component a file."""
