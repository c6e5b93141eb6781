from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from fieldwave.deploy.edge import EdgeTarget
from fieldwave.deploy.edge.beside import forget_others, give, sent_beside
from fieldwave.deploy.edge.box import Box
from fieldwave.deploy.edge.certificate import Certificate
from fieldwave.deploy.edge.pod import box_pod, pack
from fieldwave.deploy.edge.record import Record
from fieldwave.errors import ConflictError, HostError, InputError, NotFoundError, StorageError
from fieldwave.keys import Keys
from fieldwave.ssh import Ssh
from fieldwave.workspace import Workspace
from tests import edge_box
from tests.test_deploy_change import package_of

RECORD = Record(
    name="digits",
    image="digits:3@sha256:" + "a" * 64,
    reference="localhost/fieldwave/digits:3-aaaaaaaaaaaa",
    layout="a" * 64,
    package="sha256:" + "b" * 64,
    network="digits",
    model="",
    device="cpu",
    created="2026-01-01T00:00:00Z",
    port=50061,
    probe_port=50062,
    secure=True,
    certificate="PEM",
    token="0123",
    by="anna@laptop",
)
SCRIPT = files("fieldwave.deploy.edge").joinpath("box.sh").read_text()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_box.Box]:
    with edge_box.running(tmp_path_factory.mktemp("box")) as there:
        yield there


@pytest.fixture(scope="module")
def box(there: edge_box.Box) -> Iterator[Box]:
    with Ssh(there.host) as ssh:
        yield Box(ssh)


def test_the_pod_is_that_of_a_cluster_made_fit_for_podman() -> None:
    pod = box_pod(RECORD, "/data/fieldwave")
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "fieldwave-digits")
    assert pod["spec"]["restartPolicy"] == "Always"
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert "nodeSelector" not in pod["spec"]
    assert pod["spec"]["volumes"] == [
        {"name": "digits-tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "keys", "hostPath": {"path": "/data/fieldwave/services/digits/keys", "type": "Directory"}},
        {"name": "tls", "hostPath": {"path": "/data/fieldwave/services/digits/tls", "type": "Directory"}},
    ]
    [container] = pod["spec"]["containers"]
    assert (container["name"], container["imagePullPolicy"]) == ("server", "Never")
    assert container["image"] == RECORD.reference
    assert container["ports"] == [
        {"name": "grpc", "containerPort": 50051, "protocol": "TCP", "hostPort": 50061},
        {"name": "probe", "containerPort": 50052, "hostPort": 50062, "hostIP": "127.0.0.1"},
    ]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"resources", "readinessProbe", "lifecycle"} & container.keys()
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert settings["FIELDWAVE_KEYS"] == "/etc/fieldwave/keys"
    assert settings["FIELDWAVE_TLS_CERT"] == "/etc/fieldwave/tls/tls.crt"
    assert "FIELDWAVE_INSECURE" not in settings


def test_without_keys_the_pod_says_so() -> None:
    from dataclasses import replace

    pod = box_pod(replace(RECORD, secure=False, certificate=""), "/data")
    [container] = pod["spec"]["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert settings["FIELDWAVE_INSECURE"] == "true"
    assert not {"FIELDWAVE_KEYS", "FIELDWAVE_TLS_CERT"} & settings.keys()
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["digits-tmp"]


def test_the_files_of_a_service_have_no_secrets_but_where_they_belong() -> None:
    keys = Keys.generate()
    certificate = Certificate(b"-----CERTIFICATE", b"-----KEY")
    with tarfile.open(fileobj=io.BytesIO(pack(RECORD, "/data", keys, certificate))) as tar:
        members = {member.name: member for member in tar}
        said = {name: tar.extractfile(member).read() for name, member in members.items() if member.isfile()}  # type: ignore[union-attr]
    assert list(members)[-1] == "service.json", "with it the service is there, so it comes last"
    assert said["keys/primary"] == f"{keys.primary}\n".encode()
    assert said["tls/tls.key"] == b"-----KEY"
    for name in ("pod.json", "service.json"):
        assert keys.primary.encode() not in said[name]
        assert b"-----KEY" not in said[name]
    assert said["service.json"].count(b"\n") == 1
    assert Record.from_json(json.loads(said["service.json"]), "box") == RECORD
    assert '"layout": "' + "a" * 64 in said["service.json"].decode(), "the box's script reads it in this form"
    assert '"token": "0123"' in said["service.json"].decode()


def test_a_record_that_lacks_something_is_told() -> None:
    with pytest.raises(StorageError) as caught:
        Record.from_json({"name": "digits"}, "line3")
    assert str(caught.value) == (
        "line3: the record of service 'digits' there lacks 'image'; delete it and deploy it again"
    )
    known = json.loads(RECORD.to_json())
    assert Record.from_json({**known, "later": 1}, "line3") == RECORD


def test_a_name_and_its_ports_are_for_who_asks_first(box: Box, there: edge_box.Box) -> None:
    first = box.call("claim", "alpha", "0", "t1", "anna@laptop").text.split()
    second = box.call("claim", "beta", "0", "t2", "ben@desk").text.split()
    assert len({*first, *second}) == 4, "four ports, none of them twice"
    with pytest.raises(ConflictError) as caught:
        box.call("claim", "alpha", "0", "t3", "ben@desk")
    assert str(caught.value) == "box: alpha is being deployed by anna@laptop"
    assert box.call("claim", "alpha", first[0], "t1", "anna@laptop").text.split()[0] == first[0], "asked again"
    with pytest.raises(ConflictError) as caught:
        box.call("claim", "gamma", second[0], "t4", "anna@laptop")
    assert str(caught.value) == f"box: port {second[0]} is taken there"
    with pytest.raises(ConflictError) as caught:
        box.call("claim", "gamma", str(there.port), "t4", "anna@laptop")
    assert str(caught.value) == f"box: port {there.port} is taken there"
    # Whoever had it is gone since long: the name is free again.
    claim = there.data / "services" / "alpha" / "claim"
    os.utime(claim, (claim.stat().st_mtime - 600,) * 2)
    box.call("claim", "alpha", "0", "t5", "ben@desk")
    assert claim.read_text() == "t5\n"
    assert (there.data / "services").stat().st_mode & 0o777 == 0o700, "keys lie below"


def test_a_port_that_somebody_calls_from_is_taken(box: Box, there: edge_box.Box) -> None:
    """It is in the range from which connections get theirs."""
    [port, _] = box.call("claim", "delta", "0", "t6", "anna@laptop").text.split()
    shutil.rmtree(there.data / "services" / "delta")
    with socket.socket() as listener, socket.socket() as caller:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        caller.bind(("127.0.0.1", int(port)))
        caller.connect(listener.getsockname())
        assert port not in box.call("claim", "delta", "0", "t7", "anna@laptop").text.split()
    shutil.rmtree(there.data / "services" / "delta")


def test_a_service_has_one_port_for_http_and_keeps_it(box: Box, there: edge_box.Box) -> None:
    ports = box.call("claim", "web", "0", "t1", "anna@laptop").text.split()
    port = box.call("http", "web", "0").text.strip()
    assert port not in ports
    assert box.call("http", "web", "0").text.strip() == port
    assert box.call("http", "web", port).text.strip() == port
    with pytest.raises(ConflictError) as caught:
        box.call("claim", "gamma", port, "t4", "anna@laptop")
    assert str(caught.value) == f"box: port {port} is taken there"
    with pytest.raises(ConflictError) as caught:
        box.call("http", "web", ports[1])
    assert str(caught.value) == f"box: port {ports[1]} is taken there"
    assert box.call("http", "web", "none").text.strip() == ""
    assert box.call("http", "web", "none").text.strip() == ""
    assert (there.data / "services" / "web" / "ports").read_text().split() == ports
    box.call("http", "web", port)  # nobody has it
    with pytest.raises(NotFoundError) as missing:
        box.call("http", "nobody", "0")
    assert str(missing.value) == "box: there is no nobody"


def test_the_pod_has_a_port_for_http_where_one_is_asked_for() -> None:
    record = replace(RECORD, http_port=50063)
    [container] = box_pod(record, "/data/fieldwave")["spec"]["containers"]
    assert container["ports"][1] == {"name": "http", "containerPort": 8080, "protocol": "TCP", "hostPort": 50063}
    assert {"name": "FIELDWAVE_HTTP_PORT", "value": "8080"} in container["env"]
    assert (record.http("line3"), RECORD.http("line3")) == (("https://line3:50063",), ())
    old = {key: value for key, value in json.loads(RECORD.to_json()).items() if key != "http_port"}
    assert Record.from_json(old, "box") == RECORD


def test_packages_that_take_turns_with_the_image_s_are_kept_with_the_service(
    box: Box, there: edge_box.Box, tmp_path: Path
) -> None:
    paths = [package_of(tmp_path, name) for name in ("one", "two", "three")]
    workspace = Workspace(tmp_path)
    with pytest.raises(InputError) as twice:
        sent_beside(box, [paths[0]], workspace, "one", lambda what, done: None)
    assert str(twice.value) == "two packages are of network 'one'; callers could not say which they mean"
    beside = sent_beside(box, paths[1:], workspace, "one", lambda what, done: None)
    assert [one.network for one in beside] == ["two", "three"]
    with pytest.raises(NotFoundError):
        give(box, "turns", beside)
    box.call("claim", "turns", "0", "t1", "anna@laptop")
    give(box, "turns", beside)
    give(box, "turns", beside)  # a call whose link breaks is made again
    folder = there.data / "services" / "turns" / "also"
    for path, one in zip(paths[1:], beside, strict=True):
        assert (folder / one.file).read_bytes() == path.read_bytes()
    forget_others(box, "turns", beside[:1])
    assert [file.name for file in folder.iterdir()] == [beside[0].file]
    forget_others(box, "turns", ())
    forget_others(box, "turns", ())
    assert not list(folder.iterdir())

    record = replace(RECORD, also=beside)
    pod = box_pod(record, "/data/fieldwave")["spec"]
    [container] = pod["containers"]
    at = {"path": "/data/fieldwave/services/digits/also", "type": "Directory"}
    assert {"name": "also", "hostPath": at} in pod["volumes"]
    assert {"name": "also", "mountPath": "/etc/fieldwave/also", "readOnly": True} in container["volumeMounts"]
    files = [f"/etc/fieldwave/also/{one.file}" for one in beside]
    assert {"name": "FIELDWAVE_ALSO", "value": ":".join(files)} in container["env"]
    assert Record.from_json(json.loads(record.to_json()), "box") == record


def test_files_that_do_not_arrive_whole_are_not_used(box: Box, there: edge_box.Box) -> None:
    box.call("claim", "cut", "0", "t1", "anna@laptop")
    archive = pack(RECORD, "/data")
    with pytest.raises(HostError) as caught:
        box.call("start", "cut", "t1", str(len(archive)), "fresh", stdin=archive[:-1000])
    assert str(caught.value) == "box: the files did not arrive whole"
    assert not (there.data / "services" / "cut" / "service.json").exists()
    with pytest.raises(ConflictError) as caught:
        box.call("start", "cut", "other", str(len(archive)), "fresh", stdin=archive)
    assert str(caught.value) == "box: cut was taken over by anna@laptop"
    with pytest.raises(NotFoundError) as missing:
        box.call("start", "nothing", "t", str(len(archive)), "update", stdin=archive)
    assert str(missing.value) == "box: there is no nothing"
    assert [path.name for path in (there.data / "services").glob(".*")] == []


def test_a_key_is_replaced_whole(box: Box, there: edge_box.Box) -> None:
    folder = there.data / "services" / "keyed" / "keys"
    folder.mkdir(parents=True)
    (folder.parent / "service.json").write_text("{}\n")
    (folder / "primary").write_text("one\n")
    (folder / "secondary").write_text("two\n")
    box.call("replace_key", "keyed", "primary", stdin=b"three\n")
    assert box.call("secrets", "keyed").text.split() == ["three", "two"]
    with pytest.raises(StorageError):
        box.call("replace_key", "keyed", "primary", stdin=b"")
    assert sorted(path.name for path in folder.iterdir()) == ["primary", "secondary"]
    assert (folder / "primary").read_text() == "three\n"
    with pytest.raises(NotFoundError) as caught:
        box.call("secrets", "unknown")
    assert str(caught.value) == "box: there is no unknown"


@pytest.mark.parametrize("program", ["podman", "flock"])
def test_a_box_that_lacks_a_program(program: str, tmp_path: Path) -> None:
    bare = _programs(tmp_path / "bin", without=program)
    with edge_box.running(tmp_path / "box", environment={"PATH": str(bare)}) as there:
        target = EdgeTarget(Workspace(tmp_path), there.host)
        with pytest.raises(HostError) as caught:
            target.check()
        target.close()
    expected = {
        "podman": "box: podman is not installed there; install it with the box's package manager",
        "flock": "box: flock is not installed there; it is in the package util-linux",
    }
    assert str(caught.value) == expected[program]


def test_a_podman_that_is_too_old(tmp_path: Path) -> None:
    bare = _programs(tmp_path / "bin", without="podman")
    old = bare / "podman"
    old.write_text("#!/bin/sh\ncase $1 in version) echo 3.4.4;; info) echo /var/lib/containers/storage;; esac\n")
    old.chmod(0o755)
    with edge_box.running(tmp_path / "box", environment={"PATH": str(bare)}) as there:
        target = EdgeTarget(Workspace(tmp_path), there.host)
        with pytest.raises(HostError) as caught:
            target.check()
        target.close()
    assert str(caught.value) == "box: podman there is 3.4.4; 4.3 or later is needed"


def _programs(folder: Path, without: str) -> Path:
    """A folder with links to what a box has, but for one program."""
    folder.mkdir()
    names = ["sh", "id", "uname", "mkdir", "chmod", "cat", "sed", "date", "ls", "podman", "flock"]
    for name in names:
        found = shutil.which(name)
        if found is not None and name != without:
            (folder / name).symlink_to(found)
    if without != "podman" and not (folder / "podman").exists():
        (folder / "podman").write_text("#!/bin/sh\necho 4.3.1\n")
        (folder / "podman").chmod(0o755)
    return folder


def test_one_replica_is_what_a_box_has(tmp_path: Path, there: edge_box.Box) -> None:
    target = EdgeTarget(Workspace(tmp_path), there.host)
    said = "an edge box runs one replica of a service, not 2; deploy it to more boxes"
    for ask in (lambda: target.scale("digits", 2), lambda: target.deploy("x.tar", "digits", replicas=2)):
        with pytest.raises(InputError) as caught:
            ask()
        assert str(caught.value) == said
    with pytest.raises(InputError, match="is no name for a service"):
        target.deploy("x.tar", "Digits; rm -rf /")
    with pytest.raises(InputError) as caught:
        target.deploy("x.tar", "digits", when_busy="wait")
    assert str(caught.value) == "services on an edge box cannot wait: who holds a device is not known there"
    with pytest.raises(NotFoundError, match="no device 'gpu'"):
        target.deploy("x.tar", "digits", device="gpu")
    target.close()


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "podman").write_text("#!/bin/sh\n")
    (bare / "podman").chmod(0o755)
    unit = subprocess.run(
        ["sh", "-c", SCRIPT, "box.sh", "/data/fieldwave", "unit", "digits"],
        env={**os.environ, "PATH": f"{bare}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"ExecStart={bare}/podman pod start fieldwave-digits\n" in unit
    path = tmp_path / "fieldwave-digits.service"
    path.write_text(unit)
    checked = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True)
    complaints = [line for line in checked.stderr.splitlines() if "fieldwave-digits" in line]
    assert complaints == []


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_script_is_plain_sh(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [shell, "sh"] if shell == "busybox" else [shell]
    subprocess.run([*command, "-n", "-c", SCRIPT], check=True)
    assert "\t" not in SCRIPT
    assert max(map(len, SCRIPT.splitlines())) <= 115
