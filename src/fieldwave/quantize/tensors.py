"""Every tensor of a network, image by image: what calibration and reports look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from fieldwave.errors import DeviceError, ModelError
from fieldwave.graph import Graph, Value, to_onnx

__all__ = ["Watched", "all_tensors"]


class Watched:
    """A network of which any tensors can be seen, whatever else the graph calls its outputs.

    Args:
        names: the tensors.

    Raises:
        ModelError: ONNX Runtime does not take the graph.
    """

    def __init__(self, graph: Graph, names: Sequence[str]) -> None:
        from fieldwave.devices.exactness import exactness
        from fieldwave.devices.session import open_session

        self._name, self._input = graph.name, graph.inputs[0].name
        self._inside = [name for name in names if name != self._input]
        watched = replace(graph, outputs=tuple(Value(name, "float32", ()) for name in self._inside))
        model = to_onnx(watched)
        for info in model.graph.output:
            info.ClearField("type")  # inferred by ONNX Runtime
        content = model.SerializeToString()
        del model  # as large as the weights
        try:
            self._session = open_session(exactness().rewritten(content)) if self._inside else None
        except DeviceError as error:
            raise ModelError(f"network {graph.name!r}: {error}") from error

    def run(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The tensors for one input.

        Raises:
            ModelError: ONNX Runtime does not run the graph on such an image.
        """
        from fieldwave.devices.session import one_line

        if self._session is None:
            return {self._input: image}
        try:
            results = self._session.run(self._inside, {self._input: image})
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            where = f"network {self._name!r} on an image {list(image.shape)}"
            raise ModelError(f"ONNX Runtime does not run {where}: {one_line(error)}") from error
        return {self._input: image, **dict(zip(self._inside, results, strict=True))}


def all_tensors(
    graph: Graph, names: Sequence[str], images: Iterable[NDArray[Any]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Run the graph on each image and yield the named tensors."""
    network = Watched(graph, names)
    for image in images:
        yield network.run(image)
