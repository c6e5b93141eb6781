"""The build of an image as a job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fieldwave.jobs.begin import start
from fieldwave.jobs.operation import Operation
from fieldwave.workspace import Workspace

if TYPE_CHECKING:
    from fieldwave.images import Image
    from fieldwave.registry import RegisteredModel

__all__ = ["build_image"]

_WORK = "fieldwave.jobs.image_work"


def build_image(
    package: str | os.PathLike[str] | RegisteredModel,
    name: str,
    *,
    base: str = "",
    tags: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    architecture: str = "amd64",
    wheels: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    workspace: Workspace | None = None,
) -> Operation[Image]:
    """Begin to build an image, and return at once.

    The job runs in a process of its own and outlives the caller; its result is the image, whose tag ``job`` is the
    job. What it stands on is made first, where the store has no base and none is named. ::

        operation = build_image(registered, "digits", tags={"team": "a"})
        operation.wait_for_completion(show_output=True)
        image = operation.result

    Args:
        package: a registered model of the kind ``package``, or a file, which must stay until the job has ended.
        name, tags, labels, architecture, wheels: as `fieldwave.images.Images.build` takes them.
        base: the same; that of the workspace's settings if not given.
        timeout: seconds after which the job is ended; None for no end.
        workspace: where model, image and job are; found from the working directory if not given.

    Raises:
        InputError: a name, tag or label outside the grammar, or a model that is no package.
        JobError: the job did not start.
        StorageError: its folder cannot be written.
    """
    from fieldwave.errors import InputError
    from fieldwave.images.image import check_labels, check_name
    from fieldwave.registry import RegisteredModel
    from fieldwave.registry.model import Notes, check_notes

    workspace = workspace or Workspace.find()
    notes = check_notes(Notes(dict(tags or {})))
    check_labels(labels or {})
    source: dict[str, Any]
    if isinstance(package, RegisteredModel):
        if package.kind != "package":
            raise InputError(
                f"model {package.id} is of the kind {package.kind!r}, and an image is made of a package"
            )
        source, about = {"model": package.id, "digest": package.digest}, package.id
    else:
        about = os.fspath(package)
        source = {"path": os.path.abspath(about)}
    arguments = {
        **source,
        "name": check_name(name),
        "base": _absolute(base) or workspace.base,
        "tags": dict(notes.tags),
        "labels": dict(labels or {}),
        "architecture": architecture,
        "wheels": None if wheels is None else os.path.abspath(wheels),
    }
    uses = [f"{package.id}@{package.digest}"] if isinstance(package, RegisteredModel) else []
    return start(workspace, kind="image", work=_WORK, about=about, arguments=arguments, uses=uses, timeout=timeout)


def _absolute(base: str) -> str:
    """A path among the forms that a base is given in, as the job finds it from its own working directory."""
    path = base.partition(":")[0]
    return os.path.abspath(base) if os.path.isfile(base) or ("/" in base and os.path.exists(path)) else base
