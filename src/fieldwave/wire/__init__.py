"""The messages of the Predict protocol, wire-compatible with TensorFlow Serving, without TensorFlow."""

from fieldwave.wire.tensors import from_tensor_proto, to_tensor_proto

__all__ = ["from_tensor_proto", "to_tensor_proto"]
