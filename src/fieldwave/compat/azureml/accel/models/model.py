"""A network of the zoo in a TensorFlow-1 graph, with the methods that the retired package's models have."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fieldwave.compat.azureml.explanation import explain
from fieldwave.zoo import Network, TensorFlowNetwork, load, network, to_tensorflow
from fieldwave.zoo.weights import cached, published, published_names

__all__ = ["AccelModel", "DoesNotExistError", "Family"]

_INPUT = "InputImage:0"
_FEATURES = "brainwave_target_node_1_Version_0.1"
_RANDOM = "random:0"
_PUBLISHER = "TensorFlow-slim"


class DoesNotExistError(ValueError):
    """The model has no such part."""


@dataclass(frozen=True)
class Family:
    """A network of the zoo, and what scripts know it by.

    Attributes:
        zoo_name: its name in the zoo.
        model_ref: its name in file names.
        classifier_input, classifier_output: tensors in the default classifier; empty for a detector.
    """

    zoo_name: str
    model_ref: str
    classifier_input: str = ""
    classifier_output: str = ""


class AccelModel:
    """One of the ten networks.

    Parameters:
        model_base_path: folder in which checkpoints are looked for, as the retired package left them there:
            ``<base>/<name>/<version>``. Nothing is downloaded into it.
        is_frozen: keep the featurizer out of training.
        custom_weights_directory: folder with a checkpoint of your own.
    """

    _family: ClassVar[Family]
    _modelname: ClassVar[str]
    version: ClassVar[str]

    def __init__(
        self,
        model_base_path: str | os.PathLike[str],
        is_frozen: bool = False,
        custom_weights_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        explain(
            f"{type(self).__name__}(path)",
            f'network, weights = fieldwave.zoo.load("{self._family.zoo_name}", WEIGHTS)',
        )
        self.model_base_path = os.path.expanduser(model_base_path)
        self.is_frozen = is_frozen
        self.custom_weights_directory = custom_weights_directory
        self._built: TensorFlowNetwork | None = None
        self._loaded: tuple[Network, Mapping[str, NDArray[np.float32]]] | None = None

    @property
    def model_ref(self) -> str:
        """Its name in file names."""
        return self._family.model_ref

    @property
    def model_version(self) -> str:
        """The same as ``version``."""
        return self.version

    @property
    def model_path(self) -> str:
        """The folder in which its checkpoint is looked for."""
        return os.path.join(self.model_base_path, self._modelname, self.version)

    @property
    def input_tensor_list(self) -> list[str]:
        """Names of the inputs of a graph that was imported without a tensor to build upon."""
        return [_INPUT]

    @property
    def output_tensor_list(self) -> list[str]:
        """Names of the featurizer's outputs."""
        described = network(self._family.zoo_name)
        return [f"{_FEATURES}:0"] if described.features else [output.name for output in described.outputs]

    @property
    def classifier_input(self) -> str:
        """The tensor at which the default classifier begins."""
        return self._family.classifier_input

    @property
    def classifier_output(self) -> str:
        """The default classifier's output, without the prefix under which it is imported."""
        return self._family.classifier_output

    def get_input_dims(self, index: int = 0) -> list[int | None]:
        """Shape of an input, the batch first."""
        self._check(index, 1)
        return [None, *network(self._family.zoo_name).input.shape]

    def get_output_dims(self, index: int = 0) -> list[int | None]:
        """Shape of an output of the featurizer, the batch first."""
        described = network(self._family.zoo_name)
        self._check(index, len(self.output_tensor_list))
        tensor = described.features or described.outputs[index].name
        return [None, *described.shapes[tensor]]

    def import_graph_def(self, input_tensor: Any = None, is_training: bool = True) -> Any:
        """Build the featurizer in the default graph.

        Args:
            input_tensor: images [?, height, width, 3]; a placeholder ``InputImage:0`` where None.
            is_training: default of the placeholder ``is_training:0``, on which batch normalisation depends.

        Returns:
            The features [?, 1, 1, channels], or a list of a detector's twelve outputs.
        """
        import tensorflow.compat.v1 as tf

        explain(
            "model.import_graph_def(images)",
            'fieldwave.zoo.to_tensorflow(network, weights, source=images, part="featurizer", is_training=True)',
        )
        described, weights = self._weights()
        if input_tensor is None:
            input_tensor = tf.placeholder(tf.float32, [None, *described.input.shape], _INPUT.removesuffix(":0"))
        built = to_tensorflow(
            described,
            weights,
            source=input_tensor,
            part="featurizer",
            is_training=is_training,
            frozen=self.is_frozen,
        )
        self._built = built
        if not described.features:
            return list(built.outputs)
        with built.graph.as_default(), built.graph.name_scope(None):
            return tf.identity(built.outputs[0], _FEATURES)

    def restore_weights(self, session: Any) -> None:
        """Set the featurizer's variables: from the newest checkpoint in ``custom_weights_directory`` or
        ``model_path``, else to the zoo's weights.
        """
        import tensorflow.compat.v1 as tf

        explain("model.restore_weights(session)", "built.restore(session)")
        built = self._imported("restore_weights")
        checkpoint = tf.train.latest_checkpoint(self.custom_weights_directory or self.model_path)
        if checkpoint is not None:
            tf.train.Saver(dict(built.variables)).restore(session, checkpoint)
        elif self.custom_weights_directory is not None:
            raise ValueError(f"there is no checkpoint in {self.custom_weights_directory}")
        else:
            built.restore(session)

    def save_weights(self, path: str | os.PathLike[str], session: Any = None) -> str:
        """Write the featurizer's variables as a checkpoint without a graph; returns its path."""
        import tensorflow.compat.v1 as tf

        explain("model.save_weights(path)", "fieldwave.zoo.save_weights(PATH, network, built.weights(session))")
        built = self._imported("save_weights")
        target = Path(path).expanduser()
        target.parent.mkdir(parents=True, exist_ok=True)
        saver = tf.train.Saver(dict(built.variables))
        return str(saver.save(session or tf.get_default_session(), str(target), write_meta_graph=False))

    def get_default_classifier(self, input_tensor: Any, prefix: str = "classifier") -> Any:
        """The ImageNet head on features, frozen, under ``prefix/`` in the default graph; its output.

        Raises:
            DoesNotExistError: a detector has none.
        """
        explain(
            "model.get_default_classifier(features)",
            'fieldwave.zoo.to_tensorflow(network, weights, source=features, part="classifier", frozen=True)',
        )
        if not self._family.classifier_output:
            raise DoesNotExistError(f"{type(self).__name__} has no default classifier: it finds objects")
        import tensorflow.compat.v1 as tf

        described, weights = self._weights()
        head = to_tensorflow(described, weights, part="classifier")
        with tf.Session(graph=head.graph) as session:
            head.restore(session)
            output = head.outputs[0].op.name
            frozen = tf.graph_util.convert_variables_to_constants(session, head.graph.as_graph_def(), [output])
        # In the zoo the head has the prefix already, under which it is put here.
        for node in frozen.node:
            node.name = node.name.removeprefix("classifier/")
            node.input[:] = [name.removeprefix("classifier/") for name in node.input]
        wanted = output.removeprefix("classifier/")
        (result,) = tf.import_graph_def(frozen, {head.source.op.name: input_tensor}, [f"{wanted}:0"], name=prefix)
        return result

    def _imported(self, method: str) -> TensorFlowNetwork:
        if self._built is None:
            raise ValueError(f"call import_graph_def before {method}")
        return self._built

    def _weights(self) -> tuple[Network, Mapping[str, NDArray[np.float32]]]:
        if self._loaded is None:
            self._loaded = load(self._family.zoo_name, self._source())
        return self._loaded

    def _source(self) -> str:
        """The pulled weights of this network, else random ones, which is said."""
        name = self._family.zoo_name
        sets = [published(each) for each in published_names()]
        fitting = [each.name for each in sets if (each.network, each.publisher) == (name, _PUBLISHER)]
        for each in fitting:
            if cached(each) is not None:
                return each
        way = f": fieldwave weights pull {fitting[0]}" if fitting else ""
        print(f"fieldwave: no weights of {name} are here, random ones are taken{way}", file=sys.stderr)
        return _RANDOM

    def _check(self, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise IndexError(f"{type(self).__name__} has {count}, counted from 0; there is none of index {index}")
