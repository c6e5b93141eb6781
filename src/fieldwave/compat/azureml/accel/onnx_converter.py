"""``AccelOnnxConverter``: a registered TensorFlow model becomes a registered package."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldwave.compat.azureml.core.model import Model
from fieldwave.compat.azureml.core.naming import native_name, translated
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import WebserviceException
from fieldwave.compat.azureml.explanation import explain

if TYPE_CHECKING:
    from fieldwave.jobs import Operation
    from fieldwave.registry import RegisteredModel

__all__ = ["AccelOnnxConverter", "ModelConvertOperation", "converted_name"]

_NPU = "arria10-1150"
"""The configuration for the chip that the retired service had."""
_LONGEST = 32


class ModelConvertOperation:
    """A conversion on its way; it goes on when the script ends."""

    def __init__(self, workspace: Workspace, operation: Operation[RegisteredModel]) -> None:
        self.workspace = workspace
        self.operation_id = operation.id
        self._operation = operation

    def wait_for_completion(self, show_output: bool = False, timeout: float | None = None) -> bool:
        """Wait until it has ended; whether it succeeded. Why it did not is printed."""
        explain("convert_request.wait_for_completion()", "operation.wait_for_completion(show_output=True)")
        succeeded = self._operation.wait_for_completion(show_output, timeout)
        if not succeeded and not show_output:
            print(f"{self._operation.state}: {self._operation.error}")
        return succeeded

    @property
    def result(self) -> Model:
        """The converted model.

        Raises:
            ValueError: it is not there, or not there yet.
        """
        explain("convert_request.result", "operation.result")
        state = self._operation.state
        if state in ("NotStarted", "Running"):
            raise ValueError("Model conversion is not complete")
        if state != "Succeeded":
            raise ValueError(f"Model conversion is not successful: {self._operation.error}")
        return Model._of(self.workspace, self._operation.result)

    @property
    def get_status(self) -> str:
        """``Succeeded``, ``Failed`` or, spelled so, ``InProgess``."""
        return {"Succeeded": "Succeeded", "NotStarted": "InProgess", "Running": "InProgess"}.get(
            self._operation.state, "Failed"
        )


class AccelOnnxConverter:
    """Conversion."""

    @staticmethod
    def convert_tf_model(
        workspace: Workspace,
        source_model: Model | str,
        input_node: str,
        outputs_nodes: str | Sequence[str],
        require_fpga_conversion: bool = True,
    ) -> ModelConvertOperation:
        """Begin to quantize and compile a SavedModel, and return at once.

        Calibrated with the images in the workspace's folder ``calibration``; where there is none, with made ones
        that share the statistics of photographs.

        Args:
            source_model: a registered model, or its id.
            input_node: name of the tensor that takes images.
            outputs_nodes: names of the outputs; also in one text, with commas.
            require_fpga_conversion: fail where the NPU cannot take the network; else the package runs on CPUs.

        Raises:
            NotImplementedError: the model is neither.
            ModelNotFoundException: no such model.
        """
        from fieldwave.jobs import convert

        if isinstance(source_model, str):
            source_model = Model(workspace, id=source_model)
        if not isinstance(source_model, Model):
            raise NotImplementedError("source_model must be a registered model or its id")
        explain(
            "AccelOnnxConverter.convert_tf_model(workspace, model, input, outputs)",
            f'fieldwave.jobs.convert(model, input, outputs, "{_NPU}", calibration=FOLDER)',
        )
        with translated(WebserviceException):
            operation = convert(
                source_model.native,
                input_node,
                outputs_nodes,
                _NPU if require_fpga_conversion else (),
                calibration=_calibration(workspace),
                name=converted_name(source_model),
                workspace=workspace.native,
            )
        return ModelConvertOperation(workspace, operation)


def converted_name(model: Model) -> str:
    """The name under which a model's conversion is registered."""
    version = str(model.version)
    return native_name(f"{model.name[: _LONGEST - 11 - len(version)]}.{version}.accelonnx")


def _calibration(workspace: Workspace) -> Path:
    """The folder of images to calibrate with."""
    own = workspace.native.root / "calibration"
    if own.is_dir():
        return own
    from fieldwave.zoo.scenes import dead_leaves

    made = workspace.native.create_folder("azureml") / "calibration"
    if not made.is_dir():
        print(f"fieldwave: there is no folder {own} of photographs to calibrate with, made images are taken")
        _write_images(made, dead_leaves(0, 16, (320, 320, 3)))
    return made


def _write_images(folder: Path, images: NDArray[np.uint8]) -> None:
    """The images as PNG files; the folder appears with all of them."""
    from PIL import Image

    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    draft.mkdir(parents=True)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(draft / f"{index:02}.png")
    os.rename(draft, folder)
