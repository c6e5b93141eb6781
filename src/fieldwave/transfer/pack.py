"""A featurizer and a head as one package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.conversion import compile_programs
from fieldwave.errors import CalibrationError, ModelError
from fieldwave.graph import Graph, Node, Value, to_onnx
from fieldwave.package import Package, TensorSpec, write_package
from fieldwave.quantize import emit, prepare, quantized_name
from fieldwave.quantize.calibrate import Scale
from fieldwave.transfer.featurizer import FEATURES, Featurizer, scale_names
from fieldwave.transfer.heads import Head, head_of

__all__ = ["head_graph", "pack"]

_LOGITS, _PROBABILITIES = "classifier_output/BiasAdd:0", "classifier_output/Softmax:0"


def pack(
    featurizer: Featurizer,
    head: Any,
    *,
    output: str | os.PathLike[str],
    labels: Sequence[str] | Mapping[Any, str] | None = None,
    calibration: NDArray[np.float32] | None = None,
    npu: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Package:
    """Write one package of a featurizer and a head that was trained on its features.

    The head stays in float32 and runs on the host, as it was trained: for a service this is a few microseconds.
    With calibration features it becomes int8 too: then all but the Softmax runs on the NPU, and the bytes before
    the Softmax are the same on every machine; its probabilities are coarser.

    Args:
        head: what `fieldwave.transfer.heads.head_of` reads: a linear classifier of scikit-learn, alone or in a
            Pipeline, or a torch Linear or Sequential.
        output: the package's file.
        labels: a name for each class of the head: by the class itself (a mapping), or by its number. Where nothing
            is given, the classes' own names. They stand in the package in the order of the head's outputs.
        calibration: features [n, size] of images like those to come, to make the head int8.
        npu: names of NPU configurations to compile programs for.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Returns:
        The package. Its output is called ``classifier_output/Softmax:0`` (probabilities), or
        ``classifier_output/BiasAdd:0`` where the head has none (LinearSVC); ``output_alias`` means either.

    Raises:
        ModelError: the head is of another kind, or reads another number of features; a class has no label.
        CalibrationError: the calibration features are of another number.
        StorageError: the file cannot be written.
    """
    read = head_of(head, featurizer.size)
    names = _labels(read, labels)
    if calibration is None:
        graph = _joined(featurizer.graph, head_graph(read))
    else:
        graph = _int8_joined(featurizer, read, calibration)
    programs, _ = compile_programs(graph, npu, progress)
    name = _PROBABILITIES if read.probabilities else _LOGITS
    return write_package(
        output,
        network=featurizer.name,
        model=to_onnx(graph).SerializeToString(deterministic=True),
        inputs=[featurizer.input_spec()],
        outputs=[TensorSpec(name=name, aliases=("output_alias",), shape=(None, read.size))],
        preprocessing=featurizer.preprocessing,
        labels=names,
        programs=programs,
        extra=featurizer.report_file(),
    )


def _labels(head: Head, labels: Sequence[str] | Mapping[Any, str] | None) -> tuple[str, ...]:
    classes = head.classes or tuple(range(head.size))
    if labels is None:
        return tuple(str(name) for name in head.classes)
    found = []
    for one in classes:
        try:
            found.append(labels[one])
        except (KeyError, IndexError, TypeError):
            raise ModelError(f"class {one!r} of the head has no label; give one for each class") from None
    return tuple(found)


def head_graph(head: Head) -> Graph:
    """The head as a float network over `FEATURES`."""
    nodes: list[Node] = []
    constants: dict[str, NDArray[np.float32]] = {}
    x = FEATURES
    for index, layer in enumerate(head.layers, start=1):
        last = index == len(head.layers)
        names = f"classifier_output/weights_{index}", f"classifier_output/biases_{index}"
        constants[names[0]], constants[names[1]] = (
            value.astype(np.float32) for value in (layer.weights, layer.bias)
        )
        made = _LOGITS if last and not layer.relu else f"classifier_output/dense_{index}"
        nodes.append(Node("Gemm", made, (x, *names), (made,)))
        x = made
        if layer.relu:
            x = _LOGITS if last else f"classifier_output/relu_{index}"
            nodes.append(Node("Relu", x, (made,), (x,)))
    if head.probabilities:
        nodes.append(Node("Softmax", _PROBABILITIES, (x,), (_PROBABILITIES,), {"axis": 1}))
    features = Value(FEATURES, "float32", (None, head.layers[0].weights.shape[0]))
    scores = Value(nodes[-1].output, "float32", (None, head.size))
    return Graph("head", (features,), (scores,), tuple(nodes), constants)


def _int8_joined(featurizer: Featurizer, head: Head, calibration: NDArray[np.float32]) -> Graph:
    """The head in int8, reading the very bytes that the featurizer makes."""
    if calibration.ndim != 2 or calibration.shape[1] != featurizer.size or not len(calibration):
        raise CalibrationError(
            f"the calibration features have shape {calibration.shape}, expected [n, {featurizer.size}]"
        )
    prepared = prepare(head_graph(head), list(calibration[:, np.newaxis].astype(np.float32)))
    matrix = quantized_name(FEATURES)
    step, zero = (featurizer.graph.constants[name] for name in scale_names(featurizer.graph, matrix))
    own = Scale(round(float(np.log2(step))), int(zero))
    graph = emit(prepared.graph, prepared.plan, {**prepared.scales, FEATURES: own})
    return _joined(
        featurizer.graph, replace(graph, nodes=tuple(node for node in graph.nodes if node.output != matrix))
    )


def _joined(body: Graph, head: Graph) -> Graph:
    """One graph after the other; what nobody reads any more is dropped."""
    from fieldwave.quantize.canonical import without_idle

    whole = replace(
        body,
        outputs=head.outputs,
        nodes=(*body.nodes, *head.nodes),
        constants={**body.constants, **head.constants},
    )
    return without_idle(whole)
