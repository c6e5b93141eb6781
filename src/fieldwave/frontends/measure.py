"""What a network's tensors are, found by running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import DeviceError, ModelError
from fieldwave.frontends.prune import live
from fieldwave.graph import Graph, Value, to_onnx

__all__ = ["run", "shapes"]

Shape = tuple[int | None, ...]


def run(graph: Graph, image: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The named tensors for one input.

    Raises:
        ModelError: the network cannot be run; the message is ONNX Runtime's and names the node where it does.
    """
    from fieldwave.devices.session import one_line, open_session

    wanted = list(dict.fromkeys(names))
    model = to_onnx(live(replace(graph, outputs=tuple(Value(name, "float32", ()) for name in wanted))))
    for info in model.graph.output:
        info.ClearField("type")  # inferred by ONNX Runtime
    try:
        session = open_session(model.SerializeToString())
        results = session.run(wanted, {graph.inputs[0].name: image})
    except DeviceError as error:
        raise ModelError(str(error)) from error
    # ONNX Runtime's exceptions have no common base but Exception.
    except Exception as error:
        raise ModelError(f"the network cannot be run on {list(image.shape)}: {one_line(error)}") from error
    return dict(zip(wanted, results, strict=True))


def shapes(graph: Graph) -> Mapping[str, Shape]:
    """The shape of every tensor, constants included; None where it is the number of images."""
    two, three = ({name: value.shape for name, value in _everything(graph, batch).items()} for batch in (2, 3))
    measured = {name: value.shape for name, value in graph.constants.items()}
    for name, shape in two.items():
        other = three[name]
        same = len(shape) == len(other)
        measured[name] = tuple(size if same and size == other[axis] else None for axis, size in enumerate(shape))
    return measured


def _everything(graph: Graph, batch: int) -> dict[str, NDArray[Any]]:
    source = graph.inputs[0]
    image = np.zeros((batch, *(size or 1 for size in source.shape[1:])), np.float32)
    names = [name for node in graph.nodes for name in node.outputs if name]
    return {source.name: image, **run(graph, image, names)}
