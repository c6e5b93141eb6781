from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fieldwave.compute import Compute, Computes, Held, Npus
from fieldwave.errors import ConflictError, HostError, InputError, NotFoundError, StorageError
from fieldwave.leases import acquire
from fieldwave.workspace import Workspace

BOX = Compute("line3", "edge", destination="fieldwave@line3", port=2222, location="hall 3")


@pytest.fixture
def computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computes:
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    (tmp_path / "fieldwave.toml").write_text('location = "Oslo"\n')
    return Computes(Workspace(tmp_path))


def test_this_machine_is_always_there(computes: Computes) -> None:
    assert computes.list() == (Compute("local", "local", location="Oslo"),)
    assert computes.get("local") == computes.list()[0]
    with pytest.raises(InputError) as caught:
        computes.delete("local")
    assert str(caught.value) == "'local' is this machine and cannot be deleted"


def test_attached_and_found_again(computes: Computes) -> None:
    attached = computes.attach(BOX)
    assert attached.created
    again = Computes(Workspace(computes.workspace.root))
    assert again.get("line3") == attached
    assert [one.name for one in again.list()] == ["local", "line3"]
    computes.delete("line3")
    assert [one.name for one in again.list()] == ["local"]
    with pytest.raises(NotFoundError) as caught:
        computes.get("line3")
    assert str(caught.value) == f"no compute target 'line3' in {computes.workspace.root}; it has: local"


def test_of_several_at_the_same_time_one_gets_the_name(computes: Computes) -> None:
    got: list[str] = []

    def attach(destination: str) -> None:
        try:
            Computes(computes.workspace).attach(Compute("line3", "edge", destination=destination))
            got.append(destination)
        except ConflictError:
            pass

    threads = [threading.Thread(target=attach, args=(f"box{index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [computes.get("line3").destination] == got
    assert [path.name for path in (computes.workspace.folder / "compute").iterdir()] == ["line3.json"]
    with pytest.raises(ConflictError) as caught:
        computes.attach(BOX)
    assert str(caught.value) == (
        "compute target 'line3' is there already; delete it first, or choose another name"
    )


def test_a_deletion_is_refused_with_the_names_of_the_services(computes: Computes) -> None:
    computes.attach(BOX)
    used = Computes(computes.workspace, users=lambda compute: ["service digits", "service cats"])
    with pytest.raises(ConflictError) as caught:
        used.delete("line3")
    assert str(caught.value) == ("compute target line3 runs service digits and service cats; delete that first")
    used.delete("line3", force=True)


def test_a_deletion_is_refused_when_it_cannot_be_found_out_what_runs_there(computes: Computes) -> None:
    def users(compute: Compute) -> list[str]:
        raise HostError("fieldwave@line3: no sshd answers on port 2222")

    computes.attach(BOX)
    asking = Computes(computes.workspace, users)
    with pytest.raises(ConflictError) as caught:
        asking.delete("line3")
    assert str(caught.value) == (
        "what runs on compute target line3 is not known: fieldwave@line3: no sshd answers on port 2222; "
        "--force forgets it all the same"
    )
    asking.delete("line3", force=True)
    assert [one.name for one in computes.list()] == ["local"]


@pytest.mark.parametrize(
    "text", ["{", '{"name": "line3", "kind": "mainframe"}', '{"name": "line3", "kind": "edge"}']
)
def test_a_damaged_description(computes: Computes, text: str) -> None:
    computes.attach(BOX)
    path = computes.workspace.folder / "compute" / "line3.json"
    path.write_text(text)
    with pytest.raises(StorageError) as caught:
        computes.get("line3")
    assert str(caught.value).startswith(f"{path} is damaged")
    assert str(caught.value).endswith("attach line3 again")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "Lab", "kind": "kubernetes"},
            "'Lab' is no name for a compute target: 2 to 32 lower-case letters, digits and '-', a letter first "
            "and no '-' last",
        ),
        ({"name": "lab", "kind": "vm"}, "kind 'vm' of compute target lab is none of local, kubernetes, edge"),
        (
            {"name": "local", "kind": "edge", "destination": "x"},
            "compute target 'local' cannot be of kind edge: 'local' is this machine",
        ),
        ({"name": "lab", "kind": "edge"}, "edge box lab needs a destination, [user@]host, as ssh takes it"),
        (
            {"name": "lab", "kind": "edge", "destination": "x", "context": "c"},
            "context is for kind kubernetes, and lab is of kind edge",
        ),
        (
            {"name": "lab", "kind": "kubernetes", "identity": "c"},
            "identity is for kind edge, and lab is of kind kubernetes",
        ),
        (
            {"name": "lab", "kind": "kubernetes", "namespace": "A/b"},
            "'A/b' is no namespace: up to 63 lower-case letters, digits and '-'",
        ),
        (
            {"name": "lab", "kind": "kubernetes", "resource": "npu"},
            "'npu' is no extended resource, expected one such as fieldwave.dev/npu",
        ),
        (
            {"name": "lab", "kind": "kubernetes", "node_selector": {"a b": "c"}},
            "'a b=c' is no label of a node, expected one such as accelerator=u250",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Compute(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_this_machine_now(computes: Computes, tmp_path: Path) -> None:
    (tmp_path / "machine.toml").write_text("rtl = 2\n[boards.kv260-0]\n")
    with acquire("board", "digits"):
        status = computes.status("local")
    assert (status.state, status.count, status.location, status.errors) == ("Succeeded", 1, "Oslo", ())
    assert status.npus is not None
    [held] = status.npus.held
    assert held == Held("kv260-0", "digits", 1, held.since)
    assert status.npus == Npus(None, 1, 3, 1, (held,))
    assert status.npus.free == 2
    (tmp_path / "machine.toml").write_text("rtl = -1")
    status = computes.status("local")
    assert (status.state, status.npus) == ("Failed", None)
    assert status.errors == (f"{tmp_path}/machine.toml: rtl is -1, expected a number from 0 to 4096",)


def test_limits_of_machines_are_set_on_them(computes: Computes, tmp_path: Path) -> None:
    computes.attach(BOX)
    with pytest.raises(InputError) as caught:
        computes.set_limit("local", 1)
    assert str(caught.value) == (
        f"the NPUs of local are counted in {tmp_path}/machine.toml; change it there (rtl = N, [boards.NAME])"
    )
    with pytest.raises(InputError, match="line3 is of kind edge: attach it; only clusters can be created"):
        computes.create(BOX)


def test_what_is_free_is_never_less_than_nothing() -> None:
    assert Npus(limit=1, used=3, allocatable=4, allocated=3).free == 0
    assert Npus(allocatable=1, allocated=2).free == 0
