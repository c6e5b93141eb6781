from __future__ import annotations

from pathlib import Path

import pytest

from fieldwave.compute import Compute, Computes
from fieldwave.deploy import LocalTarget, target
from fieldwave.deploy.edge import EdgeTarget
from fieldwave.errors import InputError, NotFoundError
from fieldwave.workspace import Workspace


def test_this_machine_is_the_target_unless_another_is_said(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    assert isinstance(target(workspace), LocalTarget)
    assert isinstance(target(workspace, "local"), LocalTarget)
    with pytest.raises(NotFoundError) as caught:
        target(workspace, "moon")
    assert str(caught.value) == f"no compute target 'moon' in {tmp_path}; it has: local"


def test_the_workspace_says_where_services_run(tmp_path: Path) -> None:
    Workspace.create(tmp_path)
    (tmp_path / "fieldwave.toml").write_text('compute = "box"\n')
    workspace = Workspace.find(tmp_path)
    with pytest.raises(NotFoundError):
        target(workspace)
    Computes(workspace).attach(Compute("box", "edge", destination="user@box.example"))
    assert isinstance(target(workspace), EdgeTarget)
    assert isinstance(target(workspace, "local"), LocalTarget)


def test_a_setting_of_a_cluster_is_none_elsewhere(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with pytest.raises(InputError) as caught:
        target(workspace, settings={"cpus": "2", "memory": "1Gi"})
    assert str(caught.value) == ("cpus, memory: services on local have no such setting, only those on clusters")


def test_a_cluster_is_reached_by_its_compute_s_name(tmp_path: Path) -> None:
    pytest.importorskip("lightkube", reason="lightkube is not installed: pip install 'fieldwave[kubernetes]'")
    from fieldwave.deploy.kubernetes.target import KubernetesTarget

    workspace = Workspace.create(tmp_path)
    Computes(workspace).attach(Compute("plant", "kubernetes", context="plant"))
    found = target(workspace, "plant", settings={"cpus": "2"})
    assert isinstance(found, KubernetesTarget)
    assert found.compute.context == "plant"
