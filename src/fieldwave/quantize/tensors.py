"""Every tensor of a network, image by image: what calibration and reports look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from fieldwave.errors import DeviceError, ModelError
from fieldwave.graph import Graph, Value, to_onnx

__all__ = ["all_tensors"]


def all_tensors(
    graph: Graph, names: Sequence[str], images: Iterable[NDArray[Any]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Run the graph on each image and yield the named tensors, whatever else the graph calls its outputs.

    Raises:
        ModelError: ONNX Runtime does not run the graph on such an image.
    """
    from fieldwave.devices.exactness import exactness
    from fieldwave.devices.session import one_line, open_session

    inside = [name for name in names if name != graph.inputs[0].name]
    if not inside:
        yield from ({graph.inputs[0].name: image} for image in images)
        return
    watched = replace(graph, outputs=tuple(Value(name, "float32", ()) for name in inside))
    model = to_onnx(watched)
    for info in model.graph.output:
        info.ClearField("type")  # inferred by ONNX Runtime
    try:
        session = open_session(exactness().rewritten(model.SerializeToString()))
    except DeviceError as error:
        raise ModelError(f"network {graph.name!r}: {error}") from error
    for image in images:
        try:
            results = session.run(inside, {graph.inputs[0].name: image})
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            where = f"network {graph.name!r} on an image {list(image.shape)}"
            raise ModelError(f"ONNX Runtime does not run {where}: {one_line(error)}") from error
        yield {graph.inputs[0].name: image, **dict(zip(inside, results, strict=True))}
