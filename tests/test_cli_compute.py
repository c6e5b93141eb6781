from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.leases import acquire, why_busy
from tests.cluster import Cluster, serving, write_kubeconfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a machine with two simulated NPUs and a board."""
    (tmp_path / "fieldwave.toml").write_text('location = "Oslo"\n')
    (tmp_path / "machine.toml").write_text('rtl = 2\n[boards.kv260-0]\nfiles = ["/dev/uio4"]\n')
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(project: Path) -> Iterator[Cluster]:
    cluster = Cluster()
    with serving(cluster, project):
        write_kubeconfig(cluster, project / "config", "lab")
        cluster.put("Namespace", {"metadata": {"name": "default"}})
        yield cluster


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_devices_and_who_holds_them(project: Path) -> None:
    with acquire("rtl", "digits") as lease:
        code, out, err = run("devices")
        assert lease.slot is not None
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["NAME", "DEVICE", "STATE", "HELD", "BY", "PID", "SINCE"]
    assert rows[1:] == [
        ["kv260-0", "board:kv260-0", "unplugged"],
        ["rtl-0", "rtl", "allocated", "digits", *rows[2][4:]],
        ["rtl-1", "rtl", "free"],
        ["cpu", "cpu", "shared"],
    ]
    assert err == "next: fieldwave services deploy PACKAGE --name NAME --device DEVICE\n"


def test_devices_for_programs(project: Path) -> None:
    code, out, err = run("devices", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)[0] == {
        "name": "kv260-0",
        "device": "board:kv260-0",
        "state": "unplugged",
        "holder": "",
        "pid": None,
        "since": "",
        "files": ["/dev/uio4"],
        "address": "",
        "identity": "",
    }


def test_devices_of_a_machine_that_nobody_has_described(project: Path) -> None:
    (project / "machine.toml").unlink()
    code, out, err = run("devices")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["NAME", "cpu", "rtl"])
    assert err.startswith(f"no NPUs are described in {project}/machine.toml\n")


def test_the_holders_name_cannot_command_the_terminal(project: Path) -> None:
    with acquire("board", "\x1b[2J"):
        for command in (["devices"], ["devices", "--json"], ["compute", "show"]):
            out = run(*command)[1]
            assert ("?[2J" in out, "\x1b" in out) == (True, False)
        assert "held by service ?[2J" in why_busy("board")


def test_show_this_machine(project: Path) -> None:
    with acquire("board", "digits"):
        code, out, _ = run("compute", "show")
        as_json = json.loads(run("compute", "show", "local", "--json")[1])
    lines = dict(line.split(None, 1) for line in out.splitlines()[:6])
    assert code == 0
    assert (lines["name"], lines["kind"], lines["location"], lines["state"]) == (
        "local",
        "local",
        "Oslo",
        "Succeeded",
    )
    assert "NPUs      1 used, 3 allocatable, 1 allocated, 2 free" in out
    assert out.splitlines()[-1].split()[:3] == ["kv260-0", "digits", "1"]
    assert as_json["npus"] == {"limit": None, "used": 1, "allocatable": 3, "allocated": 1, "free": 2}
    assert [one["holder"] for one in as_json["held"]] == ["digits"]


def test_attach_list_and_delete_a_cluster(project: Path, cluster: Cluster) -> None:
    code, out, err = run(
        "compute", "attach", "lab", "--context", "lab", "--kubeconfig", "config", "--node-selector", "a=b"
    )
    assert (code, out) == (0, "")
    assert err == "lab is attached: context lab, namespace default\nnext: fieldwave compute show lab\n"
    listed = json.loads(run("compute", "list", "--json")[1])
    assert [one["name"] for one in listed] == ["local", "lab"]
    assert (listed[1]["kubeconfig"], listed[1]["node_selector"]) == (str(project / "config"), {"a": "b"})
    table = [line.split() for line in run("compute", "list")[1].splitlines()]
    assert table[1] == ["local", "local", "this", "machine", "Oslo", "*"]
    assert table[2] == ["lab", "kubernetes", "context", "lab,", "namespace", "default"]
    code, out, _ = run("compute", "show", "lab")
    assert code == 0
    assert "error          no node has the labels a=b" in out
    (project / "config").rename(project / "away")
    code, _, err = run("compute", "delete", "lab")
    assert (code, err) == (
        1,
        f"error: what runs on compute target lab is not known: there is no kubeconfig file {project}/config; "
        "name one with --kubeconfig, or set KUBECONFIG; --force forgets it all the same\n",
    )
    (project / "away").rename(project / "config")
    assert run("compute", "delete", "lab") == (0, "", "lab is deleted\n")
    assert run("compute", "show", "lab")[0] == 1


def test_what_cannot_be_attached(project: Path, cluster: Cluster) -> None:
    assert run("compute", "attach", "lab", "--context", "prod", "--kubeconfig", "config")[2] == (
        f"error: {project}/config has no context 'prod' that is complete; its contexts: lab\n"
    )
    assert run("compute", "attach", "lab", "--ssh", "box", "--context", "lab")[2] == (
        "error: --ssh names a box at the edge, --context, --kubeconfig and --node-selector a cluster\n"
    )
    assert run("compute", "attach", "lab", "--kubeconfig", "config", "--node-selector", "ab")[2] == (
        "error: --node-selector 'ab' is no label, expected KEY=VALUE\n"
    )
    assert [one["name"] for one in json.loads(run("compute", "list", "--json")[1])] == ["local"]


def test_attach_a_box(project: Path) -> None:
    (project / "key").touch()
    code, _, err = run("compute", "attach", "line3", "--ssh", "fw@line3", "--port", "2222", "--identity", "key")
    assert (code, err.splitlines()[0]) == (0, "line3 is attached: ssh fw@line3")
    [_, box] = json.loads(run("compute", "list", "--json")[1])
    assert (box["destination"], box["port"], box["identity"]) == ("fw@line3", 2222, str(project / "key"))


def test_create_and_its_quota(project: Path, cluster: Cluster) -> None:
    code, _, err = run(
        "compute", "create", "lab", "--kubeconfig", "config", "--limit", "2", "--plugin-image", "a@sha256:0"
    )
    assert (code, err.splitlines()[0]) == (0, "lab is created: context (current), namespace fieldwave")
    assert cluster.find("DaemonSet", "fieldwave-device-plugin", "kube-system") is not None
    assert run("compute", "quota", "lab", "--limit", "3")[0] == 0
    assert json.loads(run("compute", "quota", "lab", "--json")[1])["npus"] == {
        "limit": 3,
        "used": 0,
        "allocatable": 0,
        "allocated": 0,
        "free": 0,
    }
    table = [line.split() for line in run("compute", "quota", "lab", "--no-limit")[1].splitlines()]
    assert table[1] == ["lab", "none", "0", "0", "0", "0"]
    assert run("compute", "quota", "lab", "--limit", "3", "--no-limit")[0] == 1


def test_quota_of_this_machine_is_in_its_file(project: Path) -> None:
    code, out, _ = run("compute", "quota")
    assert (code, out.splitlines()[1].split()) == (0, ["local", "none", "0", "3", "0", "3"])
    assert run("compute", "quota", "--limit", "1")[2] == (
        f"error: the NPUs of local are counted in {project}/machine.toml; "
        "change it there (rtl = N, [boards.NAME])\n"
    )


def test_the_plugins_manifest_is_yaml() -> None:
    code, out, err = run("device-plugin", "manifest", "--image", "a@sha256:0", "--node-selector", "npu=yes")
    assert (code, err) == (0, "")
    as_json = json.loads(
        run("device-plugin", "manifest", "--image", "a@sha256:0", "--node-selector", "npu=yes", "--json")[1]
    )
    assert yaml.safe_load(out) == as_json
    assert as_json["spec"]["template"]["spec"]["nodeSelector"] == {"npu": "yes"}
