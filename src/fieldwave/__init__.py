"""Fieldwave: trained networks on FPGAs, served at the lowest latency a chip can give.

Every step of the road is one call here and one command in the shell::

    made = fieldwave.convert("resnet50", weights="random:0", calibration="photos/", output="rn50.zip")
    service = fieldwave.LocalTarget().deploy("rn50.zip", name="rn50")
    with service.client() as client:
        scores = client.score_file("snowleopard.jpg")

Names are imported when they are first used, so that ``import fieldwave`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fieldwave.version import __version__

if TYPE_CHECKING:
    from fieldwave.client import AsyncPredictionClient, PredictionClient
    from fieldwave.conversion import convert
    from fieldwave.deploy import LocalTarget
    from fieldwave.devices import open_device
    from fieldwave.jobs import Jobs
    from fieldwave.package import Package, read_package
    from fieldwave.workspace import Workspace

_ROOMS = {
    "AsyncPredictionClient": "fieldwave.client",
    "Jobs": "fieldwave.jobs",
    "LocalTarget": "fieldwave.deploy",
    "Package": "fieldwave.package",
    "PredictionClient": "fieldwave.client",
    "Workspace": "fieldwave.workspace",
    "convert": "fieldwave.conversion",
    "open_device": "fieldwave.devices",
    "read_package": "fieldwave.package",
}

__all__ = [
    "AsyncPredictionClient",
    "Jobs",
    "LocalTarget",
    "Package",
    "PredictionClient",
    "Workspace",
    "__version__",
    "convert",
    "open_device",
    "read_package",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'fieldwave' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
