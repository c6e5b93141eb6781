"""PyTorch networks: a module, or a program of ``torch.export``, converted by torch's own exporter."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fieldwave.errors import InputError, MissingExtraError, ModelError, NotFoundError
from fieldwave.frontends.finish import Exported
from fieldwave.frontends.onnx_file import export_model
from fieldwave.frontends.pixels import Pixels

__all__ = ["export_module", "export_program_file", "quiet_torch"]

_OPSET = 18
"""The oldest that torch's exporter writes without a conversion of its own."""


def export_module(module: Any, outputs: tuple[str, ...], pixels: Pixels, name: str) -> Exported:
    """A ``torch.nn.Module`` that takes images, or an ``ExportedProgram``.

    Images are [N, channels, height, width], or [N, height, width, channels] where the module refuses the former.

    The module's mode (training or not) is as before afterwards.

    Raises:
        InputError: no size is given for a module.
        ModelError: torch cannot export it; the message names the operator.
        MissingExtraError: onnxscript is not installed.
    """
    with quiet_torch() as torch:
        if isinstance(module, torch.export.ExportedProgram):
            return _converted(torch, module, outputs, name)
        if pixels.size is None:
            raise InputError(f"a {type(module).__name__} does not say the size of its image: give size=224")
        channels = _channels(torch, module, pixels)
        training = module.training
        module.eval()
        try:
            program = _traced(torch, module, [(2, channels, *pixels.size), (2, *pixels.size, channels)])
        finally:
            module.train(training)
        return _converted(torch, program, outputs, name)


def _traced(torch: Any, module: Any, shapes: list[tuple[int, ...]]) -> Any:
    """The exported program for images of the first shape that the module takes."""
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    refusal: ModelError | None = None
    for shape in shapes:
        try:
            return torch.export.export(module, (torch.zeros(shape),), dynamic_shapes=dynamic)
        # What tracing a module raises is whatever its code raises.
        except Exception as error:
            line = f"torch.export cannot take {type(module).__name__} for images {list(shape)}: {_line(error)}"
            refusal = refusal or ModelError(line)
    assert refusal is not None
    raise refusal


def export_program_file(path: Path, outputs: tuple[str, ...], name: str) -> Exported:
    """A file of ``torch.export.save``, read without executing what it may hold.

    ``torch.export.load`` unpickles parts of the file. Those parts are read first by torch's restricted unpickler,
    which makes tensors and plain values only; a file that needs more is refused.

    Raises:
        NotFoundError: there is no such file.
        ModelError: it is no such file, or holds a pickle that runs code.
        MissingExtraError: PyTorch or onnxscript is not installed.
    """
    if not path.is_file():
        raise NotFoundError(f"no model {path}; check the path")
    with quiet_torch() as torch:
        _check_pickles(torch, path)
        try:
            program = torch.export.load(path)
        except Exception as error:
            raise ModelError(f"{path} is no program of torch.export.save: {_line(error)}") from error
        return _converted(torch, program, outputs, name)


def _converted(torch: Any, program: Any, outputs: tuple[str, ...], name: str) -> Exported:
    try:
        import onnxscript  # noqa: F401  # the exporter needs it
    except ImportError as error:
        raise MissingExtraError("converting PyTorch models", "torch") from error
    try:
        exported = torch.onnx.export(program, (), dynamo=True, opset_version=_OPSET, verbose=False)
    except Exception as error:
        raise ModelError(_refusal(error)) from error
    return export_model(exported.model_proto, None, outputs, name)


def _refusal(error: BaseException) -> str:
    """What the exporter said at the bottom, led by the node that it was translating."""
    node, cause = "the network", error
    while True:
        found = re.search(r"translating node %(\S+)", str(cause))
        target = re.search(r"call_function\[target=(?:torch\.ops\.)?([\w.]+)", str(cause))
        if found:
            node = f"node {found[1]!r} ({target[1] if target else 'call'})"
        if cause.__cause__ is None:
            return f"{node} cannot be converted to ONNX: {_line(cause)}"
        cause = cause.__cause__


def _channels(torch: Any, module: Any, pixels: Pixels) -> int:
    """Of the first convolution in the module; of a colour image where there is none."""
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            return int(part.in_channels)
    return 1 if pixels.order == "GRAY" else 3


def _check_pickles(torch: Any, path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith("_config.json"):
                    config = json.loads(archive.read(entry)).get("config", {})
                    for item, payload in config.items():
                        if payload.get("use_pickle"):
                            _check_pickle(
                                torch, path, item, archive, f"{entry.rpartition('/')[0]}/{payload['path_name']}"
                            )
                elif entry.endswith(".pt"):
                    _check_pickle(torch, path, entry, archive, entry)
    except (zipfile.BadZipFile, json.JSONDecodeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is no program of torch.export.save: {_line(error)}") from error


def _check_pickle(torch: Any, path: Path, item: str, archive: zipfile.ZipFile, entry: str) -> None:
    data = archive.read(entry)
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    # The restricted unpickler's refusal, or whatever damaged bytes lead to.
    except Exception as error:
        raise ModelError(
            f"{path}: {item!r} is a pickle that is more than tensors and is not executed; "
            "export the network to .onnx instead"
        ) from error


@contextlib.contextmanager
def quiet_torch() -> Iterator[Any]:
    """The ``torch`` module; the exporter's notes and warnings are held back meanwhile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torch
            import torch.export
            import torch.onnx
        except ImportError as error:
            raise MissingExtraError("reading PyTorch models", "torch") from error
        logger = logging.getLogger("torch")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        for child in ("torch.onnx", "torch.fx", "torch.export"):
            logging.getLogger(child).setLevel(logging.NOTSET)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # torch.export prints the graph that it gives up
                yield torch
        finally:
            logger.setLevel(level)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__
