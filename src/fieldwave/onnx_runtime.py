"""ONNX Runtime, as every room imports it: told before it starts to send nothing home.

Builds of ONNX Runtime for Linux may carry telemetry, which starts with the import and leaves a file in the folder
for temporary files. A user who sets ``ORT_DISABLE_TELEMETRY`` otherwise is obeyed.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
