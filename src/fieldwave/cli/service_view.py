"""Services, and what becomes one, as the commands take and show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldwave.cli import output
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.deploy import Service
    from fieldwave.deploy.target import Source

__all__ = ["coloured_state", "facts_of", "ready_of", "source_of", "tell"]

_COLOURS = {
    "Healthy": "green",
    "Transitioning": "yellow",
    "Unhealthy": "red",
    "Failed": "red",
    "Unschedulable": "red",
}


def source_of(text: str, image: str) -> tuple[Source, str]:
    """What a user means: a package's file, a model of the registry, or an image; and a name for its service."""
    from fieldwave.workspace import Workspace

    if bool(text) == bool(image):
        raise InputError("name either a package or --image NAME:VERSION")
    if "@sha256:" in image:  # of a registry, for a cluster that pulls from it
        return image, image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if image:
        from fieldwave.images import Images

        found = Images(Workspace.find().store).get(image)
        return found, found.name
    if text.endswith(".zip") or Path(text).exists():
        return Path(text), Path(text).stem
    model = Workspace.find().registry.get(text)
    return model, model.name


def tell(service: Service, as_json: bool) -> None:
    if as_json:
        output.to_json(facts_of(service))
        return
    several = f", {ready_of(service)} replicas" if service.replicas.wanted > 1 else ""
    output.data(f"{service.name} is {coloured_state(service)} on {service.address}{several}")
    if service.reason:
        output.note(service.reason)
    for url in service.http[:1]:
        output.note(f"page: {url}/")
    if service.host.endswith(".svc"):
        output.note(
            "that is its name inside the cluster; from here fieldwave predict goes through the API server, "
            f"as does kubectl port-forward deployment/{service.name} {service.port}"
        )


def coloured_state(service: Service) -> str:
    return output.styled(service.state, fg=_COLOURS.get(service.state))


def ready_of(service: Service) -> str:
    return f"{service.replicas.ready}/{service.replicas.wanted}"


def facts_of(service: Service) -> dict[str, Any]:
    first = {name: getattr(service, name) for name in ("name", "state", "reason")}
    replicas = {"wanted": service.replicas.wanted, "ready": service.replicas.ready}
    names = ("address", "host", "port", "pid", "restarts", "network", "device", "package", "model", "image")
    rest = {name: getattr(service, name) for name in (*names, "secure", "created")}
    lists = {name: list(getattr(service, name)) for name in ("addresses", "http", "also")}
    return {**first, "replicas": replicas, **lists, "socket": service.socket, **rest}
