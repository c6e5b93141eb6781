"""An int8 network without its classifier: images in, features out, on any device."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from fieldwave.devices import Device, lease_device
from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node, Value, from_onnx, to_onnx
from fieldwave.model import FloatModel
from fieldwave.package import Package, TensorSpec, read_package, write_package
from fieldwave.preprocess import Preprocessing
from fieldwave.quantize import Options, Quantized, Report, quantize, quantized_name
from fieldwave.quantize.canonical import without_idle
from fieldwave.quantize.tensors import all_tensors
from fieldwave.transfer.inputs import Images, batches

__all__ = ["FEATURES", "Featurizer", "featurizer", "package_featurizer", "scale_names"]

FEATURES = "features:0"
"""Name of the output of a featurizer, float32 [N, features]."""
_BATCH = 8
_DEFAULTS = Options()
_SCALE = {
    "QGemm": 7, "QLinearAdd": 6, "QLinearAveragePool": 3, "QLinearConv": 6, "QLinearGlobalAveragePool": 3,
    "QLinearMatMul": 6, "QuantizeLinear": 1,
}  # fmt: skip
"""Where the output's scale stands among the inputs of an operator; its zero point follows."""


@dataclass(frozen=True)
class Featurizer:
    """An int8 network up to its features.

    Make one with `featurizer` or `package_featurizer`.

    Attributes:
        name: of the network.
        graph: int8, from the image to `FEATURES`; every device computes the same bits of it.
        size: how many features an image has.
        preprocessing: how an image becomes the input; None where the callers give the input itself.
        aliases: other names of the input.
        report: the int8 network against the float one; None for one from a package.
        source: the float network, as it was quantized, up to the same features; None for one from a package.
    """

    name: str
    graph: Graph = field(repr=False)
    size: int
    preprocessing: Preprocessing | None = None
    aliases: tuple[str, ...] = ()
    report: Report | None = field(default=None, repr=False)
    source: Graph | None = field(default=None, repr=False)

    def features(
        self,
        images: Images,
        device: str | Device = "cpu",
    ) -> NDArray[np.float32]:
        """The features of each image, the same on every device.

        Args:
            images: an array of network inputs [n, height, width, channels], a sequence of JPEG or PNG images
                (paths or bytes), or a folder of them.
            device: a name that `fieldwave.devices.lease_device` takes (``cpu``, ``rtl``), or an opened device.

        Returns:
            float32 [n, size].

        Raises:
            ImageError: a file is no image; StorageError: it cannot be read.
            TensorError: an input has the wrong shape.
            DeviceError: the device failed.
        """
        if isinstance(device, str):
            with lease_device(device, "featurizer") as opened:
                return self.features(images, opened)
        device.load(self.package())
        name = self.graph.inputs[0].name
        parts = [device.run({name: batch})[FEATURES] for batch in batches(images, self.preprocessing, _BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.size), np.float32)

    def float_features(self, images: Images) -> NDArray[np.float32]:
        """The features that the float network gives: what int8 is measured against.

        Raises:
            ModelError: the featurizer was made from a package, which holds no float network.
        """
        if self.source is None:
            raise ModelError(f"featurizer {self.name!r} comes from a package, which holds no float network")
        single = batches(images, self.preprocessing, 1)
        parts = [tensors[FEATURES] for tensors in all_tensors(self.source, [FEATURES], single)]
        return np.concatenate(parts) if parts else np.empty((0, self.size), np.float32)

    def package(self) -> Package:
        """The featurizer as a package of its own, with the one output `FEATURES`."""
        with TemporaryDirectory() as folder:
            return self.write(Path(folder) / "featurizer.zip")

    def write(self, path: str | os.PathLike[str]) -> Package:
        """Write `package` as a file.

        Raises:
            StorageError: it cannot be written.
        """
        return write_package(
            path,
            network=self.name,
            model=to_onnx(self.graph).SerializeToString(deterministic=True),
            inputs=[self.input_spec()],
            outputs=[TensorSpec(name=FEATURES, aliases=("features",), shape=(None, self.size))],
            preprocessing=self.preprocessing,
            extra=self.report_file(),
        )

    def report_file(self) -> dict[str, bytes]:
        """``report.json`` as a package carries it, where there is a report."""
        if self.report is None:
            return {}
        return {"report.json": json.dumps(self.report.to_json(), indent=1, sort_keys=True).encode() + b"\n"}

    def input_spec(self) -> TensorSpec:
        """The input as a package's manifest names it."""
        value = self.graph.inputs[0]
        return TensorSpec(name=value.name, aliases=self.aliases, shape=(None, *value.shape[1:]))


def featurizer(
    model: str | FloatModel,
    calibration: Images,
    *,
    weights: str = "",
    features: str = "",
    options: Options = _DEFAULTS,
    quantized: Quantized | None = None,
) -> Featurizer:
    """A featurizer from a network of the zoo or a float network, which is quantized for it.

    Args:
        model: a name of ``fieldwave.zoo.names()``, or a float network.
        calibration: images like those to come, as `Featurizer.features` takes them; 16 or more are good.
        weights: of a network of the zoo, as ``fieldwave.zoo.load`` takes them.
        features: the tensor at which to cut; for a network of the zoo, its own where nothing is given.
        options: how the network is quantized.
        quantized: the int8 form of ``model`` where it exists already (after fine-tuning, say); calibration images
            are not used then, and may be an empty list.

    Raises:
        ModelError: the network has no such tensor, or is not quantized there.
        NotFoundError: no network of that name.
        WeightsError: the weights are missing, damaged, or of another network.
        CalibrationError: no usable calibration images.
    """
    from fieldwave import zoo

    features = features or _zoo_features(model if isinstance(model, str) else model.name)
    if isinstance(model, str):
        model = zoo.float_model(*zoo.load(model, weights))
    if quantized is None:
        images = list(batches(calibration, model.preprocessing, 1))
        quantized = quantize(model.graph, images, options=options)
    graph = _cut(quantized.graph, features, model.name)
    flatten = Node("Flatten", FEATURES, (features,), (FEATURES,), {"axis": 1})
    return Featurizer(
        name=model.name,
        graph=graph,
        size=_size(graph),
        preprocessing=model.preprocessing,
        aliases=model.aliases.get(graph.inputs[0].name, ()),
        report=quantized.report,
        source=_ending(quantized.prepared.graph, [flatten]),
    )


def package_featurizer(package: Package | str | os.PathLike[str], features: str = "") -> Featurizer:
    """A featurizer from a package, or the file of one, of a whole network or of a featurizer.

    Args:
        package: what `fieldwave.conversion` or `Featurizer.write` made.
        features: the tensor at which to cut, as in `featurizer`.

    Raises:
        ModelError: the network has no such tensor, or is not quantized there.
        NotFoundError: there is no such file.
        PackageError: the file is damaged.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    manifest, whole = package.manifest, from_onnx(package.model)
    if [value.name for value in whole.outputs] == [FEATURES] and not features:
        graph = whole
    else:
        graph = _cut(whole, features or _zoo_features(manifest.network), manifest.network)
    return Featurizer(
        name=manifest.network,
        graph=graph,
        size=_size(graph),
        preprocessing=package.preprocessing,
        aliases=manifest.inputs[0].aliases,
    )


def scale_names(graph: Graph, tensor: str) -> tuple[str, str]:
    """The constants that hold the scale and the zero point of a quantized tensor.

    Raises:
        KeyError: no quantized operator makes it.
    """
    node = graph.producers()[tensor]
    if node.op not in _SCALE:  # it moves bytes
        return scale_names(graph, node.inputs[0])
    at = _SCALE[node.op]
    return node.inputs[at], node.inputs[at + 1]


def _zoo_features(name: str) -> str:
    from fieldwave import zoo

    found = zoo.network(name).features if name in zoo.names() else ""
    if not found:
        raise ModelError(f"network {name!r} does not say where its features are; name the tensor: features=...")
    return found


def _cut(graph: Graph, features: str, name: str) -> Graph:
    """The int8 graph up to the features, as a float matrix called `FEATURES`."""
    tensor = quantized_name(features)
    if tensor not in graph.producers():
        raise ModelError(
            f"network {name!r} has no quantized tensor {features!r} to cut at; name one that a layer of it makes"
        )
    matrix = quantized_name(FEATURES)
    nodes = [
        Node("Flatten", f"{FEATURES}/flatten", (tensor,), (matrix,), {"axis": 1}),
        Node("DequantizeLinear", FEATURES, (matrix, *scale_names(graph, tensor)), (FEATURES,)),
    ]
    return _ending(graph, nodes)


def _ending(graph: Graph, nodes: list[Node]) -> Graph:
    """The graph with other last nodes, the last of which makes `FEATURES`; what nobody reads is dropped."""
    output = Value(FEATURES, "float32", (None, None))
    return without_idle(replace(graph, outputs=(output,), nodes=(*graph.nodes, *nodes)))


def _size(graph: Graph) -> int:
    value = graph.inputs[0]
    image = np.zeros([size or 1 for size in value.shape], np.float32)
    (tensors,) = all_tensors(graph, [FEATURES], [image])
    return int(tensors[FEATURES].shape[1])
