"""What a service serves is not deleted under it, wherever it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave import clean
from fieldwave.cli import app
from fieldwave.compute import Compute, Computes
from fieldwave.deploy import users
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import ConflictError
from fieldwave.images import Image, Images, add_base
from fieldwave.workspace import Workspace
from tests import oci_registry
from tests.cluster import Cluster, serving
from tests.image_parts import base, package, wheelhouse

__all__ = ["wheelhouse"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "fieldwave.toml").touch()
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


@pytest.fixture
def image(workspace: Workspace, wheelhouse: Path) -> Image:
    add_base(workspace.store, str(base(workspace.root / "base.tar")), "debian")
    model = workspace.registry.register(package(workspace.root / "four.zip"), "four")
    return Images(workspace.store).build(model, "digits", wheels=wheelhouse)


@pytest.fixture
def lab(workspace: Workspace, image: Image, tmp_path: Path) -> Iterator[KubernetesTarget]:
    """A cluster, attached, with a service of the image."""
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    with oci_registry.running(tmp_path) as address, serving(Cluster(), tmp_path) as path:
        compute = Compute("lab", "kubernetes", kubeconfig=str(path), namespace="vision")
        Computes(workspace).attach(compute)
        target = KubernetesTarget(compute, workspace, registry=address)
        target._patience = Patience(poll=0.005)
        target.deploy(image, "served", secure=False)
        yield target


def test_what_a_cluster_serves_is_not_deleted(workspace: Workspace, image: Image, lab: KubernetesTarget) -> None:
    images = Images(workspace.store, users=users(workspace))
    with pytest.raises(ConflictError) as caught:
        images.delete(image)
    assert str(caught.value) == "image digits:1 is used by service 'served' on lab; delete that first"
    # The model that it was built from is no use of it: the image is complete.
    assert users(workspace)(workspace.registry.get("four")) == []
    lab.delete("served")
    images.delete(image)


def test_where_nobody_answers_it_is_said_and_can_be_forced(
    workspace: Workspace, image: Image, lab: KubernetesTarget
) -> None:
    kubeconfig = Path(lab.compute.kubeconfig)
    kubeconfig.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:1", kubeconfig.read_text()))
    delete = ["images", "delete", "digits:1", "--yes"]
    refused = CliRunner().invoke(app, delete)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        "error: whether digits:1 is used on compute target lab is not known: cluster lab"
    )
    assert refused.stderr.endswith("; --force deletes it all the same\n")
    assert users(workspace, unknown="name")(image) == ["compute target lab, perhaps, which cannot be asked"]
    assert CliRunner().invoke(app, [*delete, "--force"]).exit_code == 0
    assert workspace.images.find() == []


def test_a_clean_up_here_leaves_what_is_served_there(
    workspace: Workspace, image: Image, lab: KubernetesTarget
) -> None:
    """And the other way round: what goes on the cluster goes with its image."""
    planned = clean.plan(workspace, "served", "lab")
    assert (planned.image, [model.id for model in planned.models], planned.kept) == (image, ["four:1"], ())
    lab.deploy(image, "second", secure=False)
    planned = clean.plan(workspace, "served", "lab")
    assert planned.kept == (
        "image digits:1, needed by service 'second' on lab",
        "model four:1, needed by image digits:1",
    )
    clean.clean(workspace, planned)
    assert [one.name for one in lab.list()] == ["second"]
    clean.clean(workspace, clean.plan(workspace, "second", "lab"))
    assert workspace.images.find() == workspace.registry.find() == []
