"""What scores images for a command: a service, near or far, or a package on this machine's processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fieldwave.cli import output
from fieldwave.cli.access import Access
from fieldwave.errors import InputError, TensorError

if TYPE_CHECKING:
    from fieldwave.client import PredictionClient
    from fieldwave.devices import Device
    from fieldwave.package import Package
    from fieldwave.postprocess import Detector

__all__ = ["Scorer", "open_scorer"]

_PATIENCE, _SIMULATED_PATIENCE = 10.0, 600.0


class Scorer(Protocol):
    """A network that takes images.

    Attributes:
        name: for messages.
        labels: of its classes; empty where they are not known.
        detector: how its outputs become objects; None where it does not detect.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def detector(self) -> Detector | None: ...

    def score(self, data: bytes, input_name: str, outputs: Sequence[str]) -> dict[str, Any]:
        """The outputs by name, all where none is named: arrays whose batch is 1."""


@contextlib.contextmanager
def open_scorer(
    name: str, timeout: float | None, access: Access, on: str = "", device: str = "", model: str = ""
) -> Iterator[Scorer]:
    """The scorer that a user means by ``name``: a package's file, HOST:PORT, or a service of this workspace.

    Args:
        timeout: seconds for each call to a service; as long as is good for its device where None.
        access: how to be let in at HOST:PORT.
        on: the compute target that a service of the workspace runs on.
        device: what runs a package's file; the processor where it is empty.
        model: of a service that has several; the first where it is empty.

    Raises:
        InputError: ``access`` says something, but ``name`` is no HOST:PORT; ``device`` does, but it is no file;
            ``model`` does, but it is one.
        NotFoundError: there is no such package or service.
        ServiceError: the service is not available.
    """
    if name.endswith(".zip") or Path(name).is_file():
        from fieldwave.devices import lease_device
        from fieldwave.package import read_package

        access.check_unused(name)
        if model:
            raise InputError(f"{name} is a package, which has one network; leave out --model {model}")
        package = read_package(name)
        with contextlib.ExitStack() as opened:
            with output.progress() as progress:
                options = {"progress": progress} if device.startswith("board:") else {}
                runner = opened.enter_context(lease_device(device or "cpu", "predict", **options))
                runner.load(package)
            yield _Local(name, package, runner)
    else:
        if device:
            raise InputError(f"{name} is a service and has its device already; leave out --device {device}")
        client, patience = _client(name, access, on, model)
        with client:
            yield _remote(name, client, timeout or patience)


@dataclass(frozen=True)
class _Remote:
    name: str
    client: PredictionClient
    timeout: float
    labels: tuple[str, ...]
    detector: Detector | None

    def score(self, data: bytes, input_name: str, outputs: Sequence[str]) -> dict[str, Any]:
        scores = self.client.score_numpy_arrays({input_name: [data]}, list(outputs) or None, self.timeout)
        if outputs:
            return dict(zip(outputs, scores, strict=True))
        return scores if isinstance(scores, dict) else {"": scores}


@dataclass(frozen=True)
class _Local:
    name: str
    package: Package
    device: Device

    @property
    def labels(self) -> tuple[str, ...]:
        return self.package.manifest.labels

    @property
    def detector(self) -> Detector | None:
        return self.package.detector

    def score(self, data: bytes, input_name: str, outputs: Sequence[str]) -> dict[str, Any]:
        inputs = self.package.image_input(data)
        (spec,) = (spec for spec in self.package.manifest.inputs if spec.name in inputs)
        if input_name not in spec.names() and input_name != "images":
            raise InputError(f"unknown input {input_name!r}; {self.name} takes {', '.join(spec.names())}")
        found = self.device.run(inputs)
        names = {name: spec.name for spec in self.package.manifest.outputs for name in spec.names()}
        for name in outputs:
            if name not in names:
                raise InputError(f"unknown output {name!r}; {self.name} gives {', '.join(found)}")
        return {name: found[names[name]] for name in outputs} if outputs else found


def _client(name: str, access: Access, on: str, model: str) -> tuple[PredictionClient, float]:
    """A client of the service, and how long one image may take, in seconds."""
    if ":" in name:
        return access.client(name, model), _PATIENCE
    access.check_unused(name)
    from fieldwave.deploy import target
    from fieldwave.workspace import Workspace

    found = target(Workspace.find(), on).get(name)
    patience = _SIMULATED_PATIENCE if found.device.startswith(("rtl", "board:sim")) else _PATIENCE
    return found.wait(patience).client(model), patience


def _remote(name: str, client: PredictionClient, timeout: float) -> _Remote:
    try:
        return _Remote(name, client, timeout, client.labels(timeout), client.detector(timeout))
    except TensorError:  # a service of another make: it says nothing of labels
        return _Remote(name, client, timeout, (), None)
