"""The quantized network that a command is about, whatever form it is given in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import ModelError, NotFoundError, StorageError

if TYPE_CHECKING:
    from fieldwave.graph import Graph
    from fieldwave.package import Package

__all__ = ["Network", "read_network"]


@dataclass(frozen=True)
class Network:
    """A quantized network.

    Attributes:
        name: of the network.
        graph: its nodes.
        package: what it came in, if that was a package.
    """

    name: str
    graph: Graph
    package: Package | None


def read_network(model: str, *, zoo: bool = False) -> Network:
    """Read a package, a quantized ``.onnx`` file, or, with ``zoo``, a network of the zoo by its name.

    A network of the zoo, ``NAME`` or ``NAME:VARIANT``, has no real weights and scales: it is good for estimates.

    Raises:
        NotFoundError: there is no such file, or no such variant in the zoo.
        PackageError: it is no package, or a damaged one.
        ModelError: it is no quantized network.
        MissingExtraError: ``fieldwave[convert]`` is not installed.
    """
    from fieldwave.graph import from_onnx
    from fieldwave.package import read_package

    if zoo and (found := _of_the_zoo(model)) is not None:
        return found
    if Path(model).suffix != ".onnx":
        package = read_package(model)
        return Network(package.manifest.network, from_onnx(package.model), package)
    try:
        data = Path(model).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no file {model}; name a package or a quantized .onnx file") from None
    except OSError as error:
        raise StorageError(f"cannot read {model}: {error.strerror or error}") from error
    graph = from_onnx(data)
    if not any(node.op.startswith("QLinear") or node.op == "QGemm" for node in graph.nodes):
        raise ModelError(
            f"{model} is not quantized, so no NPU runs it; make a package: "
            f"fieldwave convert {model} --calibration FOLDER --output {Path(model).stem}.zip"
        )
    return Network(graph.name, graph, None)


def _of_the_zoo(model: str) -> Network | None:
    """The network of that name, or None where the zoo has none."""
    import numpy as np

    from fieldwave import zoo
    from fieldwave.quantize import unmeasured

    name, _, variant = model.partition(":")
    if name not in zoo.names() or Path(model).exists():
        return None
    network = zoo.network(name, variant or zoo.variants(name)[0])
    weights = {key: np.full(shape, 0.05, np.float32) for key, shape in network.weight_shapes.items()}
    return Network(model, unmeasured(zoo.float_model(network, weights).graph), None)
