"""ONNX Runtime sessions as every part of the cpu device opens them."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

from fieldwave.errors import DeviceError
from fieldwave.onnx_runtime import onnxruntime

__all__ = ["default_threads", "one_line", "open_session"]

_FATAL_ONLY = 4
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def open_session(model: bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session over an ONNX model.

    Args:
        model: the bytes of an ONNX file that holds all its weights.
        threads: how many compute one image; 0 takes `default_threads`.

    Raises:
        DeviceError: ONNX Runtime cannot load the model.
    """
    options = onnxruntime.SessionOptions()
    # An error is raised; to log it too would show it twice.
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads or default_threads()
    # The stored graph says what is quantized; a fusion of DequantizeLinear, op, QuantizeLinear would change bits.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # A package is ONNX and complete: no other format, and no weights from files of this machine.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's exceptions have no common base but Exception.
    except Exception as error:
        raise DeviceError(f"ONNX Runtime cannot load the model: {one_line(error)}") from error


def default_threads() -> int:
    """How many threads compute one image: 0, ONNX Runtime's own choice, unless this process may use fewer cores.

    ONNX Runtime takes one thread for each physical core of the machine, and does not see that a container or
    taskset leaves it fewer; then its threads wait for each other.
    """
    cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CPU_QUOTA.read_text().split()
        if quota != "max":
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return allowed if allowed < cores else 0


def one_line(error: Any) -> str:
    """An ONNX Runtime error without its prefix, on one line and of readable length."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 300 else f"{text[:299]}…"
