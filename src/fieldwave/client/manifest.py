"""What a Fieldwave service says about its package: ``manifest.json``, read without the package's own room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from fieldwave.errors import InputError, ServiceError
from fieldwave.postprocess import Detector, FeatureMap
from fieldwave.wire.messages import GetModelMetadataResponse, StringValue
from fieldwave.wire.methods import MANIFEST_FIELD

__all__ = ["detector_of", "labels_of", "read_manifest"]


def read_manifest(data: bytes, target: str) -> dict[str, Any]:
    """Read the manifest in a ``GetModelMetadataResponse`` from ``target``.

    Raises:
        ServiceError: it is none.
    """
    text = StringValue()
    try:
        GetModelMetadataResponse.FromString(data).metadata[MANIFEST_FIELD].Unpack(text)
        manifest = json.loads(text.value)
    except (DecodeError, ValueError):
        manifest = None
    if not isinstance(manifest, dict):
        raise ServiceError(f"{target} sent a manifest that cannot be read")
    return manifest


def labels_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes; none where the manifest has none."""
    return tuple(map(str, manifest.get("labels") or ()))


def detector_of(manifest: Mapping[str, Any], target: str) -> Detector | None:
    """How the outputs become objects; None where the network does not detect.

    Raises:
        ServiceError: ``target`` says it in a way that cannot be read.
    """
    section = manifest.get("detection")
    if section is None:
        return None
    try:
        maps = tuple(FeatureMap(**_with_tuples(one)) for one in section["maps"])
        return Detector(**_with_tuples(section) | {"maps": maps})
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise ServiceError(f"{target} sent a manifest whose detection cannot be read: {error}") from None


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
