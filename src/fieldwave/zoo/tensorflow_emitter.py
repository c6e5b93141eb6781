"""A network as a TensorFlow graph: TensorFlow 1's ``compat.v1`` API in today's TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, ModelError
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights import check_weights

if TYPE_CHECKING:
    from fieldwave.quantize.calibrate import Scale

__all__ = ["Part", "TensorFlowNetwork", "to_tensorflow"]

Array = NDArray[np.float32]
Part = Literal["network", "featurizer", "classifier"]


@dataclass(frozen=True)
class TensorFlowNetwork:
    """A network, or a part of it, in a TensorFlow graph.

    Attributes:
        network: its description.
        graph: the ``tf.Graph`` that holds it.
        source: the tensor that goes in: images [batch, height, width, channels] as ``network.preprocessing``
            makes them, or for a classifier the features.
        features: the tensor at which the featurizer ends; None for a detector.
        outputs: the network's outputs in their order; those of a featurizer are its features, or a detector's
            outputs.
        is_training: the placeholder ``is_training:0``, or None in a graph that only infers.
        variables: the variables by name, which are the names of the weights.
    """

    network: Network
    graph: Any
    source: Any
    features: Any
    outputs: tuple[Any, ...]
    is_training: Any
    variables: Mapping[str, Any]
    initial: Mapping[str, Array]

    def restore(self, session: Any) -> None:
        """Set the variables in a ``tf.compat.v1.Session`` to the weights with which the graph was made.

        The graph itself holds no weights, so that it stays small; ``tf.compat.v1.train.Saver`` restores those of
        a checkpoint as usual.
        """
        setters = {name: variable.initializer for name, variable in self.variables.items()}
        feed = {setter.inputs[1]: self.initial[name] for name, setter in setters.items()}
        session.run(list(setters.values()), feed)

    def weights(self, session: Any) -> dict[str, Array]:
        """The variables' values in a session, by name, in the network's order."""
        return dict(zip(self.variables, session.run(list(self.variables.values())), strict=True))


def to_tensorflow(
    network: Network,
    weights: Mapping[str, Array],
    *,
    source: Any = None,
    part: Part = "network",
    is_training: bool | None = None,
    frozen: bool = False,
    scales: Mapping[str, Scale] | None = None,
) -> TensorFlowNetwork:
    """Build the network out of TensorFlow's operators; every tensor and variable has the network's name for it.

    Args:
        network: what to build.
        weights: all of its weights; :meth:`TensorFlowNetwork.restore` puts them into a session.
        source: the tensor to build upon, in whose graph the network is built; a placeholder in a new graph where
            None.
        part: the ``featurizer`` or the ``classifier`` alone; a classifier's source are the features.
        is_training: makes the placeholder ``is_training:0`` with this default: where it is true, batch-norm takes
            the statistics of the batch, and the collection UPDATE_OPS holds what moves the averages. None makes
            a graph that only infers.
        frozen: keep the variables out of TRAINABLE_VARIABLES.
        scales: of the quantized tensors, by name: fake-quantizes them, and all weights for each output channel.

    Raises:
        ModelError: a detector has no classifier.
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
        MissingExtraError: TensorFlow is not installed.
    """
    check_weights(network, weights)
    layers = {"network": network.layers, "featurizer": network.featurizer, "classifier": network.classifier}[part]
    if not layers:
        raise ModelError(f"network {network.name!r} has no classifier: its outputs are the featurizer's own")
    begin = network.features if part == "classifier" else network.input.name
    if part == "featurizer" and network.features:
        ends = [network.features]
    else:
        ends = [output.name for output in network.outputs]
    tf = _tensorflow()
    from fieldwave.zoo.tensorflow_graph import Builder

    graph = tf.Graph() if source is None else source.graph
    with graph.as_default(), graph.name_scope(None):
        if source is None:
            source = tf.compat.v1.placeholder(tf.float32, (None, *network.shapes[begin]), begin.removesuffix(":0"))
        builder = Builder(network, {begin: source}, is_training, not frozen, scales)
        for layer in layers:
            builder.add(layer)
    return TensorFlowNetwork(
        network=network,
        graph=graph,
        source=source,
        features=builder.tensors[network.features] if network.features else None,
        outputs=tuple(builder.tensors[name] for name in ends),
        is_training=builder.is_training,
        variables=builder.variables,
        initial={name: weights[name] for name in builder.variables},
    )


def _tensorflow() -> Any:
    # Nothing of its own on the user's screen; oneDNN's operators announce themselves, and sum in another order.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow
    except ImportError as error:
        raise MissingExtraError("making a TensorFlow graph", "tensorflow") from error
    return tensorflow
