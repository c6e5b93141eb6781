"""A float network ready to be quantized, wherever it came from: the zoo, TensorFlow, PyTorch or ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldwave.errors import ModelError
from fieldwave.graph import Graph
from fieldwave.postprocess import Detector
from fieldwave.preprocess import Preprocessing

__all__ = ["FloatModel"]


@dataclass(frozen=True)
class FloatModel:
    """A float network and what surrounds it.

    Attributes:
        name: of the network, as the package will carry it.
        graph: float32; one input, the image [None, height, width, channels] after preprocessing; the outputs
            that clients will see, under their names, batch first.
        preprocessing: how an image file becomes the input; None where clients send the tensor itself.
        labels: of the classes, in order; empty where there are none.
        aliases: other names that clients may use, by tensor name.
        notes: what the front end found, cut or changed, one line each, for the user to read.
        detector: how the outputs become objects, where the network detects.

    Raises:
        ModelError: the graph has not exactly one input, or no output.
    """

    name: str
    graph: Graph
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    detector: Detector | None = None

    def __post_init__(self) -> None:
        if len(self.graph.inputs) != 1:
            names = ", ".join(repr(value.name) for value in self.graph.inputs) or "none"
            raise ModelError(
                f"network {self.name!r} has {len(self.graph.inputs)} inputs ({names}); "
                "one image input is supported"
            )
        if not self.graph.outputs:
            raise ModelError(f"network {self.name!r} has no output")
