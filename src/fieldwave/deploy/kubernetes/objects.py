"""The objects of services in one namespace of a cluster, by lightkube."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from fieldwave.compute import Compute
from fieldwave.compute.cluster import cluster_errors, connect
from fieldwave.deploy.kubernetes.discovery import discover
from fieldwave.deploy.kubernetes.kinds import ALL, kind
from fieldwave.deploy.kubernetes.labels import MANAGER, SPEC, selector
from fieldwave.deploy.kubernetes.manifest import Manifest
from fieldwave.deploy.kubernetes.offers import Offers
from fieldwave.deploy.kubernetes.pod import CONTAINER
from fieldwave.deploy.kubernetes.spec import ClusterSpec, is_pinned
from fieldwave.errors import ConflictError, NotFoundError

__all__ = ["Objects", "spec_of"]

_OURS = {"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/managed-by": MANAGER}


class Objects:
    """What services are made of, on one compute target.

    Every method may raise a HostError: the cluster cannot be reached, or refused.
    """

    def __init__(self, compute: Compute) -> None:
        self.compute = compute

    @cached_property
    def client(self) -> Any:
        """The ``lightkube.Client``."""
        client = connect(self.compute)
        weakref.finalize(self, client.close)
        return client

    @cached_property
    def offers(self) -> Offers:
        """What the server offers; it is asked once."""
        with cluster_errors(self.compute):
            return discover(self.client)

    def deployment(self, name: str) -> Any:
        """The Deployment of a service. Raises NotFoundError if there is none, or none of Fieldwave's."""
        found = self._get("apps/v1", "Deployment", name)
        if found is None or SPEC not in (found.metadata.annotations or {}):
            raise NotFoundError(f"no service {name!r} on {self.compute.name}; see fieldwave services list")
        return found

    def deployments(self) -> list[Any]:
        """Those of all services, by name."""
        with self._asking():
            found = list(self.client.list(kind("apps/v1", "Deployment"), labels=dict(_OURS)))
        return sorted((one for one in found if SPEC in (one.metadata.annotations or {})), key=_name)

    def pods(self, name: str) -> list[Any]:
        """The pods of a service, by name, those that are going too."""
        with self._asking():
            return sorted(self.client.list(kind("v1", "Pod"), labels=dict(selector(name))), key=_name)

    def check_free(self, name: str) -> None:
        """Raises ConflictError if there is any object, whoever's, that a service of that name would have."""
        for api_version, one in ALL:
            called = f"{name}-keys" if one == "Secret" else name
            if self.offers.has(api_version, one) and self._get(api_version, one, called) is not None:
                raise self._taken(one, called, name)

    def claim(self, service: Mapping[str, Any]) -> None:
        """Create the Service, and with it take the name: of several at the same time one gets it.

        Raises:
            ConflictError: somebody else has it.
        """
        from lightkube.core.exceptions import ApiError

        name = service["metadata"]["name"]
        with self._asking():
            try:
                made = kind("v1", "Service").from_dict(dict(service))
                self.client.create(made, namespace=self.compute.namespace)
            except ApiError as error:
                if error.status.code == 409:
                    raise self._taken("Service", name, name) from None
                raise

    def apply(self, manifest: Manifest) -> None:
        """Server-side apply: what is not said any more goes, what others have set stays."""
        from lightkube.types import PatchType

        with self._asking():
            for one in manifest.objects:
                self.client.patch(
                    kind(one["apiVersion"], one["kind"]),
                    one["metadata"]["name"],
                    one,
                    namespace=self.compute.namespace,
                    patch_type=PatchType.APPLY,
                    field_manager=MANAGER,
                    force=True,
                )

    def prune(self, name: str, manifest: Manifest) -> None:
        """Delete what the service has had and the manifest does not have; its keys stay."""
        wanted = {one["kind"] for one in manifest.objects} | {"Secret"}
        for api_version, one in ALL:
            if one not in wanted:
                self._delete_all(api_version, one, name)

    def merge(self, api_version: str, kind_name: str, name: str, changes: Mapping[str, Any]) -> None:
        """Change some fields of an object (RFC 7386). Raises ConflictError if it is not of the version given."""
        from lightkube.core.exceptions import ApiError
        from lightkube.types import PatchType

        with self._asking():
            try:
                self.client.patch(kind(api_version, kind_name), name, dict(changes), patch_type=PatchType.MERGE)
            except ApiError as error:
                if error.status.code == 409:
                    raise ConflictError(f"{kind_name} {name!r} was changed by somebody else; try again") from None
                raise

    def secret(self, name: str, namespace: str | None = None) -> Any:
        """A Secret, of the compute target's namespace if none is given. Raises NotFoundError."""
        found = self._get("v1", "Secret", name, namespace)
        if found is None:
            raise NotFoundError(f"there is no Secret {name!r} in namespace {namespace or self.compute.namespace}")
        return found

    def delete(self, name: str) -> bool:
        """Tell all objects of a service to go; False if there are none. Its pods take their time."""
        found = [self._delete_all(api_version, one, name) for api_version, one in ALL]
        return any(found)

    def delete_pod(self, name: str) -> None:
        """End a pod at once."""
        self._delete("v1", "Pod", name, grace_period=0)

    def gateway(self, reference: str) -> Any:
        """A Gateway by ``namespace/name``; None if it is not there, or may not be seen."""
        namespace, _, name = reference.rpartition("/")
        try:
            return self._get("gateway.networking.k8s.io/v1", "Gateway", name, namespace or None)
        except Exception:
            return None

    def _delete_all(self, api_version: str, one: str, name: str) -> bool:
        if not self.offers.has(api_version, one):
            return False
        with self._asking():
            labels = {**selector(name), "app.kubernetes.io/managed-by": MANAGER}
            found = list(self.client.list(kind(api_version, one), labels=labels))
        for each in found:
            self._delete(api_version, one, _name(each))
        return bool(found)

    def _delete(self, api_version: str, one: str, name: str, **options: Any) -> None:
        from lightkube.core.exceptions import ApiError

        with self._asking():
            try:
                self.client.delete(kind(api_version, one), name, **options)
            except ApiError as error:
                if error.status.code != 404:
                    raise

    def _get(self, api_version: str, one: str, name: str, namespace: str | None = None) -> Any:
        """None where there is none."""
        from lightkube.core.exceptions import ApiError

        with self._asking():
            try:
                return self.client.get(kind(api_version, one), name, namespace=namespace)
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise

    def _taken(self, one: str, called: str, name: str) -> ConflictError:
        return ConflictError(
            f"{self.compute.name} has a {one} {called!r} in namespace {self.compute.namespace}; "
            f"choose another name, or delete the service: fieldwave services delete {name}"
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with cluster_errors(self.compute):
            yield


def spec_of(deployment: Any) -> ClusterSpec:
    """What the service is to be, as its Deployment says; the image is the one that its pods have.

    ``kubectl rollout undo`` brings back former pods, and leaves what is said about the Deployment as it is.

    Raises:
        StorageError: what it says is damaged.
    """
    spec = ClusterSpec.from_json(deployment.metadata.annotations[SPEC])
    template = deployment.spec.template
    image = next((one.image for one in template.spec.containers if one.name == CONTAINER), spec.image)
    if image == spec.image or not is_pinned(image):
        return spec
    said = template.metadata.annotations or {}
    served = {one: said.get(f"fieldwave.dev/{one}", "") for one in ("package", "model", "network")}
    return replace(spec, image=image, built="", **served)


def _name(one: Any) -> str:
    return str(one.metadata.name)
