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


def read_network(model: str) -> Network:
    """Read a package, or a quantized ``.onnx`` file.

    Raises:
        NotFoundError: there is no such file.
        PackageError: it is no package, or a damaged one.
        ModelError: it is no quantized network.
        MissingExtraError: ``fieldwave[convert]`` is not installed.
    """
    from fieldwave.graph import from_onnx
    from fieldwave.package import read_package

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
