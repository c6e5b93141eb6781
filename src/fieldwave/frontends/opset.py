"""Any version of ONNX's operator set, as the one that the project works in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fieldwave.errors import ModelError
from fieldwave.graph import OPSET

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["at_our_opset"]

OLDEST = 7
"""Before it, broadcasting had other rules."""


def at_our_opset(model: ModelProto) -> ModelProto:
    """The same network in opset 17, as far as it can be said there.

    Older models are converted by ``onnx.version_converter``. Newer ones are rewritten operator by operator, where
    the operator changed at all: an axis list that became an input is made an attribute again, an attribute that
    holds its default is dropped.

    Raises:
        ModelError: the model's opset is older than 7, or an operator cannot be said in opset 17.
    """
    import onnx
    from onnx import version_converter

    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if opset == OPSET:
        return model
    if opset < OLDEST:
        raise ModelError(f"unsupported opset {opset}: export the model again with opset {OPSET}")
    if opset > OPSET:
        return _older(model, opset)
    try:
        converted = version_converter.convert_version(model, OPSET)
    # What the converter raises has no common base but Exception.
    except Exception as error:
        line = " ".join(str(error).split())
        raise ModelError(
            f"unsupported opset {opset}: {line}; export the model again with opset {OPSET}"
        ) from error
    assert isinstance(converted, onnx.ModelProto)
    return converted


def _older(model: ModelProto, opset: int) -> ModelProto:
    import onnx
    from onnx import numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for index, node in enumerate(result.graph.node):
        if node.domain not in ("", "ai.onnx"):
            continue
        name = node.name or f"{node.op_type}_{index}"
        if not onnx.defs.has(node.op_type) or onnx.defs.get_schema(node.op_type, opset).since_version <= OPSET:
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, OPSET)
        except onnx.defs.SchemaError:
            raise _unsupported(opset, name, node, "does not exist") from None
        if "axes" in schema.attributes and len(node.input) == 2 and node.op_type.startswith("Reduce"):
            if node.input[1] and node.input[1] not in constants:
                raise _unsupported(opset, name, node, "cannot compute its axes")
            if node.input[1]:
                axes = numpy_helper.to_array(constants[node.input[1]])
                node.attribute.append(onnx.helper.make_attribute("axes", np.ravel(axes).tolist()))
            del node.input[1]
        if node.op_type == "Split" and len(node.input) == 1:
            _drop(node, "num_outputs")  # equal parts are the default
        newer = onnx.defs.get_schema(node.op_type, opset)
        for attribute in [item for item in node.attribute if item.name not in schema.attributes]:
            default = newer.attributes[attribute.name].default_value
            if onnx.helper.get_attribute_value(attribute) != onnx.helper.get_attribute_value(default):
                raise _unsupported(opset, name, node, f"has no attribute {attribute.name!r}")
            _drop(node, attribute.name)
        if len(node.input) > schema.max_input:
            raise _unsupported(opset, name, node, f"takes {schema.max_input} inputs")
    for entry in result.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSET
    return result


def _drop(node: NodeProto, attribute: str) -> None:
    for item in [item for item in node.attribute if item.name == attribute]:
        node.attribute.remove(item)


def _unsupported(opset: int, name: str, node: NodeProto, why: str) -> ModelError:
    return ModelError(
        f"unsupported opset {opset}: node {name!r} ({node.op_type}) {why} in opset {OPSET}; "
        f"export the model again with opset {OPSET}"
    )
