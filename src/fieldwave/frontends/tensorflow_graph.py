"""A TensorFlow model as one graph without variables: from a SavedModel of either generation, or a frozen graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldwave.errors import ModelError, StorageError
from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow
from fieldwave.frontends.twins import there

__all__ = ["Frozen", "read_frozen_graph", "read_saved_model"]


@dataclass(frozen=True)
class Frozen:
    """A graph whose variables are constants.

    Attributes:
        graph_def: TensorFlow's GraphDef.
        inputs, outputs: name of the tensor, by the signature's name for it; the tensor's name twice where there
            is no signature.
    """

    graph_def: Any
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def read_saved_model(path: Path, input: str | None, outputs: tuple[str, ...]) -> Frozen:
    """Freeze the signature of a SavedModel that has the tensors that are asked for.

    Loading runs the model's own restore and table initialisers in TensorFlow, as every program does that loads
    it: TensorFlow's advice to load models of people you trust holds here too.

    Raises:
        ModelError: the folder is damaged, or has no such signature.
        MissingExtraError: TensorFlow is not installed.
    """
    with quiet_tensorflow() as tf:
        try:
            from tensorflow.python.saved_model import loader_impl

            meta = loader_impl.parse_saved_model(str(path)).meta_graphs
        # TensorFlow's errors have no common base but Exception, here and below.
        except Exception as error:
            raise ModelError(f"{path} is no SavedModel that can be read: {_one_line(error)}") from error
        graph = next((one for one in meta if "serve" in one.meta_info_def.tags), meta[0])
        try:
            if graph.HasField("object_graph_def"):
                return _from_objects(tf, path, outputs)
            return _from_session(tf, path, graph, input, outputs)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{path} cannot be loaded: {_one_line(error)}") from error


def read_frozen_graph(path: Path, input: str | None, outputs: tuple[str, ...]) -> Frozen:
    """Read a frozen GraphDef: its placeholders and its last nodes are inputs and outputs, where none are named.

    Raises:
        ModelError: the file is no GraphDef, or holds variables.
        StorageError: the file cannot be read.
        MissingExtraError: TensorFlow is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    with quiet_tensorflow() as tf:
        graph_def = tf.compat.v1.GraphDef()
        try:
            graph_def.ParseFromString(data)
            with tf.Graph().as_default():
                tf.import_graph_def(graph_def, name="")
        except Exception as error:
            raise ModelError(f"{path} is no frozen graph: {_one_line(error)}") from error
    for node in graph_def.node:
        if node.op in ("VariableV2", "VarHandleOp", "Variable"):
            raise ModelError(f"{path}: node {node.name!r} ({node.op}) is a variable; freeze the graph first")
    read = {name.split(":")[0].lstrip("^") for node in graph_def.node for name in node.input}
    inputs = [f"{node.name}:0" for node in graph_def.node if node.op == "Placeholder"]
    ends = [f"{node.name}:0" for node in graph_def.node if node.name not in read and node.op not in _SILENT]
    found = [name if ":" in name else f"{name}:0" for name in outputs] or ends
    return Frozen(graph_def, dict(zip(inputs, inputs, strict=True)), dict(zip(found, found, strict=True)))


_SILENT = {"NoOp", "Assert", "Const", "Placeholder", "SaveV2", "RestoreV2"}


def _from_session(tf: Any, path: Path, meta: Any, input: str | None, outputs: tuple[str, ...]) -> Frozen:
    """TensorFlow 1: a graph, a signature of tensor names, variables restored into a session."""
    signature = _signature(dict(meta.signature_def), path, outputs)
    inputs = {key: info.name for key, info in sorted(signature.inputs.items())}
    found = {key: info.name for key, info in sorted(signature.outputs.items())}
    nodes = {node.name for node in meta.graph_def.node}
    found = _named(found, tuple(there(name, nodes) for name in outputs))
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.saved_model.load(session, list(meta.meta_info_def.tags), str(path))
        ends = [name.split(":")[0] for name in found.values()]
        if input:
            ends.append(input.split(":")[0])
        graph_def = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ends)
    return Frozen(graph_def, inputs, found)


def _from_objects(tf: Any, path: Path, outputs: tuple[str, ...]) -> Frozen:
    """TensorFlow 2 and Keras: functions over variables."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(path))
    if not loaded.signatures:
        raise ModelError(f"{path} has no signature; export it with one (model.export in Keras)")
    names = sorted(loaded.signatures)
    name = "serving_default" if "serving_default" in names else names[0]
    function = loaded.signatures[name]
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    keys = sorted(function.structured_outputs)
    ends = {key: tensor.name for key, tensor in zip(keys, frozen.outputs, strict=True)}
    inputs = {tensor.name.split(":")[0]: tensor.name for tensor in frozen.inputs}
    return Frozen(frozen.graph.as_graph_def(), inputs, _named(ends, outputs))


def _signature(signatures: Mapping[str, Any], path: Path, outputs: tuple[str, ...]) -> Any:
    signatures = {key: value for key, value in signatures.items() if value.inputs and value.outputs}
    if "serving_default" in signatures:
        return signatures["serving_default"]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    if not signatures:
        raise ModelError(f"{path} has no signature; save it with inputs and outputs (simple_save)")
    names = ", ".join(sorted(signatures))
    raise ModelError(f"{path} has several signatures ({names}) and none is called serving_default; keep one")


def _named(found: Mapping[str, str], wanted: tuple[str, ...]) -> dict[str, str]:
    """The outputs that are asked for, each by its name in the signature, or by its tensor's."""
    if not wanted:
        return dict(found)
    keys = {tensor: key for key, tensor in found.items()}
    chosen = {}
    for name in wanted:
        tensor = found.get(name, name if ":" in name else f"{name}:0")
        chosen[keys.get(tensor, tensor)] = tensor
    return chosen


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
