"""Services on a cluster: nothing of them is kept but the cluster's own objects."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes import logs
from fieldwave.deploy.kubernetes.image import cluster_image
from fieldwave.deploy.kubernetes.manifest import Manifest, make_manifest, with_replicas
from fieldwave.deploy.kubernetes.network import service as headless_service
from fieldwave.deploy.kubernetes.objects import Objects, spec_of
from fieldwave.deploy.kubernetes.rollout import Patience, wait_for_rollout
from fieldwave.deploy.kubernetes.room import make_room
from fieldwave.deploy.kubernetes.rotation import read_keys, regenerate_key
from fieldwave.deploy.kubernetes.settings import check_encrypted, spec_with
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.deploy.kubernetes.view import view
from fieldwave.deploy.target import Service, Source, WhenBusy, check_name, check_replicas
from fieldwave.errors import HostError, InputError, NotFoundError, ServiceError
from fieldwave.images.inside import GRPC_PORT
from fieldwave.keys import KeyName, Keys
from fieldwave.workspace import Workspace

__all__ = ["KubernetesTarget"]

_log = logging.getLogger(__name__)
_NO_IMAGE = f"none@sha256:{'0' * 64}"
_KILL_SECONDS = 10.0


class KubernetesTarget:
    """A cluster, as a `Target`.

    Any process with the same kubeconfig context and namespace sees the same services, and kubectl sees them, too.

    Parameters:
        compute: which cluster, namespace and nodes.
        workspace: where models and images are; found from the working directory if not given.
        note: called with a line about what the cluster does not offer, or what is done besides; a warning in the
            log if not given.
        progress: called with what is being done, and the part of it that is done, 0 to 1.
        settings: attributes of `ClusterSpec` for what is deployed or updated, such as ``tls_secret``, ``gateway``,
            ``cpus``, ``memory``, ``most_replicas``; and ``registry``, where the cluster pulls images from.

    Raises:
        InputError: there is no such setting.
    """

    def __init__(
        self,
        compute: Compute,
        workspace: Workspace | None = None,
        *,
        note: Callable[[str], None] = _log.warning,
        progress: Callable[[str, float], None] = lambda what, done: None,
        **settings: Any,
    ) -> None:
        self.compute = compute
        self.workspace = workspace or Workspace.find()
        self._objects = Objects(compute)
        self._note = note
        self._progress = progress
        self._registry = str(settings.pop("registry", ""))
        self._settings = settings
        self._patience = Patience()
        spec_with(ClusterSpec("any", _NO_IMAGE), {**settings, "most_replicas": 0})

    def deploy(
        self,
        source: Source,
        name: str,
        *,
        device: str = "cpu",
        port: int = 0,
        replicas: int = 1,
        secure: bool | None = None,
        when_busy: WhenBusy = "refuse",
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Run an image as a service; see `Target.deploy`. Of a package, an image is built first, and pushed.

        Callers need a key, and the connection is encrypted, unless ``secure`` is False. What the cluster does not
        offer is left out, with a note.
        """
        check_name(name)
        check_replicas(replicas)
        self._check_port(port)
        _check_device(device)
        spec = spec_with(
            ClusterSpec(
                name,
                _NO_IMAGE,
                namespace=self.compute.namespace,
                device=device,
                replicas=replicas,
                resource=self.compute.resource,
                node_selector=self.compute.node_selector,
                keys=secure is not False,
            ),
            self._settings,
        )
        check_encrypted(spec)
        self._objects.check_free(name)
        make_room(self._objects, spec, when_busy, self._note)
        spec = self._with_image(spec, source)
        manifest = make_manifest(spec, self._objects.offers, Keys.generate() if spec.keys else None)
        self._warn(manifest)
        self._objects.claim(headless_service(spec))
        try:
            self._objects.apply(with_replicas(manifest, spec.replicas))
        except BaseException:
            self._clear(name)
            raise
        if not wait:
            return self.get(name)
        try:
            return self._wait(name, timeout, until_schedulable=when_busy != "refuse")
        except HostError:
            raise  # what cannot be seen is not given up: it is on its way, and may be Healthy
        except ServiceError as error:
            self._clear(name)
            raise ServiceError(f"service {name!r} did not start and was removed: {error}") from None
        except BaseException:
            self._clear(name)
            raise

    def update(
        self,
        name: str,
        source: Source | None = None,
        *,
        device: str | None = None,
        wait: bool = True,
        timeout: float = 600.0,
    ) -> Service:
        """Serve another image, or on another device, or with other settings; see `Target.update`.

        Pods are replaced one after the other. With ``wait``, what does not become ready is taken back.
        """
        if source is None and device is None and not self._settings:
            raise InputError(f"nothing to change about service {name!r}; name a source, a device or a setting")
        if device is not None:
            _check_device(device)
        old = self._live_spec(name)
        new = spec_with(old if device is None else replace(old, device=device), self._settings)
        if source is not None:
            new = self._with_image(new, source)
        return self._change(old, new, wait, timeout)

    def scale(self, name: str, replicas: int, *, wait: bool = True, timeout: float = 600.0) -> Service:
        """Change how many pods serve it; see `Target.scale`."""
        check_replicas(replicas)
        old = self._live_spec(name)
        if old.most_replicas:
            raise InputError(
                f"service {name!r} is scaled by the cluster, up to {old.most_replicas}; to do it yourself, "
                "update it with most_replicas=0 first"
            )
        return self._change(old, replace(old, replicas=replicas), wait, timeout)

    def get(self, name: str) -> Service:
        """The service of that name as it is now. Raises NotFoundError."""
        return self._service(self._objects.deployment(name))

    def list(self) -> tuple[Service, ...]:
        """All services of the namespace as they are now, by name."""
        return tuple(map(self._service, self._objects.deployments()))

    def logs(self, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines that its pods have written; see `Target.logs`.

        Of several pods, or with ``follow``, each line begins with the end of the pod's name.
        """
        self._objects.deployment(name)
        if not follow:
            return iter(logs.last_lines(self._objects.client, self._objects.pods(name), lines))
        return logs.follow(self._objects.client, lambda: self._pods_if_any(name), lines)

    def keys(self, name: str) -> Keys:
        """The keys that open a service; see `Target.keys`."""
        return read_keys(self._objects, name)

    def regenerate_key(self, name: str, which: KeyName) -> Keys:
        """Put a new key into the place of one; see `Target.regenerate_key`."""
        return regenerate_key(self._objects, name, which)

    def delete(self, name: str, timeout: float = 30.0) -> None:
        """Stop a service and remove all of it; see `Target.delete`."""
        if not self._objects.delete(name):
            raise NotFoundError(f"no service {name!r} on {self.compute.name}; see fieldwave services list")
        deadline = time.monotonic() + timeout
        while pods := self._objects.pods(name):
            if time.monotonic() >= deadline + _KILL_SECONDS:
                raise ServiceError(
                    f"pod {pods[0].metadata.name} of service {name!r} does not go; look at its node"
                )
            if time.monotonic() >= deadline:
                for pod in pods:
                    self._objects.delete_pod(pod.metadata.name)
            time.sleep(self._patience.poll)

    def _change(self, old: ClusterSpec, new: ClusterSpec, wait: bool, timeout: float) -> Service:
        try:
            self._bring_about(new)
        except HostError:
            with suppress(HostError):  # what it takes of it is as it was; the rest, when it is asked again
                self._bring_about(old)
            raise
        if not wait:
            return self.get(new.name)
        try:
            return self._wait(new.name, timeout)
        except ServiceError as error:
            self._bring_about(old)
            raise ServiceError(f"service {new.name!r} did not change, and goes on as it was: {error}") from None

    def _bring_about(self, spec: ClusterSpec) -> None:
        manifest = make_manifest(spec, self._objects.offers)
        self._warn(manifest)
        live = self._objects.deployment(spec.name).spec.replicas
        self._objects.apply(with_replicas(manifest, live or spec.replicas))
        self._objects.prune(spec.name, manifest)

    def _wait(self, name: str, timeout: float, *, until_schedulable: bool = False) -> Service:
        return wait_for_rollout(
            lambda: self.get(name),
            timeout,
            until_schedulable=until_schedulable,
            patience=self._patience,
            progress=self._progress,
        )

    def _with_image(self, spec: ClusterSpec, source: Source) -> ClusterSpec:
        image = cluster_image(source, spec.name, self.workspace, self._registry, progress=self._progress)
        return replace(
            spec,
            image=image.reference,
            package=image.package,
            model=image.model,
            network=image.network,
            built=image.built,
            architecture=image.architecture,
        )

    def _live_spec(self, name: str) -> ClusterSpec:
        """What the service is to be, with the number of replicas that somebody may have changed since."""
        deployment = self._objects.deployment(name)
        spec, replicas = spec_of(deployment), deployment.spec.replicas
        return spec if spec.most_replicas or not replicas else replace(spec, replicas=replicas)

    def _pods_if_any(self, name: str) -> Sequence[Any] | None:
        try:
            self._objects.deployment(name)
        except NotFoundError:
            return None
        return self._objects.pods(name)

    def _clear(self, name: str) -> None:
        with suppress(HostError):
            self._objects.delete(name)

    def _warn(self, manifest: Manifest) -> None:
        for line in manifest.warnings:
            self._note(line)

    def _check_port(self, port: int) -> None:
        if port not in (0, GRPC_PORT):
            raise InputError(
                f"a service on a cluster listens on port {GRPC_PORT}; for port {port} of its node, "
                f"set host_port={port}"
            )

    def _service(self, deployment: Any) -> Service:
        return view(self._objects, deployment, self)


def _check_device(device: str) -> None:
    """Raises NotFoundError for a name that no pod would know; boards are the nodes', not this machine's."""
    from fieldwave.devices import create_device

    if device.partition(":")[0] != "board":
        create_device(device)
