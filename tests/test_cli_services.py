from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.deploy import LocalTarget
from fieldwave.keys import check_token
from fieldwave.package import TensorSpec, write_package
from fieldwave.workspace import Workspace

CHILD = Path(__file__).with_name("deploy_child.py")
TENSOR, RESULT = (TensorSpec(name=name, shape=(None, 2)) for name in ("x:0", "y:0"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a package; what is deployed in it is served by the stand-in."""
    (tmp_path / "fieldwave.toml").touch()
    write_package(tmp_path / "rn50.zip", network="tiny", model=b"not read here", inputs=[TENSOR], outputs=[RESULT])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(fieldwave.__file__).parents[1]))
    # On a busy machine it would be said what is waited for.
    monkeypatch.setattr("fieldwave.cli.output._PATIENCE_SECONDS", 60.0)
    served_by(monkeypatch, "serving")
    yield tmp_path
    target = LocalTarget()
    for service in target.list():
        target.delete(service.name, timeout=1)


def served_by(monkeypatch: pytest.MonkeyPatch, behaviour: str) -> None:
    monkeypatch.setattr("fieldwave.deploy.local.SERVE_COMMAND", [sys.executable, str(CHILD), behaviour])


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["services", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_deploy_says_where_it_is_and_what_comes_next(project: Path) -> None:
    code, out, err = run("deploy", "rn50.zip")
    service = LocalTarget().get("rn50")
    assert (code, out) == (0, f"rn50 is Healthy on 127.0.0.1:{service.port}\n")
    assert err == "next: fieldwave predict rn50 IMAGE\n"


def test_deploy_for_programs(project: Path) -> None:
    code, out, err = run("deploy", "rn50.zip", "--name", "other", "--json", "--quiet")
    service = LocalTarget().get("other")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "name": "other",
        "state": "Healthy",
        "reason": "",
        "replicas": {"wanted": 1, "ready": 1},
        "addresses": [service.address],
        "http": [],
        "also": [],
        "socket": "",
        "address": service.address,
        "host": "127.0.0.1",
        "port": service.port,
        "pid": service.pid,
        "restarts": 0,
        "network": "tiny",
        "device": "cpu",
        "package": LocalTarget().package("other").digest,
        "model": "",
        "image": "",
        "secure": False,
        "created": service.created,
    }


def test_deploy_without_waiting(project: Path) -> None:
    code, out, _ = run("deploy", "rn50.zip", "--no-wait")
    assert code == 0
    assert re.fullmatch(r"rn50 is (Transitioning|Healthy) on 127\.0\.0\.1:\d+\n", out)


def test_deploy_that_fails_says_why_in_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served_by(monkeypatch, "broken")
    assert run("deploy", "rn50.zip") == (
        1,
        "",
        "error: service 'rn50' did not start: ValueError: the network is broken\n",
    )
    assert run("list")[1] == ""


def test_deploy_of_what_is_not_there(project: Path) -> None:
    assert run("deploy", "nope.zip", "--name", "rn50") == (
        1,
        "",
        "error: no package nope.zip; write one with: fieldwave convert --output nope.zip\n",
    )


def test_a_taken_name_comes_with_the_command_that_frees_it(project: Path) -> None:
    run("deploy", "rn50.zip")
    service = LocalTarget().get("rn50")
    assert run("deploy", "rn50.zip") == (
        1,
        "",
        f"error: a service 'rn50' exists already (Healthy, port {service.port}); "
        "delete it first: fieldwave services delete rn50\n",
    )


def test_list_shows_all_of_the_workspace(project: Path) -> None:
    assert run("list") == (
        0,
        "",
        f"no services in {project}\nnext: fieldwave services deploy PACKAGE --name NAME\n",
    )
    assert run("list", "--json") == (0, "[]\n", "")
    run("deploy", "rn50.zip", "--name", "bb")
    run("deploy", "rn50.zip", "--name", "aa")
    code, out, err = run("list")
    assert (code, err) == (0, "")
    header, *rows = out.splitlines()
    assert header.split() == [
        *("NAME", "STATE", "REPLICAS", "ADDRESS", "HTTP", "NETWORK", "DEVICE", "RESTARTS", "CREATED")
    ]
    assert [row.split() for row in rows] == [
        [s.name, "Healthy", "1/1", s.address, "-", "tiny", "cpu", "0", s.created] for s in LocalTarget().list()
    ]
    assert [one["name"] for one in json.loads(run("list", "--json")[1])] == ["aa", "bb"]


def test_http_a_socket_and_a_second_network_are_listed_and_shown(project: Path) -> None:
    write_package(project / "ssd.zip", network="ssd", model=b"not read here", inputs=[TENSOR], outputs=[RESULT])
    code, _, err = run("deploy", "rn50.zip", "--http-port", "0", "--socket", "rn50.sock", "--also", "ssd.zip")
    service = LocalTarget().get("rn50")
    [url] = service.http
    assert (code, err) == (0, f"page: {url}/\nnext: fieldwave predict rn50 IMAGE\n")
    facts = json.loads(run("show", "rn50", "--json")[1])
    assert (facts["http"], facts["socket"], facts["also"]) == ([url], str(project / "rn50.sock"), ["ssd"])
    out = run("show", "rn50")[1]
    assert re.search(rf"^http +{url}$", out, re.MULTILINE)
    assert re.search(r"^also +ssd$", out, re.MULTILINE)
    assert run("list")[1].splitlines()[1].split()[3:6] == [service.address, url.rpartition(":")[2], "tiny+ssd"]
    assert run("update", "rn50", "ssd.zip") == (
        1,
        "",
        "error: network 'ssd' is beside it already; say --also with what is to be there, or --alone\n",
    )
    assert run("update", "rn50", "--alone")[0] == 0
    assert run("update", "rn50", "--no-http", "--no-socket")[0] == 0
    facts = json.loads(run("show", "rn50", "--json")[1])
    assert (facts["http"], facts["socket"], facts["also"]) == ([], "", [])
    assert run("update", "rn50", "--no-http") == (
        1,
        "",
        "error: service 'rn50' has no port for HTTP that could end\n",
    )
    assert LocalTarget().get("rn50").also == ()


def test_show_is_found_from_a_folder_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("deploy", "rn50.zip")
    (project / "deep").mkdir()
    monkeypatch.chdir(project / "deep")
    service = LocalTarget().get("rn50")
    assert run("show", "rn50") == (
        0,
        "name      rn50\n"
        "state     Healthy\n"
        "replicas  1/1\n"
        f"address   {service.address}\n"
        f"pid       {service.pid}\n"
        "restarts  0\n"
        "network   tiny\n"
        "device    cpu\n"
        f"package   {service.package}\n"
        f"created   {service.created}\n",
        "",
    )
    assert json.loads(run("show", "rn50", "--json")[1])["pid"] == service.pid


def test_update_scale_and_what_they_say(project: Path) -> None:
    write_package(project / "b.zip", network="other", model=b"b", inputs=[TENSOR], outputs=[RESULT])
    run("deploy", "rn50.zip", "--replicas", "2")
    service = LocalTarget().get("rn50")
    assert run("scale", "rn50", "3") == (
        0,
        f"rn50 is Healthy on {service.address}, 3/3 replicas\n",
        "next: fieldwave services show rn50\n",
    )
    code, out, _ = run("update", "rn50", "b.zip", "--json")
    assert (code, json.loads(out)["network"], json.loads(out)["pid"]) == (0, "other", service.pid)
    assert run("scale", "rn50", "1", "-q") == (0, f"rn50 is Healthy on {service.address}\n", "")
    assert run("update", "rn50") == (
        1,
        "",
        "error: nothing to change about service 'rn50'; name a package or a device\n",
    )
    code, out, _ = run("show", "rn50")
    assert "network   other\n" in out


def test_show_names_every_address(project: Path) -> None:
    run("deploy", "rn50.zip", "--replicas", "2")
    first, second = LocalTarget().get("rn50").addresses
    out = run("show", "rn50")[1]
    assert f"addresses  {first} {second}\n" in out
    assert "replicas   2/2\n" in out


def test_a_registered_package_is_deployed_by_its_name_and_kept_while_it_is_used(project: Path) -> None:
    registry = Workspace.find().registry
    model = registry.register(project / "rn50.zip", "digits")
    code, out, _ = run("deploy", "digits:1", "--json")
    facts = json.loads(out)
    assert (code, facts["name"], facts["model"]) == (0, "digits", f"digits:1@{model.digest}")
    result = CliRunner().invoke(app, ["models", "delete", "--yes", "digits:1"])
    assert (result.exit_code, result.stderr) == (
        1,
        "error: model digits:1 is used by service 'digits'; delete that first\n",
    )
    run("delete", "digits")
    assert CliRunner().invoke(app, ["models", "delete", "--yes", "digits:1"]).exit_code == 0
    assert run("deploy", "digits:1") == (
        1,
        "",
        "error: the registry has no model 'digits': it is empty; register one first\n",
    )


def test_what_is_no_package_in_the_registry_is_refused(project: Path) -> None:
    (project / "net.onnx").write_bytes(b"a network")
    Workspace.find().registry.register(project / "net.onnx", "net")
    assert run("deploy", "net") == (
        1,
        "",
        "error: model net:1 is of kind 'onnx', services serve packages; convert it first: "
        "fieldwave convert net:1\n",
    )


def test_keys_and_tokens_of_a_service(project: Path) -> None:
    run("deploy", "rn50.zip", "--secure")
    keys = LocalTarget().keys("rn50")
    assert run("keys", "rn50") == (
        0,
        f"primary    {keys.primary}\nsecondary  {keys.secondary}\n",
        "next: fieldwave services token rn50\n",
    )
    code, out, _ = run("keys", "rn50", "--regenerate", "primary", "--json")
    renewed = json.loads(out)
    assert (code, renewed["secondary"]) == (0, keys.secondary)
    assert renewed["primary"] != keys.primary
    assert run("keys", "rn50", "--regenerate", "third")[2] == (
        "error: no key is called 'third'; a service has 'primary' and 'secondary'\n"
    )
    code, out, _ = run("token", "rn50", "--lifetime", "15m", "--json")
    check_token(LocalTarget().keys("rn50"), json.loads(out)["token"])
    assert "secure    yes\n" in run("show", "rn50")[1]


def test_options_that_mean_nothing_are_named(project: Path) -> None:
    assert run("deploy", "rn50.zip", "--when-busy", "panic")[2] == (
        "error: --when-busy panic is unknown; use refuse or wait or replace\n"
    )
    assert run("deploy", "rn50.zip", "--runtime", "docker")[2] == (
        "error: --runtime docker is unknown; use process or podman\n"
    )
    assert run("deploy", "rn50.zip", "--runtime", "podman")[2] == (
        "error: podman runs images, and this is none; build one with fieldwave images build\n"
    )
    assert run("deploy")[2] == "error: name either a package or --image NAME:VERSION\n"
    assert run("deploy", "rn50.zip", "--set", "cpus=2")[2] == (
        "error: cpus: services on local have no such setting, only those on clusters\n"
    )
    assert run("list", "--on", "moon")[2] == f"error: no compute target 'moon' in {project}; it has: local\n"
    assert run("deploy", "rn50.zip", "--replicas", "0")[2] == (
        "error: 0 replicas are not possible; give a number from 1 to 100\n"
    )


def test_logs_are_the_last_lines(project: Path) -> None:
    run("deploy", "rn50.zip")
    code, out, err = run("logs", "rn50", "--lines", "1")
    pid = LocalTarget().get("rn50").pid
    assert (code, err) == (0, "")
    assert out.endswith(f" supervisor: process {pid} is ready\n")
    assert out.count("\n") == 1
    assert "behaviour serving\n" in run("logs", "rn50")[1]


def test_delete_takes_several_and_leaves_nothing(project: Path) -> None:
    run("deploy", "rn50.zip", "--name", "aa")
    run("deploy", "rn50.zip", "--name", "bb")
    assert run("delete", "aa", "bb") == (0, "", "aa is deleted\nbb is deleted\n")
    assert run("delete", "aa") == (1, "", f"error: no service 'aa' in {project}; there are none\n")
    assert list((project / ".fieldwave" / "services").iterdir()) == []


def test_ctrl_c_ends_following_and_leaves_the_service(project: Path) -> None:
    run("deploy", "rn50.zip")
    command = [sys.executable, "-m", "fieldwave", "services", "logs", "rn50", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None and follower.stderr is not None
        follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130
        assert follower.stderr.read() == ""
    assert LocalTarget().get("rn50").state == "Healthy"


def test_ctrl_c_while_deploying_takes_it_back(project: Path) -> None:
    program = f"""
import sys
from fieldwave.cli import main
from fieldwave.deploy import local
local.SERVE_COMMAND = [sys.executable, {str(CHILD)!r}, "hanging"]
sys.argv = ["fieldwave", "services", "deploy", "rn50.zip"]
main()
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as deploying:
        start = time.monotonic()
        while not LocalTarget().list() or LocalTarget().get("rn50").pid is None:
            assert time.monotonic() - start < 10
            time.sleep(0.01)
        deploying.send_signal(signal.SIGINT)
        assert deploying.wait(10) == 130
        assert deploying.stderr is not None
        assert deploying.stderr.read() == ""
    assert os.listdir(project / ".fieldwave" / "services") == []


def test_token_prints_what_opens_the_service_for_a_while(project: Path) -> None:
    run("deploy", "rn50.zip")
    code, out, err = run("token", "rn50")
    assert (code, out) == (1, "")
    assert err.startswith("error: service 'rn50' has no keys, every process of this machine may call it; ")
    target = LocalTarget()
    target.deploy("rn50.zip", "secured", secure=True)
    code, out, err = run("token", "secured", "--lifetime", "30s")
    assert code == 0
    assert re.fullmatch(r"valid until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", err)
    assert 0 < check_token(target.keys("secured"), out.strip()) - time.time() <= 31
    code, out, err = run("token", "secured", "--json", "--quiet")
    assert (code, err, sorted(json.loads(out))) == (0, "", ["expires", "token"])
