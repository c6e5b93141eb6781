"""A network as plain data: what the quantizer rewrites, the golden model runs and the compiler lowers.

ONNX is the file format; in memory a graph is a list of frozen nodes in topological order and a dictionary of
constants, so that a pass is a plain function from graph to graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["Graph", "Node", "Value", "from_onnx", "to_onnx"]

OPSET = 17
"""Version of the default operator set that is written: the newest that ONNX Runtime 1.20 and its heirs all run."""
IR_VERSION = 8
CONTRIB_DOMAIN = "com.microsoft"
"""Operator set of ONNX Runtime's quantized operators (QLinearAdd, QGemm, ...)."""


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        op: operator type, for example ``Conv``.
        name: unique in its graph.
        inputs: tensor names; an empty one is an optional input that is left out.
        outputs: tensor names.
        attributes: Python values (int, float, str, lists of them).
        domain: operator set, empty for ONNX's own.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""

    @property
    def output(self) -> str:
        """The first output, for the many operators that have one."""
        return self.outputs[0]

    def ints(self, attribute: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list attribute as integers."""
        return tuple(int(value) for value in self.attributes.get(attribute, default))


@dataclass(frozen=True)
class Value:
    """An input or output of a graph: name, element type, shape (None where it is symbolic)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, their constants, and what goes in and out."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]

    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {output: node for node in self.nodes for output in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers.setdefault(name, []).append(node)
        return readers

    def activations(self) -> Iterator[str]:
        """Every tensor that is computed or handed in, in order."""
        yield from (value.name for value in self.inputs)
        for node in self.nodes:
            yield from (name for name in node.outputs if name)

    def with_nodes(self, nodes: list[Node], constants: Mapping[str, NDArray[Any]]) -> Graph:
        """The same inputs and outputs over other nodes; constants that nothing reads any more are dropped."""
        used = {name for node in nodes for name in node.inputs} | {value.name for value in self.outputs}
        kept = {name: value for name, value in constants.items() if name in used}
        return replace(self, nodes=tuple(nodes), constants=kept)


def from_onnx(model: ModelProto | bytes) -> Graph:
    """Read an ONNX model.

    Raises:
        ModelError: the bytes are no ONNX model, or it holds sub-graphs or tensors that live in other files.
        MissingExtraError: the ``onnx`` package is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("reading ONNX models", "convert") from error
    if isinstance(model, bytes):
        if not model:
            raise ModelError("not an ONNX model: there are no bytes")
        try:
            model = onnx.load_model_from_string(model)
        except Exception as error:
            raise ModelError(f"not an ONNX model: {error}") from error
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(f"tensor {tensor.name!r} lives in another file; save the model with all its weights")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for index, proto in enumerate(graph.node):
        name = proto.name or f"{proto.op_type}_{index}"
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in proto.attribute}
        if any(isinstance(value, onnx.GraphProto) for value in attributes.values()):
            raise ModelError(
                f"node {name!r} ({proto.op_type}) holds a sub-graph; export the model without control flow"
            )
        if proto.op_type == "Constant" and "value" in attributes:
            constants[proto.output[0]] = numpy_helper.to_array(attributes["value"])
            continue
        attributes = {key: _plain(value) for key, value in attributes.items()}
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        nodes.append(Node(proto.op_type, name, tuple(proto.input), tuple(proto.output), attributes, domain))
    return Graph(
        name=graph.name,
        inputs=tuple(_value(info) for info in graph.input if info.name not in constants),
        outputs=tuple(_value(info) for info in graph.output),
        nodes=tuple(nodes),
        constants=constants,
    )


def to_onnx(graph: Graph) -> ModelProto:
    """Write a graph as an ONNX model; equal graphs give equal bytes.

    Raises:
        MissingExtraError: the ``onnx`` package is not installed.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise MissingExtraError("writing ONNX models", "convert") from error

    def info(value: Value) -> ValueInfoProto:
        shape = ["N" if size is None else size for size in value.shape]
        return helper.make_tensor_value_info(
            value.name, helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype)), shape
        )

    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    node.op,
                    list(node.inputs),
                    list(node.outputs),
                    name=node.name,
                    domain=node.domain,
                    **dict(sorted(node.attributes.items())),
                )
                for node in graph.nodes
            ],
            graph.name,
            [info(value) for value in graph.inputs],
            [info(value) for value in graph.outputs],
            [
                numpy_helper.from_array(np.asarray(value, order="C"), name)
                for name, value in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB_DOMAIN, 1)],
        ir_version=IR_VERSION,
        producer_name="fieldwave",
    )
    assert isinstance(model, onnx.ModelProto)
    return model


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, (list, tuple)) else value


def _value(info: ValueInfoProto) -> Value:
    from onnx import helper

    tensor = info.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return Value(info.name, dtype, tuple(dim.dim_value or None for dim in tensor.shape.dim))
