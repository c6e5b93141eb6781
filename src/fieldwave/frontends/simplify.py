"""A network as its framework exported it, with less in it: done by ONNX Runtime's own rewriting."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["simplify"]

_KEPT = ["ConvBNFusion"]
"""Left to the quantizer, which folds batch norms in float64."""


def simplify(model: ModelProto) -> ModelProto:
    """Fold constants, drop what does nothing, join pads, biases and gains with the convolutions beside them.

    These are ONNX Runtime's basic graph optimisations: the result is ordinary ONNX.

    Raises:
        ModelError: ONNX Runtime cannot load the model; the message names the node where it does.
    """
    import onnx

    from fieldwave.onnx_runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simplified.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_KEPT,
            )
            result = onnx.load(path)
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            raise ModelError(f"the network cannot be run: {_one_line(error)}") from error
    del result.opset_import[:]
    result.opset_import.extend(model.opset_import)
    return result


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.split(" : ", 3)[-1][:300] if text.startswith("[ONNXRuntimeError]") else text[:300]
