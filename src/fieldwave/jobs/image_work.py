"""What the worker of an image's build does: make a base where there is none, build, keep the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldwave.errors import ConflictError, NotFoundError
from fieldwave.jobs.job import Job
from fieldwave.jobs.state import Spec
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.images import Image
    from fieldwave.registry import RegisteredModel

__all__ = ["result", "run", "settle"]


def run(job: Job) -> str:
    """See `Work`."""
    from fieldwave.images import find_base
    from fieldwave.images.runtime import runtime

    said = job.arguments
    images = job.workspace.images
    package = _model(job) if "model" in said else said["path"]
    store, wheels = job.workspace.store, Path(said["wheels"]) if said["wheels"] else None
    # What takes long is done while the job can still be cancelled: the next build finds it.
    base = find_base(store, said["base"], architecture=said["architecture"], progress=job.progress)
    runtime(store, base, wheels, log=job.log, progress=job.progress)
    job.commit()
    image = images.build(
        package,
        said["name"],
        base=base.id,
        tags={**said["tags"], "job": job.id},
        labels=said["labels"],
        architecture=said["architecture"],
        wheels=wheels,
        log=job.log,
        progress=job.progress,
    )
    return f"{image.id}@{image.digest}"


def settle(workspace: Workspace, spec: Spec) -> str:
    """See `Work`."""
    for image in workspace.images.find(spec.arguments["name"], tags=[f"job={spec.id}"]):
        return f"{image.id}@{image.digest}"
    return ""


def result(workspace: Workspace, reference: str) -> Image:
    """See `Work`."""
    name, _, digest = reference.partition("@")
    image = workspace.images.get(name)
    if image.digest != digest:
        raise NotFoundError(f"image {name} is {image.digest} now, not the {digest} that the job made")
    return image


def _model(job: Job) -> RegisteredModel:
    name, digest = job.arguments["model"], job.arguments["digest"]
    model = job.workspace.registry.get(name)
    if model.digest != digest:
        raise ConflictError(f"model {model.id} is {model.digest} now, not {digest}; start the job again")
    return model
