"""The element type and shape of every tensor for one image: what ONNX Runtime makes of one image of zeros.

Asking the runtime that defines the operators costs one inference and needs no shape rules of our own, whatever
operators stay on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldwave.errors import ModelError
from fieldwave.graph import Graph, to_onnx

__all__ = ["TensorType", "tensor_types"]


@dataclass(frozen=True)
class TensorType:
    """Element type by numpy's name, and shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def tensor_types(graph: Graph) -> dict[str, TensorType]:
    """The types of all activations.

    Raises:
        ModelError: an input with a free size other than the batch, or a graph that ONNX Runtime does not run.
    """
    from fieldwave.onnx_runtime import onnxruntime as ort

    inputs = {}
    for value in graph.inputs:
        shape = tuple(1 if axis == 0 else size for axis, size in enumerate(value.shape))
        if None in shape or (value.shape and value.shape[0] not in (None, 1)):
            raise ModelError(
                f"input {value.name!r} has shape {list(value.shape)}; a program is compiled for one image of one "
                "size: give the sizes, and 1 or a symbol as the batch"
            )
        inputs[value.name] = np.zeros([size or 1 for size in shape], value.dtype)
    names = [name for name in graph.activations() if name not in inputs]
    model = to_onnx(graph)
    del model.graph.output[:]
    model.graph.output.extend(type(model.graph.input[0])(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = dict(zip(names, session.run(names, inputs), strict=True))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"ONNX Runtime does not run network {graph.name!r}: {reason}") from error
    return {name: TensorType(value.dtype.name, tuple(value.shape)) for name, value in (inputs | values).items()}
