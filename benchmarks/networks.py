"""The zoo's ten models, five networks in float and int8: which framework builds them, where their operators run.

Run from the project's root, with the package and its ``test`` extra installed, a network at a time where memory is
short (VGG-16 takes 7 GB)::

    .venv/bin/python benchmarks/networks.py resnet50 densenet121 --write

Weights are ``random:0``, the images two photographs. ``--write`` keeps the figures in
``benchmarks/results/networks.json`` and puts the tables of ``docs/networks.md`` in their place.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import zoo
from fieldwave.compiler import compile_network
from fieldwave.compiler.lower import lower
from fieldwave.compiler.partition import partition as split
from fieldwave.compiler.shapes import tensor_types
from fieldwave.conversion import convert
from fieldwave.devices import create_device
from fieldwave.devices.exactness import exactness
from fieldwave.devices.session import open_session
from fieldwave.errors import FieldwaveError
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.package import Package, read_package
from fieldwave.preprocess import preprocess
from fieldwave.quantize import prepare
from fieldwave.verify import verify

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = [ROOT / "tests" / "data" / "images" / name for name in ("cat_346.jpg", "snowleopardgaze.jpg")]
RESULTS = ROOT / "benchmarks" / "results" / "networks.json"
DOCUMENT = ROOT / "docs" / "networks.md"
NAMES = ("resnet50", "resnet152", "densenet121", "vgg16", "ssd_vgg")
NPUS = ("kv260", "zcu104", "arria10-1150", "u250")
BEGIN, END = "<!-- made by benchmarks/networks.py -->\n", "<!-- end -->\n"

Array = NDArray[Any]
Weights = Mapping[str, NDArray[np.float32]]


def difference(outputs: list[Array], reference: list[Array]) -> float:
    """The largest difference of any output, as a share of that output's largest value."""
    pairs = zip(outputs, reference, strict=True)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


def float_network(network: zoo.Network, weights: Weights, images: Array) -> dict[str, Any]:
    """ONNX Runtime, TensorFlow and PyTorch on the same images."""
    reference = in_onnx_runtime(zoo.to_onnx(network, weights).SerializeToString(), network, images)
    return {
        "onnx": "builds",
        "tensorflow": difference(in_tensorflow(network, weights, images), reference),
        "torch": difference(in_torch(zoo.to_torch(network, weights), images), reference),
    }


def in_onnx_runtime(model: bytes, network: zoo.Network, images: Array) -> list[Array]:
    outputs: list[Array] = open_session(exactness().rewritten(model)).run(
        [output.name for output in network.outputs], {network.input.name: images}
    )
    return outputs


def in_tensorflow(network: zoo.Network, weights: Weights, images: Array, **options: Any) -> list[Array]:
    built = zoo.to_tensorflow(network, weights, **options)
    import tensorflow as tf

    with tf.compat.v1.Session(graph=built.graph) as session:
        built.restore(session)
        outputs: list[Array] = session.run(built.outputs, {built.source: images})
    return outputs


def in_torch(module: Any, images: Array) -> list[Array]:
    import torch

    with torch.no_grad():
        outputs = module(torch.from_numpy(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def int8_network(network: zoo.Network, weights: Weights, images: Array, folder: Path) -> dict[str, Any]:
    """Converted, compared with golden byte by byte, built fake-quantized in both frameworks, compiled."""
    photos = folder / "photos"
    photos.mkdir()
    for path in PHOTOS:
        (photos / path.name).write_bytes(path.read_bytes())
    begin = time.perf_counter()
    conversion = convert(network.name, weights="random:0", calibration=photos, output=folder / "package.zip")
    seconds = time.perf_counter() - begin
    package = read_package(conversion.path)
    return {
        "convert_seconds": round(seconds, 1),
        "package_megabytes": round(conversion.path.stat().st_size / 1e6, 1),
        **golden(package, images),
        **fake_quantized(network, weights, package, images),
        "npu": partition(package),
    }


def golden(package: Package, images: Array) -> dict[str, int]:
    """The cpu device against the golden model, in every quantized tensor."""
    name = package.manifest.inputs[0].name
    with create_device("cpu") as device:
        checks = list(verify(package, device, [{name: image[np.newaxis]} for image in images]))
    return {
        "quantized_tensors": checks[0].tensors,
        "bytes_compared": sum(check.size for check in checks),
        "bytes_differing": sum(check.differing for check in checks),
    }


def fake_quantized(network: zoo.Network, weights: Weights, package: Package, images: Array) -> dict[str, Any]:
    """TensorFlow's fake quantization and the module that trains in PyTorch, against the int8 network."""
    from fieldwave.training import fake_quantized as trainable

    model = zoo.float_model(network, weights)
    calibration = [image[np.newaxis] for image in images]
    reference = in_onnx_runtime(package.model, network, images)
    scales = prepare(model.graph, calibration).scales
    module = trainable(model, calibration).eval()
    return {
        "onnx": "builds",
        "tensorflow": difference(in_tensorflow(network, weights, images, scales=scales), reference),
        "torch": difference(in_torch(module, images), reference),
    }


def partition(package: Package) -> dict[str, Any]:
    """Which operators an NPU takes, which stay on the host and why; and which NPUs have room for the network."""
    graph = from_onnx(package.model)
    configurations = {}
    for name in NPUS:
        try:
            compile_network(graph, configuration(name))
            configurations[name] = "compiles"
        except FieldwaveError as error:
            configurations[name] = str(error)
    lowering = lower(graph, tensor_types(graph), configuration(NPUS[0]))
    sections = split(graph, lowering.steps)
    counts = {side: Counter(n.op for s in sections if s.side == side for n in s.nodes) for side in SIDES}
    return {
        "configurations": configurations,
        "sections": [section.side for section in sections],
        "operators": {side: dict(sorted(count.items())) for side, count in counts.items()},
        "refusals": dict(sorted(Counter(lowering.refusals.values()).items())),
    }


SIDES = ("npu", "host")


def measure(name: str) -> dict[str, Any]:
    network = zoo.network(name)
    begin = time.perf_counter()
    weights = zoo.load_weights(network, "random:0")
    seconds = time.perf_counter() - begin
    images = np.stack([preprocess(path.read_bytes(), network.preprocessing) for path in PHOTOS])
    figures = {
        "macs": network.macs,
        "weights": sum(prod(shape) for shape in network.weight_shapes.values()),
        "random_weights_seconds": round(seconds, 1),
        "float": float_network(network, weights, images),
    }
    with tempfile.TemporaryDirectory() as folder:
        figures["int8"] = int8_network(network, weights, images, Path(folder))
    return figures


def tables(figures: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| model | ONNX | TensorFlow | PyTorch | converts in | `cpu` against golden: bytes that differ |",
        "|---|---|---|---|---|---|",
    ]
    for name in (name for name in NAMES if name in figures):
        one = figures[name]
        builds = f"{one['float']['tensorflow']:.0e} | {one['float']['torch']:.0e}"
        lines.append(f"| {name}, float | builds | {builds} | | |")
        int8 = one["int8"]
        builds = f"{int8['tensorflow']:.0e} | {int8['torch']:.0e}"
        lines.append(
            f"| {name}, int8 | builds | {builds} | {int8['convert_seconds']:.0f} s "
            f"| {int8['bytes_differing']} of {int8['bytes_compared']} |"
        )
    lines += ["", "| int8 | the NPU takes | the host keeps | NPUs with room for it |", "|---|---|---|---|"]
    for name in (name for name in NAMES if name in figures):
        npu = figures[name]["int8"]["npu"]
        held = [one for one, answer in npu["configurations"].items() if answer == "compiles"]
        taken, left = (
            ", ".join(f"{count} {op}" for op, count in npu["operators"][side].items()) for side in SIDES
        )
        lines.append(f"| {name} | {taken} | {left} | {', '.join(held) or 'none yet'} |")
    return "\n".join(lines) + "\n"


def write_tables(figures: Mapping[str, Any]) -> None:
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + tables(figures) + END + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="+", choices=NAMES, help="networks to measure")
    parser.add_argument("--write", action="store_true", help="keep the figures of these networks")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    measured = {}
    for name in arguments.network:
        measured[name] = measure(name)
        print(name, json.dumps(measured[name], indent=1), flush=True)
    if arguments.write:
        figures = {**(json.loads(RESULTS.read_text()) if RESULTS.exists() else {}), **measured}
        RESULTS.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        write_tables(figures)


if __name__ == "__main__":
    main()
