"""TensorFlow's checkpoints, of slim and others, and the variables of a SavedModel; read by TensorFlow itself.

Version 1 is one file (``resnet_v1_50.ckpt``); version 2 is ``NAME.index`` with ``NAME.data-00000-of-00001``, and
its name is ``NAME``. TensorFlow 2 saves objects: there a variable's own name stands in a graph of them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from fieldwave.errors import MissingExtraError, WeightsError
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile

__all__ = ["find_checkpoint", "read_checkpoint", "read_savedmodel"]

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def find_checkpoint(path: Path) -> Path | None:
    """The checkpoint that ``path`` means: a name, one of its files, or a folder that holds one; or None."""
    name = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name)
    prefix = path.with_name(name)
    if path.is_dir():
        found = sorted(file.with_suffix("") for file in path.glob("*.index")) or sorted(path.glob("*.ckpt"))
        return found[-1] if len(found) == 1 else None
    return prefix if prefix.with_name(f"{name}.index").is_file() else None


def read_checkpoint(prefix: Path) -> TensorFile:
    """The variables of a checkpoint of either version, by their names in the graph.

    Raises:
        WeightsError: it is damaged, or no checkpoint.
        MissingExtraError: TensorFlow is not installed.
    """
    return TensorFile(prefix, "tensorflow", _variables(prefix, prefix.name), {})


def read_savedmodel(folder: Path) -> TensorFile:
    """The variables of a SavedModel's folder, by their names in the graph.

    Raises:
        WeightsError: it has none, or they are damaged.
        MissingExtraError: TensorFlow is not installed.
    """
    prefix = folder / "variables" / "variables"
    if not prefix.with_name("variables.index").is_file():
        raise WeightsError(f"{folder} holds no variables/variables.index: it is a frozen graph, or not whole")
    return TensorFile(folder, "savedmodel", _variables(prefix, folder.name), {})


def _variables(prefix: Path, origin: str) -> dict[str, StoredTensor]:
    tensorflow = _tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = _names(reader) if _OBJECT_GRAPH in shapes else {}
    except (ValueError, RuntimeError, LookupError, tensorflow.errors.OpError) as error:
        raise WeightsError(f"{prefix} is damaged, or no checkpoint of TensorFlow: get it again") from error

    def stored(key: str) -> StoredTensor:
        def load() -> Any:
            try:
                return reader.get_tensor(key)
            except (ValueError, RuntimeError, LookupError, tensorflow.errors.OpError) as error:
                raise WeightsError(f"{origin} is damaged: {key!r} cannot be read; get it again") from error

        return StoredTensor(tuple(shapes[key]), dtypes[key].name, load)

    return {names.get(key, key): stored(key) for key in sorted(shapes) if key != _OBJECT_GRAPH}


def _names(reader: Any) -> dict[str, str]:
    """Each key's variable, of those that have a name: ``conv1_conv/kernel`` for ``.../VARIABLE_VALUE``."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    return {
        attribute.checkpoint_key: attribute.full_name
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.full_name
    }


def _tensorflow() -> Any:
    # Nothing of its own on the user's screen.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow
    except ImportError as error:
        raise MissingExtraError("reading TensorFlow's checkpoints", "tensorflow") from error
    return tensorflow
