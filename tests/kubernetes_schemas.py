"""Kubernetes' own schemas, strict ones, which know every field: what they do not say is an error."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_DEFINITIONS = "https://kubernetes.io/api/_definitions.json"
VERSIONS = tuple(f"1.{minor}" for minor in range(27, 38))


def errors(document: dict[str, Any], version: str) -> list[str]:
    """Everything that a server of that version would find wrong with the form of the document."""
    validator = _validator(document["apiVersion"], document["kind"], version)
    found = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    return [f"{document['kind']} {error.json_path}: {error.message}" for error in found]


@functools.cache
def _folder(version: str) -> Path:
    found = importlib.util.find_spec("kubernetes_validate")  # not imported: only its data is used
    assert found is not None and found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "kubernetes-json-schema" / f"v{version}.0-local-strict"


@functools.lru_cache(maxsize=1)
def _definitions(version: str) -> Registry[Any]:
    content = json.loads((_folder(version) / "_definitions.json").read_bytes())
    return Registry().with_resource(_DEFINITIONS, Resource(content, DRAFT202012))


@functools.cache
def _validator(api_version: str, kind: str, version: str) -> jsonschema.protocols.Validator:
    if api_version.startswith("gateway.networking.k8s.io/"):
        schema = json.loads((Path(__file__).parent / "data" / "grpcroute.schema.json").read_bytes())
        return jsonschema.Draft202012Validator(schema)
    group, _, number = api_version.rpartition("/")
    name = "-".join([kind.lower(), *([group.split(".")[0]] if group else []), number])
    schema = json.loads((_folder(version) / f"{name}.json").read_bytes())
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))
