"""The compute targets of a workspace: described in its folder, a file each; their state is asked for live."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fieldwave.compute.compute import LOCAL, Compute, check_compute_name
from fieldwave.compute.local import local_status
from fieldwave.compute.status import ComputeStatus
from fieldwave.errors import ConflictError, FieldwaveError, InputError, NotFoundError, StorageError
from fieldwave.leases.machine import machine_file
from fieldwave.processes import records
from fieldwave.workspace import Workspace

__all__ = ["Computes"]

Users = Callable[[Compute], Sequence[str]]
"""From a compute target to the services that run there, by name."""


class Computes:
    """The places that services of a workspace may run on: ``local``, and those that were attached or created.

    Parameters:
        workspace: whose they are; found from the working directory if not given.
        users: asked before a deletion; the services that it names prevent it.
    """

    def __init__(self, workspace: Workspace | None = None, users: Users = lambda compute: ()) -> None:
        self.workspace = workspace or Workspace.find()
        self._users = users

    def get(self, name: str) -> Compute:
        """The compute target of that name. Raises NotFoundError; StorageError if its file is damaged."""
        if name == LOCAL:
            return Compute(LOCAL, "local", location=self.workspace.settings.location)
        check_compute_name(name)
        path = self._file(name)
        try:
            return records.read(Compute, path, f"remove it and attach {name} again")
        except FileNotFoundError:
            known = ", ".join(compute.name for compute in self.list())
            raise NotFoundError(f"no compute target {name!r} in {self.workspace.root}; it has: {known}") from None
        except InputError as error:
            raise StorageError(f"{path} is damaged ({error}); remove it and attach {name} again") from None

    def list(self) -> tuple[Compute, ...]:
        """All of them by name, this machine first."""
        with contextlib.suppress(FileNotFoundError):
            names = sorted(entry.stem for entry in self._folder.iterdir() if entry.suffix == ".json")
            return tuple(map(self.get, (LOCAL, *names)))
        return (self.get(LOCAL),)

    def attach(self, compute: Compute) -> Compute:
        """Take up a place that is there already; nothing is changed on it.

        Raises:
            ConflictError: the name is taken.
            StorageError: it cannot be written down.
        """
        described = replace(compute, created=records.now())
        self._check_new(compute)
        draft = self._folder / f".{compute.name}.{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            records.write(draft, described)
            os.link(draft, self._file(compute.name))  # of two at the same time one gets the name
        except FileExistsError:
            raise self._taken(compute.name) from None
        except OSError as error:
            raise StorageError(f"cannot write {self._file(compute.name)}: {error.strerror or error}") from error
        finally:
            draft.unlink(missing_ok=True)
        return described

    def create(self, compute: Compute, *, limit: int | None = None, image: str = "") -> Compute:
        """Make what services need on a cluster, and attach it: the namespace, the limit, the device plugin.

        A second time changes what differs and leaves the rest alone; objects that others have made stay theirs.

        Parameters:
            limit: the most NPUs that services in the namespace may hold (a ResourceQuota); None for no limit.
            image: an image with Fieldwave in it, by which the device plugin is run on every node; empty for none.

        Raises:
            InputError: not a cluster.
            ConflictError: the name is taken, or an object belongs to somebody else.
            HostError: the cluster cannot be reached, or refuses.
        """
        if compute.kind != "kubernetes":
            raise InputError(f"{compute.name} is of kind {compute.kind}: attach it; only clusters can be created")
        from fieldwave.compute.provision import provision

        self._check_new(compute)
        provision(compute, limit, image)
        return self.attach(replace(compute, owned=True))

    def status(self, name: str) -> ComputeStatus:
        """How a compute target is now; what cannot be reached is Failed, and says why. Raises NotFoundError."""
        compute = self.get(name)
        if compute.kind == "kubernetes":
            from fieldwave.compute.cluster_status import cluster_status

            return cluster_status(compute)
        if compute.kind == "edge":
            from fieldwave.compute.edge import edge_status

            return edge_status(compute)
        return local_status(compute.location)

    def set_limit(self, name: str, limit: int | None) -> None:
        """The most NPUs that services of a cluster's namespace may hold; None for no limit of ours.

        Raises:
            InputError: not a cluster: the NPUs of a machine are counted in its own file.
            HostError: the cluster cannot be reached, or refuses.
        """
        compute = self.get(name)
        if compute.kind != "kubernetes":
            where = machine_file() if compute.kind == "local" else f"{machine_file()} on {compute.destination}"
            raise InputError(
                f"the NPUs of {name} are counted in {where}; change it there (rtl = N, [boards.NAME])"
            )
        from fieldwave.compute.provision import apply_limit

        apply_limit(compute, limit)

    def delete(self, name: str, *, force: bool = False) -> None:
        """Forget a compute target; of one that `create` made, remove what it made there.

        Parameters:
            force: forget it even if it cannot be asked which services it runs, or refuses to be cleaned up.

        Raises:
            NotFoundError: there is none of that name.
            ConflictError: services run there, and the message names them; or that cannot be found out.
            InputError: ``local``, which cannot go.
            HostError: the cluster cannot be reached, or refuses.
        """
        if name == LOCAL:
            raise InputError("'local' is this machine and cannot be deleted")
        compute = self.get(name)
        if not force:
            try:
                services = list(self._users(compute))
            except FieldwaveError as error:
                raise ConflictError(
                    f"what runs on compute target {name} is not known: {error}; --force forgets it all the same"
                ) from error
            if services:
                raise ConflictError(f"compute target {name} runs {' and '.join(services)}; delete that first")
        if compute.owned and not force:
            from fieldwave.compute.provision import unprovision

            unprovision(compute)
        self._file(name).unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.workspace.folder / "compute"

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _check_new(self, compute: Compute) -> None:
        if compute.name == LOCAL or self._file(compute.name).exists():
            raise self._taken(compute.name)

    def _taken(self, name: str) -> ConflictError:
        return ConflictError(f"compute target {name!r} is there already; delete it first, or choose another name")
