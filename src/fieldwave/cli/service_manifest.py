"""``fieldwave services manifest``: what a service is made of on a cluster, for those who apply it themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Quiet
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.compute import Compute
    from fieldwave.deploy.kubernetes import ClusterSpec
    from fieldwave.deploy.kubernetes.objects import Objects

__all__ = ["EPILOG", "manifest"]

EPILOG = examples(
    "fieldwave services manifest digits --image registry.example/digits@sha256:0123... --set tls_secret=certs",
    "fieldwave services manifest digits --image digits:3 --open | kubectl apply --server-side -f -",
    "fieldwave services manifest digits --on lab",
)


def manifest(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The service's name.")],
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="NAME[:VERSION] of the workspace, or REGISTRY/NAME@sha256:...")
    ] = "",
    on: Annotated[str, typer.Option("--on", metavar="COMPUTE", help="For this cluster, or what runs there.")] = "",
    device: Annotated[str, typer.Option(help="What computes: cpu, board.")] = "cpu",
    replicas: Annotated[int, typer.Option("--replicas", "-r", help="How many pods, each with a device.")] = 1,
    secure: Annotated[bool, typer.Option("--secure/--open", help="Whether callers need a key.")] = True,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="cpus=4, gateway=edge/public, ...")
    ] = None,
    keys: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Keys that the Secret is to hold.")] = None,
    version: Annotated[str, typer.Option("--kubernetes", metavar="VERSION", help="For such a server.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of YAML.")] = False,
    quiet: Quiet = False,
) -> None:
    """Print the Kubernetes manifest of a service.

    Without an image: of the service that runs on the cluster. The keys are in it only if their folder is named.
    """
    from fieldwave.deploy.kubernetes import EVERYTHING, Offers, make_manifest, to_yaml
    from fieldwave.deploy.kubernetes.objects import spec_of
    from fieldwave.deploy.kubernetes.offers import parse_version
    from fieldwave.deploy.kubernetes.settings import check_encrypted, parse_settings, spec_with
    from fieldwave.keys import read_keys

    said = parse_settings(settings or [])
    registry = said.pop("registry", "")
    cluster = _cluster(on) if on else None
    if image:
        place = cluster.compute if cluster else None
        spec = _described(name, image, registry, place, device=device, replicas=replicas, keys=secure)
    elif cluster:
        spec = spec_of(cluster.deployment(name))
    else:
        raise InputError("name an image (--image), or the cluster on which the service runs (--on)")
    spec = spec_with(spec, said)
    check_encrypted(spec)
    offers = cluster.offers if cluster else EVERYTHING
    made = make_manifest(
        spec, Offers(parse_version(version)) if version else offers, read_keys(keys) if keys else None
    )
    if as_json:
        output.to_json({"apiVersion": "v1", "kind": "List", "items": list(made.objects)})
    else:
        output.data(to_yaml(made.objects).rstrip("\n"))
    for line in made.warnings:
        output.note(line)
    if spec.keys and not keys:
        output.note(
            f"the keys are not in it: fieldwave keys create FOLDER, and kubectl create secret generic "
            f"{spec.keys_secret} --from-file=FOLDER"
        )
    output.hint("kubectl apply --server-side -f FILE")


def _described(name: str, image: str, registry: str, place: Compute | None, **settings: Any) -> ClusterSpec:
    from fieldwave.deploy.kubernetes import ClusterSpec
    from fieldwave.deploy.kubernetes.image import described, reference_of
    from fieldwave.workspace import Workspace

    if place is not None:
        settings |= {
            "namespace": place.namespace,
            "resource": place.resource,
            "node_selector": place.node_selector,
        }
    if "@sha256:" in image:
        return ClusterSpec(name, image, **settings)
    workspace = Workspace.find()
    found = workspace.images.get(image)
    one = described(found, reference_of(found, workspace, registry))
    said = {key: getattr(one, key) for key in ("package", "model", "network", "built", "architecture")}
    return ClusterSpec(name, one.reference, **said, **settings)


def _cluster(on: str) -> Objects:
    from fieldwave.compute import Computes
    from fieldwave.deploy.kubernetes.objects import Objects
    from fieldwave.workspace import Workspace

    compute = Computes(Workspace.find()).get(on)
    if compute.kind != "kubernetes":
        raise InputError(f"compute target {on!r} is of kind {compute.kind}; manifests are for clusters")
    return Objects(compute)
