"""Operations that faults are put into, and what must hold after each: ``python -m tests.fault_roads ROAD FOLDER``.

After whatever fault the old state is there, the new one whole or not at all, an error of ours in one line said
what was wrong, and the same operation succeeds when it is done again. Prints one line of JSON for each fault that
broke this, and at the end how many there were of what kind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fieldwave.deploy import LocalTarget
from fieldwave.errors import NotFoundError
from fieldwave.images import Images, lock
from fieldwave.registry import RegisteredModel, Registry
from fieldwave.store import LayoutStore, RegistryStore, Store, claims, copy
from fieldwave.workspace import Workspace
from tests import faults, image_parts, oci_registry

LOG = "application/vnd.fieldwave.log.v1"
_RERUN_SECONDS = 20.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class Road:
    """One operation.

    Attributes:
        prepare: makes the old state in a folder.
        act: the operation.
        check: whether all holds that must, after the operation ended like that; it may repeat it.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], object]
    check: Callable[[Path, faults.Outcome], None]


def registering(store_of: Callable[[Path], Store]) -> Road:
    """A folder is registered beside an old model."""

    def prepare(folder: Path) -> None:
        (folder / "old.onnx").write_bytes(b"the old one")
        (folder / "model").mkdir()
        (folder / "model" / "saved_model.pb").write_bytes(bytes(range(256)) * 6000)
        (folder / "model" / "labels.txt").write_bytes(b"zero\none\n")
        registry = Registry(store_of(folder))
        old = registry.register(folder / "old.onnx", "digits", tags={"stage": "production"})
        registry.alias(old, "production")

    def act(folder: Path) -> RegisteredModel:
        return Registry(store_of(folder)).register(folder / "model", "digits", tags={"team": "vision"})

    def check(folder: Path, outcome: faults.Outcome) -> None:
        registry = Registry(store_of(folder))
        models = registry.find()
        old, new = models[0], models[1:]
        assert (old.id, old.aliases, old.tags) == ("digits:1", ("production",), {"stage": "production"})
        assert _downloaded(registry, old, folder) == {"old.onnx": b"the old one"}
        assert len(new) == (outcome.end == "done") or (outcome.end == "killed" and len(new) == 1), new
        again = _again(lambda: act(folder))
        assert again.version > max(model.version for model in models)
        for model in (*new, again):
            files = _downloaded(registry, model, folder)
            assert files == {
                "saved_model.pb": bytes(range(256)) * 6000,
                "labels.txt": b"zero\none\n",
            }
            assert model.tags == {"team": "vision"}

    return Road(prepare, act, check)


def noting(store_of: Callable[[Path], Store]) -> Road:
    """What is said about a model is changed, and an alias moves to it."""

    def prepare(folder: Path) -> None:
        (folder / "old.onnx").write_bytes(b"the old one")
        registry = Registry(store_of(folder))
        first = registry.register(folder / "old.onnx", "digits", tags={"stage": "test"})
        registry.alias(first, "production")
        second = registry.register(folder / "old.onnx", "digits")
        registry.update(second, add_tags={"round": "1"})

    def act(folder: Path) -> None:
        registry = Registry(store_of(folder))
        registry.update(registry.get("digits:2"), add_tags={"round": "2"})
        registry.alias(registry.get("digits:2"), "production")

    def check(folder: Path, outcome: faults.Outcome) -> None:
        first, second = Registry(store_of(folder)).find()
        assert first.tags == {"stage": "test"}
        assert second.tags in ({"round": "1"}, {"round": "2"})
        assert (*first.aliases, *second.aliases) == ("production",)
        if outcome.end == "done":
            assert (second.tags, second.aliases) == ({"round": "2"}, ("production",))
        _again(lambda: act(folder))
        first, second = Registry(store_of(folder)).find()
        assert (first.aliases, second.aliases, second.tags) == ((), ("production",), {"round": "2"})

    return Road(prepare, act, check)


def deleting(store_of: Callable[[Path], Store]) -> Road:
    """A version goes, with its alias and notes; its number is not given again."""

    def prepare(folder: Path) -> None:
        (folder / "old.onnx").write_bytes(b"the old one")
        registry = Registry(store_of(folder))
        registry.register(folder / "old.onnx", "digits")
        second = registry.update(registry.register(folder / "old.onnx", "digits"), add_tags={"round": "1"})
        registry.alias(second, "production")

    def act(folder: Path) -> None:
        registry = Registry(store_of(folder))
        registry.delete(registry.get("digits:2"))

    def check(folder: Path, outcome: faults.Outcome) -> None:
        registry = Registry(store_of(folder))
        there = [model.id for model in registry.find()]
        assert there == ["digits:1"] or (outcome.end != "done" and there == ["digits:1", "digits:2"])
        try:
            _again(lambda: act(folder))
        except NotFoundError:
            assert there == ["digits:1"]
        assert [model.id for model in registry.find()] == ["digits:1"]
        assert registry.register(folder / "old.onnx", "digits").version == 3

    return Road(prepare, act, check)


def pushing(address: str) -> Road:
    """A model with its log is copied from a folder to a registry that has an older one."""

    def here(folder: Path) -> LayoutStore:
        return LayoutStore(folder / "store")

    def there(folder: Path) -> RegistryStore:
        return RegistryStore(f"{address}/{folder.name}")

    def prepare(folder: Path) -> None:
        (folder / "old.onnx").write_bytes(b"the old one")
        (folder / "new.onnx").write_bytes(bytes(range(256)) * 6000)
        registry = Registry(here(folder))
        registry.register(folder / "old.onnx", "digits")
        registry.attach(registry.register(folder / "new.onnx", "digits"), LOG, b"converted", "text/plain")
        copy(here(folder), "models/digits", "1", there(folder), tag="1")

    def act(folder: Path) -> None:
        copy(here(folder), "models/digits", "2", there(folder), tag="2")

    def check(folder: Path, outcome: faults.Outcome) -> None:
        registry = Registry(there(folder))
        for done in (outcome.end == "done", True):
            models = registry.find()
            assert models == Registry(here(folder)).find()[: len(models)]
            assert len(models) == 2 or not done
            for model, data in zip(models, (b"the old one", bytes(range(256)) * 6000), strict=False):
                assert list(_downloaded(registry, model, folder).values()) == [data]
            if len(models) == 2:
                assert registry.attachments(models[1], LOG) == [b"converted"]
            _again(lambda: act(folder))

    return Road(prepare, act, check)


def building() -> Road:
    """An image is built beside an old one."""

    def images(folder: Path) -> Images:
        return Images(LayoutStore(folder / "store"))

    def build(folder: Path, package: str) -> object:
        base, wheels = str(folder / "base.tar"), folder / "wheels"
        lock._FOLDER = folder
        return images(folder).build(folder / package, "four", base=base, wheels=wheels, tags={"team": "vision"})

    def prepare(folder: Path) -> None:
        image_parts.base(folder / "base.tar")
        _, digest = image_parts.wheel(folder / "wheels", "first", {"first.py": b"A = 1\n"})
        for architecture in lock.ARCHITECTURES:
            (folder / f"runtime-{architecture}.txt").write_text(f"first==1.0 --hash=sha256:{digest}\n")
        image_parts.package(folder / "old.zip", b"old")
        image_parts.package(folder / "new.zip", b"new")
        build(folder, "old.zip")

    def check(folder: Path, outcome: faults.Outcome) -> None:
        found = images(folder).find()
        assert [image.id for image in found] in (["four:1"], ["four:1", "four:2"])
        if outcome.end == "done":
            assert len(found) == 2
        _again(lambda: build(folder, "new.zip"))
        for image, package in zip(images(folder).find(), ("old.zip", "new.zip"), strict=True):
            assert images(folder).package(image) == (folder / package).read_bytes()
            assert image.tags == {"team": "vision"}
            assert any(image.digest in line for line in images(folder).log(image))

    return Road(prepare, lambda folder: build(folder, "new.zip"), check)


def deploying() -> Road:
    """A package becomes a service beside an old one."""

    def target(folder: Path) -> LocalTarget:
        target = LocalTarget(Workspace(folder))
        child = Path(__file__).with_name("deploy_child.py")
        target._command = [sys.executable, str(child), "serving"]
        return target

    def prepare(folder: Path) -> None:
        (folder / "fieldwave.toml").touch()
        image_parts.package(folder / "new.zip", b"new")
        Workspace(folder).create_services_folder()

    def act(folder: Path) -> object:
        return target(folder).deploy(folder / "new.zip", "new", timeout=30)

    def check(folder: Path, outcome: faults.Outcome) -> None:
        local = target(folder)
        try:
            services = local.list()
            assert [service.name for service in services] in ([], ["new"])
            if outcome.end != "killed":
                assert bool(services) == (outcome.end == "done"), services
            if services:
                # It appeared as a whole before the caller ended: it serves without the caller, or can be deleted.
                local.delete("new", timeout=5)
            again = _again(lambda: act(folder))
            assert getattr(again, "state", "") == "Healthy"
        finally:
            for service in local.list():
                local.delete(service.name, timeout=5)
        assert local.list() == ()

    return Road(prepare, act, check)


def _downloaded(registry: Registry, model: RegisteredModel, folder: Path) -> dict[str, bytes]:
    place = folder / f"download-{model.version}"
    paths = registry.download(model, place, overwrite=True)
    found = {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}
    shutil.rmtree(place)
    return found


def _again(act: Callable[[], Result]) -> Result:
    begin = time.monotonic()
    result = act()
    assert time.monotonic() - begin < _RERUN_SECONDS, "the rerun waited"
    return result


def sound(folder: Path, killed: bool) -> None:
    """All blobs of the store are what they are named, and only who was killed left something half-written."""
    for path in (folder / "store" / "blobs" / "sha256").glob("*"):
        if re.fullmatch("[0-9a-f]{64}", path.name):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    hidden = re.compile(r"\.[^/]*[0-9a-f]{16}")
    left = [path for path in folder.rglob(".*") if hidden.fullmatch(path.name)]
    assert killed or not left, f"left behind: {left}"


def main() -> int:
    """Put every fault, or every so many, into one road."""
    parser = argparse.ArgumentParser()
    parser.add_argument("road", choices=["register", "notes", "delete", "push", "push-version", "build", "deploy"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)

    def local(folder: Path) -> Store:
        return LayoutStore(folder / "store")

    # A referrer's list whose writer died is waited for; not that long here.
    claims.LEASE_SECONDS, claims.TAKE_SECONDS = 3.0, 2.0
    with ExitStack() as stack:
        address = ""
        if given.road.startswith("push"):
            address = stack.enter_context(oci_registry.running(given.folder))
        roads: dict[str, Callable[[], Road]] = {
            "register": lambda: registering(local),
            "notes": lambda: noting(local),
            "delete": lambda: deleting(local),
            "push": lambda: pushing(address),
            "push-version": lambda: registering(lambda folder: RegistryStore(f"{address}/{folder.name}")),
            "build": building,
            "deploy": deploying,
        }
        return _faults(roads[given.road](), given.folder, given.every)


def _faults(road: Road, folder: Path, every: int) -> int:
    def fresh(number: int) -> Path:
        place = folder / f"case{number}"
        place.mkdir()
        road.prepare(place)
        return place

    dry = fresh(0)
    outcome = faults.run(lambda: road.act(dry), dry)
    assert outcome.end == "done", outcome
    road.check(dry, outcome)
    ends: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    torn = 0
    for number, (at, kind, fault) in enumerate(faults.everything(outcome.points, every), start=1):
        place = fresh(number)
        done = faults.run(lambda place=place: road.act(place), place, at, fault)  # type: ignore[misc]
        ends[done.end] += 1
        kinds[f"{kind}: {fault}"] += 1
        try:
            assert done.end != "crashed" and "\n" not in done.text, done.text
            sound(place, done.end == "killed")
            road.check(place, done)
            if (place / "store").exists():
                LayoutStore(place / "store").collect_garbage()
                sound(place, killed=False)
        except Exception as error:
            torn += 1
            case = {"at": at, "of": len(outcome.points), "kind": kind, "fault": fault, "end": done.end}
            print(json.dumps({**case, "said": done.text, "wrong": f"{type(error).__name__}: {error}"}), flush=True)
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({"faults": sum(ends.values()), "torn": torn, "ends": ends, "kinds": kinds}))
    return 1 if torn else 0


if __name__ == "__main__":
    sys.exit(main())
