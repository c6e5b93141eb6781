"""Every quantized tensor of a network, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from fieldwave.devices.session import open_session
from fieldwave.errors import MissingExtraError
from fieldwave.onnx_runtime import onnxruntime

__all__ = ["Tracer"]

_QUANTIZED = {"tensor(uint8)", "tensor(int8)"}


class Tracer:
    """The network with each tensor on the way as a further output.

    Raises:
        MissingExtraError: ``onnx`` is not installed.
    """

    def __init__(self, model: bytes, threads: int) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError("tracing a network", "convert") from error
        traced = onnx.load_model_from_string(model)
        outputs = [value.name for value in traced.graph.output]
        # Without a type: ONNX Runtime infers it, which onnx cannot for the com.microsoft operators.
        traced.graph.output.extend(
            onnx.ValueInfoProto(name=name)
            for node in traced.graph.node
            for name in node.output
            if name and name not in outputs
        )
        self._session: onnxruntime.InferenceSession = open_session(traced.SerializeToString(), threads=threads)
        self._names = [
            value.name
            for value in self._session.get_outputs()
            if value.name in outputs or value.type in _QUANTIZED
        ]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs and all quantized tensors by name."""
        return dict(zip(self._names, self._session.run(self._names, dict(inputs)), strict=True))
