"""From a float network to a package: quantize, compare, compile, write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import CalibrationError, ImageError, ModelError, NotFoundError, StorageError
from fieldwave.package import Package, Program, TensorSpec, write_package

if TYPE_CHECKING:
    from fieldwave.graph import Graph, Value
    from fieldwave.model import FloatModel
    from fieldwave.preprocess import Preprocessing
    from fieldwave.quantize import Quantized, Report

__all__ = ["Conversion", "convert", "write"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the package's file.
        package: what it holds.
        report: the int8 network against the float network.
    """

    path: Path
    package: Package
    report: Report


def convert(
    model: str | FloatModel,
    *,
    calibration: str | os.PathLike[str],
    output: str | os.PathLike[str],
    weights: str = "",
    evaluation: str | os.PathLike[str] | None = None,
    npu: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Conversion:
    """Quantize a network on the user's images and write the package.

    The same arguments give the same bytes.

    Args:
        model: a name of ``fieldwave.zoo.names()``, or a float network with its preprocessing.
        calibration: a folder of JPEG and PNG files like those that the service will see; 16 or more are good.
        output: the package's file.
        weights: for a name: a .safetensors file, ``random:SEED``, or nothing for the network's own, where it
            has some.
        evaluation: a folder with one sub-folder of images for each class, named by its label, to measure the
            accuracy on; the calibration images serve to compare float and int8 otherwise.
        npu: names of NPU configurations to compile programs for; the package carries them all.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        NotFoundError: no such network, folder or NPU configuration.
        ModelError: the network has no preprocessing, or does not fit an NPU.
        WeightsError: the weights are missing, damaged, or of another network.
        CalibrationError: a folder holds no image, or one of another class.
        ImageError: a file of the folder is no image.
        MissingExtraError: ``fieldwave[convert]`` is not installed.
        StorageError: the package cannot be written.
    """
    from fieldwave import zoo
    from fieldwave.npu import configuration
    from fieldwave.quantize import quantize

    target = Path(output)
    for name in npu:
        configuration(name)  # a wrong name fails before a minute is spent
    if not target.parent.is_dir():
        raise StorageError(f"cannot write {target}: there is no folder {target.parent}; make it first")
    if isinstance(model, str):
        network = zoo.network(model)
        spec, labels = network.preprocessing, network.labels
    else:
        spec, labels = _preprocessing(model), model.labels
    images = _load(_images(Path(calibration)), spec, "reading calibration images", progress)
    labelled = _labelled(Path(evaluation), labels) if evaluation is not None else []
    compared = _load([path for path, _ in labelled], spec, "reading evaluation images", progress) or None
    if isinstance(model, str):
        progress("loading the weights", 0.0)
        model = zoo.float_model(network, zoo.load_weights(network, weights))
        progress("loading the weights", 1.0)
    quantized = quantize(
        model.graph,
        images,
        evaluation=compared,
        labels=[label for _, label in labelled] if labelled else None,
        progress=progress,
    )
    return write(quantized, model, output=target, npu=npu, progress=progress)


def write(
    quantized: Quantized,
    model: FloatModel,
    *,
    output: str | os.PathLike[str],
    npu: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Conversion:
    """Write the package of a network that is quantized already: fine-tuned, say.

    Args:
        quantized: the int8 network; it goes into the package as it is, scales and all.
        model: the float network that it was made from: name, preprocessing, labels, aliases.
        output: the package's file.
        npu: names of NPU configurations to compile programs for.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        NotFoundError: no such NPU configuration.
        ModelError: the network does not fit an NPU.
        MissingExtraError: ``fieldwave[convert]`` is not installed.
        StorageError: the package cannot be written.
    """
    from fieldwave.graph import to_onnx

    target = Path(output)
    programs = _compile(quantized.graph, npu, progress)
    report = json.dumps(quantized.report.to_json(), indent=1, sort_keys=True).encode() + b"\n"
    package = write_package(
        target,
        network=model.name,
        model=to_onnx(quantized.graph).SerializeToString(deterministic=True),
        inputs=[_spec(value, model) for value in quantized.graph.inputs],
        outputs=[_spec(value, model) for value in quantized.graph.outputs],
        preprocessing=model.preprocessing,
        labels=model.labels,
        detector=model.detector,
        programs=programs,
        extra={"report.json": report},
    )
    return Conversion(target, package, quantized.report)


def _preprocessing(model: FloatModel) -> Preprocessing:
    if model.preprocessing is None:
        raise ModelError(
            f"network {model.name!r} says nothing of its preprocessing: give a Preprocessing, "
            "so that the calibration images become its input"
        )
    return model.preprocessing


def _compile(graph: Graph, npu: Sequence[str], progress: Callable[[str, float], None]) -> dict[Program, bytes]:
    from fieldwave.compiler import compile_network, write_program
    from fieldwave.npu import configuration

    programs = {}
    for index, name in enumerate(npu):
        progress(f"compiling for {name}", index / len(npu))
        parameters = configuration(name)
        entry = Program(file=f"{name}.npu", configuration=name, fingerprint=f"{parameters.fingerprint:016x}")
        programs[entry] = write_program(compile_network(graph, parameters).program)
    return programs


def _spec(value: Value, model: FloatModel) -> TensorSpec:
    aliases = model.aliases.get(value.name, ())
    return TensorSpec(name=value.name, aliases=aliases, dtype="float32", shape=(None, *value.shape[1:]))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}; name one that holds JPEG or PNG images")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise CalibrationError(
            f"folder {folder} holds no JPEG or PNG image; put 16 or more there, like those to come"
        )
    return found


def _labelled(folder: Path, labels: Sequence[str]) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}; name one with a sub-folder of images for each class")
    numbers = {label: index for index, label in enumerate(labels)}
    pairs: list[tuple[Path, int]] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name not in numbers:
            raise CalibrationError(
                f"folder {place} is no class of the network; its classes are like {labels[0]!r}"
            )
        pairs.extend((path, numbers[place.name]) for path in _images(place))
    if not pairs:
        raise CalibrationError(
            f"folder {folder} holds no class folders; name each by its label, like {labels[0]!r}"
        )
    return pairs


def _load(
    paths: Sequence[Path], spec: Preprocessing, what: str, progress: Callable[[str, float], None]
) -> list[NDArray[np.float32]]:
    from fieldwave.preprocess import preprocess

    images = []
    for index, path in enumerate(paths):
        try:
            images.append(preprocess(path.read_bytes(), spec)[np.newaxis])
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        progress(what, (index + 1) / len(paths))
    return images
