"""``azureml.core.model.Model``: a registered model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldwave.compat.azureml.core.model_facts import LEGACY, ModelFacts
from fieldwave.compat.azureml.core.naming import filters, native_name, texts, translated
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import ModelNotFoundException, WebserviceException
from fieldwave.compat.azureml.explanation import explain
from fieldwave.errors import NotFoundError
from fieldwave.registry import RegisteredModel, Registry

__all__ = ["Model"]

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-\._]{0,254}")
Filters = Sequence[str | Sequence[str]] | None


class Model(ModelFacts):
    """One version of a registered model; the latest where none is named.

    Parameters:
        workspace: where it is.
        name, version: which; or both in ``id``, as ``name:version``.
        tags, properties: filters that it must meet.

    Raises:
        ModelNotFoundException: there is none.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Filters = None,
        properties: Filters = None,
        version: int | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,
        **ignored: object,
    ) -> None:
        explain("Model(workspace, name=...)", 'workspace.registry.get("NAME:VERSION")')
        wanted, _, number = (id or name or "").partition(":")
        number = number or (str(version) if version is not None else "")
        found = Model.list(workspace, wanted or None, tags, properties, model_framework=model_framework)
        found = [model for model in found if number in ("", str(model.version))]
        if not wanted or not found:
            raise ModelNotFoundException(f"Model {id or name!r} not found")
        self._become(workspace, found[-1]._model)

    @classmethod
    def register(
        cls,
        workspace: Workspace,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
        description: str | None = None,
        datasets: object = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: object = None,
        **ignored: object,
    ) -> Model:
        """Store a file or folder as the next version of a model.

        Raises:
            WebserviceException: a name outside the grammar.
            FileNotFoundError: there is nothing at ``model_path``.
        """
        explain(
            "Model.register(workspace=..., model_path=..., model_name=...)",
            'workspace.registry.register(PATH, "NAME")',
        )
        if not _NAME.fullmatch(model_name):
            raise WebserviceException(
                f"Model name {model_name!r} is not valid: letters, digits, '-', '.' and '_', "
                "beginning with a letter or digit, at most 255"
            )
        path = Path(model_path).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"Error, provided model path {model_path!r} cannot be found")
        print(f"Registering model {model_name}")
        legacy = {
            "framework": model_framework,
            "framework_version": model_framework_version,
            "name": model_name if model_name != native_name(model_name) else None,
        }
        said = texts(properties) | {LEGACY + key: value for key, value in legacy.items() if value}
        with translated(WebserviceException):
            registered = workspace.native.registry.register(
                path, native_name(model_name), tags=texts(tags), properties=said, description=description or ""
            )
        return cls._of(workspace, registered)

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Filters = None,
        properties: Filters = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: str | None = None,
    ) -> list[Model]:
        """The models that fit all filters."""
        wanted = filters(properties) + ([f"{LEGACY}framework={model_framework}"] if model_framework else [])
        with translated(WebserviceException):
            found = workspace.native.registry.find(
                native_name(name) if name else None, tags=filters(tags), properties=wanted, latest=latest
            )
        return [Model._of(workspace, model) for model in found]

    @staticmethod
    def deploy(*arguments: object, **options: object) -> None:
        """Not provided; nor are ``profile`` and ``package``.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "Model.deploy, profile and package are not provided: convert the model (AccelOnnxConverter), "
            "build an image (Image.create), deploy it (Webservice.deploy_from_image)"
        )

    profile = package = deploy

    @classmethod
    def _of(cls, workspace: Workspace, model: RegisteredModel) -> Model:
        made = cls.__new__(cls)
        made._become(workspace, model)
        return made

    def _become(self, workspace: Workspace, model: RegisteredModel) -> None:
        self.workspace = workspace
        self._model = model

    def add_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags."""
        self.update_tags_properties(add_tags=tags)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        self.update_tags_properties(remove_tags=tags)

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Add properties, which stay."""
        self.update_tags_properties(add_properties=properties)

    def update_tags_properties(
        self,
        add_tags: Mapping[str, object] | None = None,
        remove_tags: Sequence[str] | None = None,
        add_properties: Mapping[str, object] | None = None,
    ) -> None:
        """Change what is said of it.

        Raises:
            WebserviceException: a property is there already, or a tag to remove is not.
        """
        with translated(WebserviceException):
            self._model = self._registry.update(
                self._model,
                add_tags=texts(add_tags),
                remove_tags=remove_tags or (),
                add_properties=texts(add_properties),
            )

    def update(
        self, tags: Mapping[str, object] | None = None, description: str | None = None, **ignored: object
    ) -> None:
        """Replace the tags, or the description."""
        with translated(WebserviceException):
            old = [] if tags is None else [key for key in self._model.tags if key not in tags]
            self._model = self._registry.update(
                self._model, add_tags=texts(tags), remove_tags=old, description=description
            )

    def download(self, target_dir: str | os.PathLike[str] = ".", exist_ok: bool = False, **ignored: object) -> str:
        """Write its files into a folder; the path of what was written.

        Raises:
            WebserviceException: a file is there already, and ``exist_ok`` is false.
        """
        explain("model.download(target_dir)", "workspace.registry.download(model, FOLDER)")
        with translated(WebserviceException):
            paths = self._registry.download(self._model, target_dir, overwrite=exist_ok)
        return str(paths[0] if len(paths) == 1 else Path(target_dir))

    def delete(self) -> None:
        """Delete this version.

        Raises:
            WebserviceException: something uses it; the message names all that do.
        """
        from fieldwave.deploy import users

        explain("model.delete()", "workspace.registry.delete(model)")
        native = self.workspace.native
        # Natively an image is complete without its model; the retired service insisted on the order.
        reference = f"{self._model.id}@{self._model.digest}"
        images = [f"image {image.id}" for image in native.images.find() if image.model == reference]
        serving = users(native)
        try:
            with translated(WebserviceException):
                Registry(native.store, users=lambda model: [*images, *serving(model)]).delete(self._model)
        except WebserviceException as error:
            if isinstance(error.__cause__, NotFoundError):
                raise ModelNotFoundException(error.message) from error.__cause__
            raise
