"""Conversion as a job: from a registered model, a file or a network of the zoo to a registered package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.jobs.begin import start
from fieldwave.jobs.operation import Operation
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.frontends import Pixels
    from fieldwave.preprocess import Preprocessing
    from fieldwave.preprocess.spec import Decode
    from fieldwave.quantize import Options
    from fieldwave.registry import RegisteredModel

__all__ = ["convert"]

_WORK = "fieldwave.jobs.convert_work"


def convert(
    model: RegisteredModel | str | os.PathLike[str],
    input: str | None = None,
    outputs: str | Sequence[str] = (),
    target: str | Sequence[str] = (),
    *,
    calibration: str | os.PathLike[str],
    name: str = "",
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    description: str = "",
    weights: str = "",
    size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | Pixels | None = None,
    labels: Sequence[str] = (),
    evaluation: str | os.PathLike[str] | None = None,
    quantization: Options | None = None,
    decode: Decode | None = None,
    timeout: float | None = None,
    workspace: Workspace | None = None,
) -> Operation[RegisteredModel]:
    """Begin to convert a network, and return at once; what comes of it is registered.

    The job runs in a process of its own and outlives the caller. Its result is the registered package, whose
    `source` is the registered model it came from, whose property ``job`` is the job, and to which the job's log is
    attached (`convert_work.LOG`). The folders of images must stay until it has ended. ::

        operation = convert(registered, "images:0", "scores:0", "sim16", calibration="photos", tags={"team": "a"})
        operation.wait_for_completion(show_output=True)
        package = operation.result

    Args:
        model: a registered model or its reference, ``digits:3``; a file or folder that `fieldwave.convert` takes;
            or a network of the zoo. A reference that is both is the registered model.
        input: the tensor at which the network begins; found where it is not given.
        outputs: names of tensors, several of them also in one text with commas; the model's own where not given.
        target: names of NPU configurations to compile programs for.
        calibration, weights, size, preprocessing, labels, evaluation, quantization, decode: as `fieldwave.convert`
            takes them.
        name: of the registered package; the model's own and ``-int8`` where it is not given.
        tags, properties, description: of the registered package.
        timeout: seconds after which the job is ended; None for no end.
        workspace: where model and job are; found from the working directory if not given.

    Raises:
        NotFoundError: no such model, folder of images or NPU configuration.
        InputError: a name outside the grammar, a model that is a package already, or no file at all.
        ConflictError: the registered model is not the one that it was.
        CalibrationError: a folder holds no image.
        JobError: the job did not start.
        StorageError: its folder cannot be written.
    """
    from fieldwave.conversion.images import image_paths
    from fieldwave.npu import configuration
    from fieldwave.registry.model import Notes, check_name, check_notes

    workspace = workspace or Workspace.find()
    source, about, own = _source(workspace, model, weights)
    targets = [target] if isinstance(target, str) else list(target)
    for one in targets:
        configuration(one)
    if "job" in (properties or {}):
        raise InputError("the property 'job' is the job's own: it will be the name of this one")
    notes = check_notes(Notes(dict(tags or {}), dict(properties or {}), description))
    image_paths(Path(calibration))
    if evaluation is not None and not Path(evaluation).is_dir():
        raise NotFoundError(f"no folder {evaluation}; name one with a sub-folder of images for each class")
    arguments = {
        "model": source,
        "weights": os.path.abspath(weights) if weights and os.path.exists(weights) else weights,
        "input": input,
        "outputs": _names(outputs),
        "target": targets,
        "size": size,
        "preprocessing": _to_json(preprocessing),
        "labels": list(labels),
        "calibration": os.path.abspath(calibration),
        "evaluation": None if evaluation is None else os.path.abspath(evaluation),
        "quantization": None if quantization is None else dataclasses.asdict(quantization),
        "decode": decode,
        "name": check_name(name or f"{own}-int8"),
        "tags": dict(notes.tags),
        "properties": dict(notes.properties),
        "description": description,
    }
    uses = [f"{source['registered']}@{source['digest']}"] if "registered" in source else []
    return start(
        workspace, kind="convert", work=_WORK, about=about, arguments=arguments, uses=uses, timeout=timeout
    )


def _source(workspace: Workspace, model: Any, weights: str) -> tuple[dict[str, str], str, str]:
    """Where the network comes from, as the job is told; for people; and a name for what is made of it."""
    from fieldwave.registry import RegisteredModel

    if isinstance(model, RegisteredModel):
        there = workspace.registry.get(model.id)
        if there.digest != model.digest:
            raise ConflictError(f"model {model.id} is {there.digest} here, not {model.digest}; get it again")
        return _registered(there)
    if not isinstance(model, str | os.PathLike):
        raise InputError(
            f"a job runs in a process of its own and cannot take a {type(model).__name__}: "
            "register a file of it, or convert it here with fieldwave.convert"
        )
    text = os.fspath(model)
    if os.path.exists(text):
        return {"path": os.path.abspath(text)}, text, Path(text).stem
    from fieldwave import zoo

    if weights and text in zoo.names():
        return {"network": text}, text, text
    try:
        registered = workspace.registry.get(text)
    except NotFoundError:
        if text in zoo.names():
            return {"network": text}, text, text
        raise
    except InputError:
        raise NotFoundError(f"no model {text!r}: no file has that name, and no registered model can") from None
    return _registered(registered)


def _registered(model: RegisteredModel) -> tuple[dict[str, str], str, str]:
    if model.kind == "package":
        raise InputError(f"model {model.id} is a package already; convert {model.source or 'what it was made of'}")
    return {"registered": model.id, "digest": model.digest, "kind": model.kind}, model.id, model.name


def _names(outputs: str | Sequence[str]) -> list[str]:
    if isinstance(outputs, str):
        return [name.strip() for name in outputs.split(",") if name.strip()]
    return list(outputs)


def _to_json(preprocessing: Preprocessing | Pixels | None) -> dict[str, Any] | None:
    if preprocessing is None:
        return None
    return {"kind": type(preprocessing).__name__, **dataclasses.asdict(preprocessing)}
