"""What the worker of a conversion does: fetch, convert, register, attach the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fieldwave.errors import ConflictError, FieldwaveError, NotFoundError
from fieldwave.jobs.job import Job
from fieldwave.jobs.state import Spec
from fieldwave.registry import RegisteredModel
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.frontends import Pixels
    from fieldwave.preprocess import Preprocessing
    from fieldwave.quantize import Options

__all__ = ["LOG", "result", "run", "settle"]

LOG = "application/vnd.fieldwave.log.v1"
"""The artifact type of the log that is attached to the result."""


def run(job: Job) -> str:
    """See `Work`."""
    from fieldwave.conversion import convert

    said = job.arguments
    source, network = _fetch(job, said["model"])
    size = said["size"]
    made = convert(
        network,
        calibration=said["calibration"],
        output=job.folder / f"{said['name']}.zip",
        weights=said["weights"],
        input=said["input"],
        outputs=said["outputs"],
        size=tuple(size) if isinstance(size, list) else size,
        preprocessing=_preprocessing(said["preprocessing"]),
        labels=said["labels"],
        evaluation=said["evaluation"],
        quantization=_options(said["quantization"]),
        decode=said.get("decode"),
        npu=said["target"],
        progress=job.progress,
    )
    for line in (*made.notes, *made.report.notes):
        job.log(f"note: {line}")
    for layer in made.report.worst(3):
        job.log(f"float against int8: {layer.snr:.1f} dB at {layer.tensor}: {layer.reason}")
    job.progress(f"registering {said['name']}", 0.0)
    job.commit()
    registry = job.workspace.registry
    model = registry.register(
        made.path,
        said["name"],
        tags=said["tags"],
        properties={**said["properties"], "job": job.id},
        description=said["description"],
        source=source,
    )
    try:
        log = job.log_so_far(f"registered {model.id} {model.digest}")
        registry.attach(model, LOG, log, "text/plain")
    except FieldwaveError as error:
        job.log(f"note: the log stays here alone: {error}")
    return f"{model.id}@{model.digest}"


def settle(workspace: Workspace, spec: Spec) -> str:
    """See `Work`."""
    for model in workspace.registry.find(spec.arguments["name"], properties=[f"job={spec.id}"]):
        return f"{model.id}@{model.digest}"
    return ""


def result(workspace: Workspace, reference: str) -> RegisteredModel:
    """See `Work`."""
    name, _, digest = reference.partition("@")
    model = workspace.registry.get(name)
    if model.digest != digest:
        raise NotFoundError(f"model {name} is {model.digest} now, not the {digest} that the job made")
    return model


def _fetch(job: Job, source: Mapping[str, str]) -> tuple[RegisteredModel | None, str]:
    """The registered model, where it comes from one, and what `convert` takes: a path, or a name."""
    if "registered" not in source:
        return None, source.get("path") or source["network"]
    job.progress(f"fetching {source['registered']}", 0.0)
    registry = job.workspace.registry
    model = registry.get(source["registered"])
    if model.digest != source["digest"]:
        raise ConflictError(f"model {model.id} is {model.digest} now, not {source['digest']}; start the job again")
    folder = job.folder / "source" / model.name  # a SavedModel is named as its folder
    files = registry.download(model, folder)
    return model, str(folder if model.kind in ("saved-model", "folder") else files[0])


def _preprocessing(said: Mapping[str, Any] | None) -> Preprocessing | Pixels | None:
    if said is None:
        return None
    from fieldwave.frontends import Pixels
    from fieldwave.preprocess import Preprocessing

    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    kind = Pixels if values.pop("kind") == "Pixels" else Preprocessing
    return kind(**values)


def _options(said: Mapping[str, Any] | None) -> Options | None:
    if said is None:
        return None
    from fieldwave.quantize import Options

    return Options(**said)
