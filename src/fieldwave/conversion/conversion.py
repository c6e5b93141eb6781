"""From a float network to a package: quantize, compare, compile, write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.conversion.images import Images, image_paths, labelled_images, load_images
from fieldwave.conversion.remarks import in_float, left_to_host
from fieldwave.errors import CalibrationError, InputError, ModelError, NotFoundError, StorageError
from fieldwave.package import Package, Program, TensorSpec, write_package

if TYPE_CHECKING:
    from fieldwave.frontends import Pixels
    from fieldwave.graph import Graph, Value
    from fieldwave.model import FloatModel
    from fieldwave.preprocess import Preprocessing
    from fieldwave.preprocess.spec import Decode
    from fieldwave.quantize import Options, Quantized, Report

__all__ = ["Conversion", "compile_programs", "convert", "write"]


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the package's file.
        package: what it holds.
        report: the int8 network against the float network.
        notes: what was found in the model, cut or changed, and what stays in float; one line each.
    """

    path: Path
    package: Package
    report: Report
    notes: tuple[str, ...] = ()


def convert(
    model: Any,
    *,
    calibration: str | os.PathLike[str],
    output: str | os.PathLike[str],
    weights: str = "",
    input: str | None = None,
    outputs: Sequence[str] = (),
    size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | Pixels | None = None,
    labels: Sequence[str] = (),
    name: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    quantization: Options | None = None,
    decode: Decode | None = None,
    npu: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Conversion:
    """Quantize a network on the user's images and write the package.

    The same arguments give the same bytes.

    Args:
        model: a name of ``fieldwave.zoo.names()``; a SavedModel folder, an .onnx, .pb or .pt2 file; a
            ``torch.nn.Module``; or a float network with its preprocessing.
        calibration: a folder of JPEG and PNG files like those that the service will see; 16 or more are good.
        output: the package's file.
        weights: for a name: a file of any publisher, as ``zoo.load`` takes it, ``random:SEED``, or nothing for
            the network's own, where it has some.
        input, outputs, size, preprocessing: of a model that is a file, a folder or a module, as
            ``fieldwave.frontends.load`` takes them.
        labels: of the classes, in order, instead of the model's own.
        name: of the network, instead of the model's own.
        evaluation: a folder with one sub-folder of images for each class, named by its label, to measure the
            accuracy on; the calibration images serve to compare float and int8 otherwise.
        quantization: how scales are chosen, and what is done to the weights before; ``Options()`` where None.
        decode: ``scaled`` lets large JPEG files be decoded to less than their size, here and wherever the package
            is served; see `fieldwave.preprocess.Preprocessing`. None leaves it as ``preprocessing`` says, or full.
        npu: names of NPU configurations to compile programs for; the package carries them all.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        NotFoundError: no such network, file, folder or NPU configuration.
        ModelError: the model cannot be read, has no preprocessing, or does not fit an NPU; the message names the
            node.
        WeightsError: the weights are missing, damaged, or of another network.
        CalibrationError: a folder holds no image, or one of another class.
        ImageError: a file of the folder is no image.
        InputError: an argument that this model does not take, or another number of labels than of classes.
        MissingExtraError: ``fieldwave[convert]``, or the framework that the model needs, is not installed.
        StorageError: the package cannot be written.
    """
    from fieldwave.npu import configuration
    from fieldwave.quantize import Options, quantize

    target = Path(output)
    for wanted in npu:
        configuration(wanted)  # a wrong name fails before a minute is spent
    _check_target(target)
    paths = image_paths(Path(calibration))
    progress("loading the model", 0.0)
    options = {"input": input, "outputs": outputs, "size": size, "preprocessing": preprocessing}
    given = {key: value for key, value in options.items() if value}
    network = _relabelled(_float_model(model, weights, given), labels, name)
    progress("loading the model", 1.0)
    spec = _preprocessing(network)
    said: Decode = getattr(preprocessing, "decode", spec.decode)
    spec = replace(spec, decode=decode or said)
    network = replace(network, preprocessing=spec)
    if evaluation is not None and network.detector is not None:
        raise CalibrationError(
            f"network {network.name!r} detects: what is in which class's folder cannot measure it; "
            "leave the evaluation out"
        )
    images = load_images(paths, spec, "reading calibration images", progress)
    labelled = labelled_images(Path(evaluation), network.labels) if evaluation is not None else []
    compared = Images([path for path, _ in labelled], spec) if labelled else None
    quantized = quantize(
        network.graph,
        images,
        evaluation=compared,
        labels=[label for _, label in labelled] if labelled else None,
        options=quantization or Options(),
        progress=progress,
    )
    return write(quantized, network, output=target, npu=npu, progress=progress)


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
    programs, on_host = compile_programs(quantized.graph, npu, progress)
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
    return Conversion(target, package, quantized.report, (*model.notes, *in_float(quantized.graph), *on_host))


def compile_programs(
    graph: Graph, npu: Sequence[str], progress: Callable[[str, float], None]
) -> tuple[dict[Program, bytes], tuple[str, ...]]:
    """A program for each NPU, as `write_package` takes them, and a line about what each leaves to the host.

    Raises:
        NotFoundError: no such NPU configuration.
        ModelError: the network does not fit an NPU.
    """
    from fieldwave.compiler import compile_network, write_program
    from fieldwave.npu import configuration

    programs, notes = {}, []
    for index, name in enumerate(npu):
        progress(f"compiling for {name}", index / len(npu))
        parameters = configuration(name)
        entry = Program(file=f"{name}.npu", configuration=name, fingerprint=f"{parameters.fingerprint:016x}")
        compiled = compile_network(graph, parameters)
        programs[entry] = write_program(compiled.program)
        left = left_to_host(compiled)
        if left:
            notes.append(f"{name}: the host computes {left}")
    return programs, tuple(notes)


def _check_target(target: Path) -> None:
    """Fail before a minute is spent."""
    if target.is_dir():
        raise StorageError(
            f"cannot write {target}: it is a folder; name the package's file, such as {target / 'model.zip'}"
        )
    if not target.parent.is_dir():
        raise StorageError(f"cannot write {target}: there is no folder {target.parent}; make it first")


def _float_model(model: Any, weights: str, options: Mapping[str, Any]) -> FloatModel:
    """The float network, from wherever it comes."""
    from fieldwave import zoo
    from fieldwave.model import FloatModel

    if isinstance(model, str) and model in zoo.names():
        _refuse(options, f"network {model!r} of the zoo")
        notes: list[str] = []
        network = zoo.float_model(*zoo.load(model, weights, note=notes.append))
        return replace(network, notes=(*network.notes, *notes))
    if weights:
        raise InputError(f"weights are for networks of the zoo ({', '.join(zoo.names())}); this model has its own")
    if isinstance(model, FloatModel):
        _refuse(options, "a FloatModel")
        return model
    from fieldwave import frontends

    if isinstance(model, str) and not os.path.exists(model) and model == Path(model).stem:
        raise NotFoundError(f"no model {model!r}: the zoo has {', '.join(zoo.names())}, and no file has that name")
    return frontends.load(model, **options)


def _refuse(options: Mapping[str, Any], what: str) -> None:
    for option in options:
        raise InputError(f"{what} has its own {option}; leave it out")


def _relabelled(model: FloatModel, labels: Sequence[str], name: str | None) -> FloatModel:
    labels = tuple(labels) or model.labels
    scores = next((v for v in model.graph.outputs if model.detector and v.name in model.detector.logits), None)
    output = scores or model.graph.outputs[0]
    classes = output.shape[-1] if output.shape else None
    if labels and classes is not None and len(labels) != classes:
        raise InputError(
            f"there are {len(labels)} labels for the {classes} values of output {output.name!r}; give one for each"
        )
    return replace(model, labels=labels, name=name or model.name)


def _preprocessing(model: FloatModel) -> Preprocessing:
    if model.preprocessing is None:
        raise ModelError(
            f"network {model.name!r} does not say how pixels become its input: give the mean and the scale or std "
            "(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225, or --mean 0 --scale 1)"
        )
    return model.preprocessing


def _spec(value: Value, model: FloatModel) -> TensorSpec:
    aliases = model.aliases.get(value.name, ())
    return TensorSpec(name=value.name, aliases=aliases, dtype="float32", shape=(None, *value.shape[1:]))
