"""``azureml.core.Workspace``: the workspace of the folder that the script runs in."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.compat.azureml.exceptions import UserErrorException
from fieldwave.compat.azureml.explanation import explain
from fieldwave.workspace import Workspace as Native

if TYPE_CHECKING:
    from fieldwave.compat.azureml.core.compute import ComputeTarget
    from fieldwave.compat.azureml.core.image import Image
    from fieldwave.compat.azureml.core.model import Model
    from fieldwave.compat.azureml.core.webservice import Webservice

__all__ = ["Workspace"]

_MARK = "fieldwave.toml"
_FOLDERS = (".azureml", "aml_config", ".")
_FILES = ("config.json", "project.json")
_KEYS = ("subscription_id", "resource_group", "workspace_name")
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Workspace:
    """A workspace: here a folder. Subscription and resource group are what ``config.json`` says, and mean nothing.

    Parameters:
        subscription_id, resource_group: kept for scripts that print them.
        workspace_name: what the workspace is called.
    """

    def __init__(
        self,
        subscription_id: str = _NOBODY,
        resource_group: str = "fieldwave",
        workspace_name: str = "",
        auth: object = None,
        **ignored: object,
    ) -> None:
        self._native = _native(Path.cwd(), workspace_name)
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.name = workspace_name or self._native.name

    @classmethod
    def from_config(
        cls, path: str | os.PathLike[str] | None = None, auth: object = None, **ignored: object
    ) -> Workspace:
        """The workspace that the working directory, or ``path``, lies in; one is made where there is none.

        Raises:
            UserErrorException: ``path`` is no file and no folder, or ``config.json`` cannot be read.
        """
        explain("Workspace.from_config()", "fieldwave.Workspace.find()")
        start = Path(path or ".").absolute()
        if not start.exists():
            raise UserErrorException(f"there is no file or folder {path}; name the workspace's")
        config = start if start.is_file() else _config(start)
        said = _read(config) if config else {}
        folder = start if config is None else config.parent
        if config is not None and folder.name in _FOLDERS:
            folder = folder.parent
        workspace = cls.__new__(cls)
        workspace._native = _native(folder, said.get("workspace_name", ""))
        workspace.subscription_id = said.get("subscription_id", _NOBODY)
        workspace.resource_group = said.get("resource_group", "fieldwave")
        workspace.name = said.get("workspace_name") or workspace._native.name
        return workspace

    @classmethod
    def get(
        cls, name: str, subscription_id: str = _NOBODY, resource_group: str = "fieldwave", **ignored: object
    ) -> Workspace:
        """The workspace of this folder, under that name."""
        return cls(subscription_id, resource_group, name)

    @classmethod
    def create(
        cls, name: str, subscription_id: str = _NOBODY, resource_group: str = "fieldwave", **ignored: object
    ) -> Workspace:
        """The same as :meth:`get`: a workspace is a folder, and made when it is not there."""
        return cls(subscription_id, resource_group, name)

    @property
    def native(self) -> Native:
        """The workspace itself, for what Fieldwave can and the retired service could not."""
        return self._native

    @property
    def location(self) -> str:
        """Where it is."""
        return self._native.settings.location or "local"

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write ``.azureml/config.json``."""
        folder = Path(path or self._native.root) / ".azureml"
        folder.mkdir(parents=True, exist_ok=True)
        said = dict(zip(_KEYS, (self.subscription_id, self.resource_group, self.name), strict=True))
        (folder / (file_name or "config.json")).write_text(json.dumps(said, indent=4) + "\n", encoding="utf-8")

    def get_details(self) -> dict[str, Any]:
        """What it is; the container registry is the workspace's own store."""
        return {
            "id": "/".join(
                ("/subscriptions", self.subscription_id, "resourceGroups", self.resource_group, self.name)
            ),
            "name": self.name,
            "location": self.location,
            "containerRegistry": self._native.store.address,
        }

    @property
    def models(self) -> dict[str, Model]:
        """The latest version of each model, by name."""
        from fieldwave.compat.azureml.core.model import Model

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def images(self) -> dict[str, Image]:
        """The latest version of each image, by name."""
        from fieldwave.compat.azureml.core.image import Image

        return {image.name: image for image in Image.list(self)}

    @property
    def webservices(self) -> dict[str, Webservice]:
        """The services, by name."""
        from fieldwave.compat.azureml.core.webservice import Webservice

        return {service.name: service for service in Webservice.list(self)}

    @property
    def compute_targets(self) -> dict[str, ComputeTarget]:
        """The compute targets, by name."""
        from fieldwave.compat.azureml.core.compute import ComputeTarget

        return {target.name: target for target in ComputeTarget.list(self)}

    def __repr__(self) -> str:
        return (
            f"Workspace.create(name={self.name!r}, subscription_id={self.subscription_id!r}, "
            f"resource_group={self.resource_group!r})"
        )


def _native(folder: Path, name: str) -> Native:
    """The workspace that a folder lies in; made there, and said so, where it lies in none."""
    found = Native.find(folder)
    if (found.root / _MARK).is_file():
        return found
    print(f"fieldwave: a workspace is made in {folder}: {_MARK}", file=sys.stderr)
    return Native.create(folder, name=name)


def _config(start: Path) -> Path | None:
    """The nearest ``config.json``, here or above."""
    for folder in (start, *start.parents):
        for place in _FOLDERS:
            for file in _FILES:
                if (folder / place / file).is_file() and _read(folder / place / file):
                    return folder / place / file
    return None


def _read(path: Path) -> dict[str, str]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(said.get("Scope"), str):  # /subscriptions/S/resourceGroups/G/.../workspaces/W
            parts = said["Scope"].strip("/").split("/")
            pairs = {key.lower(): value for key, value in zip(parts[::2], parts[1::2], strict=False)}
            said = dict(
                zip(_KEYS, (pairs[key] for key in ("subscriptions", "resourcegroups", "workspaces")), strict=True)
            )
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise UserErrorException(f"{path} cannot be read as a workspace's settings: {error}") from None
    return {key: str(said[key]) for key in _KEYS if key in said}
