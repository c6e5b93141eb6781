"""A TensorFlow network as ONNX, by tf2onnx."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, ModelError
from fieldwave.graph import OPSET

__all__ = ["to_onnx"]

_LARGE = 1 << 14
"""Values from which on a tensor of weights does not go through the converter."""

_SETTING = "TF2ONNX_CATCH_ERRORS"
"""Where it is set, tf2onnx stops at an optimiser that fails, and keeps no copies."""

Weights = Mapping[str, NDArray[Any]]


def to_onnx(tf: Any, graph_def: Any, placeholder: str, outputs: Sequence[str], source: str) -> Any:
    """The network, with the name ``source`` for its placeholder.

    tf2onnx copies every constant with every step, a dozen times and more. So large weights go around it: it sees
    inputs in their place, which become constants again afterwards. Where it needs their values, it gets them.

    Args:
        graph_def: of TensorFlow; one placeholder. It is changed.

    Raises:
        ModelError: there is a second placeholder, or a node that tf2onnx cannot take; the message names it.
        MissingExtraError: tf2onnx is not installed.
    """
    try:
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("converting TensorFlow models", "tensorflow") from error
    left = [node for node in graph_def.node if node.op == "Placeholder" and f"{node.name}:0" != placeholder]
    if left:
        raise ModelError(f"node {left[0].name!r} (Placeholder) is a second input; one image input is supported")
    weights = _taken_out(tf, graph_def)
    for careful in (False, True):
        with contextlib.suppress(Exception):  # tf2onnx raises whatever the handler of a node runs into
            model = _converted(graph_def, placeholder, outputs, list(weights), careful)
            return _named(_with_weights(model, weights), placeholder, source)
    _put_back(tf, graph_def, weights)
    try:
        return _named(_converted(graph_def, placeholder, outputs, [], True), placeholder, source)
    except Exception as error:
        raise ModelError(_refusal(error, graph_def.node)) from error


def _converted(graph_def: Any, placeholder: str, outputs: Sequence[str], weights: list[str], careful: bool) -> Any:
    """By tf2onnx; ``careful`` keeps a copy of the graph before each of its optimisers, and goes on without one
    that fails."""
    import tf2onnx

    before = os.environ.pop(_SETTING, None)
    if not careful:
        os.environ[_SETTING] = "FALSE"
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            graph_def, input_names=[placeholder, *weights], output_names=list(outputs), opset=OPSET
        )
    finally:
        os.environ.pop(_SETTING, None)
        if before is not None:
            os.environ[_SETTING] = before
    return model


def _taken_out(tf: Any, graph_def: Any) -> dict[str, NDArray[Any]]:
    """Turn the large constants into placeholders; their values by tensor."""
    weights = {}
    for node in graph_def.node:
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        shape = node.attr["value"].tensor.tensor_shape
        if np.prod([dim.size for dim in shape.dim], dtype=np.int64) >= _LARGE:
            weights[f"{node.name}:0"] = tf.make_ndarray(node.attr["value"].tensor)
            known = tf.TensorShape(shape).as_proto()
            node.op = "Placeholder"
            node.ClearField("attr")
            node.attr["dtype"].type = tf.float32.as_datatype_enum
            node.attr["shape"].shape.CopyFrom(known)
    return weights


def _put_back(tf: Any, graph_def: Any, weights: Weights) -> None:
    for node in graph_def.node:
        if f"{node.name}:0" in weights:
            node.op = "Const"
            node.ClearField("attr")
            node.attr["dtype"].type = tf.float32.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[f"{node.name}:0"]))


def _with_weights(model: Any, weights: Weights) -> Any:
    from onnx import numpy_helper

    for info in [info for info in model.graph.input if info.name in weights]:
        model.graph.input.remove(info)
        model.graph.initializer.append(numpy_helper.from_array(weights[info.name], info.name))
    return model


def _named(model: Any, placeholder: str, source: str) -> Any:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == placeholder:
                node.input[index] = source
    for info in model.graph.input:
        if info.name == placeholder:
            info.name = source
    return model


def _refusal(error: Exception, nodes: Sequence[Any]) -> str:
    """What tf2onnx said, led by the node that it said it of."""
    line = " ".join(str(error).split())[:300]
    named = next((node for node in nodes if node.name and node.name in line), None)
    if named is None:
        named = next((node for node in nodes if node.op in line), None)
    which = f"node {named.name!r} ({named.op})" if named is not None else "the graph"
    return f"{which} cannot be converted to ONNX: {line}"
