"""The figures of the store: many writers at once, long lists, copies; in a folder and in Debian's registry.

Run from the project's root, with the package and docker-registry installed::

    .venv/bin/python benchmarks/store.py --write

``--write`` replaces ``benchmarks/results/store.json``. Each writer is a process of its own; nothing is measured
before it was checked that no version was lost.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import oci_registry  # noqa: E402

from fieldwave.registry import Registry  # noqa: E402
from fieldwave.store import Artifact, Layer, LayoutStore, RegistryStore, Store, copy  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "store.json"
WRITERS, EACH = 16, 50
MODELS = 1000
RUNS = 5


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def writer(open_store: Callable[[], Store], path: Path) -> None:
    """Register a file again and again under one name."""
    registry = Registry(open_store())
    for _ in range(EACH):
        registry.register(path, "digits")


def writers(open_store: Callable[[], Store], path: Path) -> dict[str, Any]:
    """Many who register the same model at once."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=writer, args=(open_store, path)) for _ in range(WRITERS)]
    begin = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    taken = time.perf_counter() - begin
    versions = [model.version for model in Registry(open_store()).find("digits")]
    assert len(set(versions)) == WRITERS * EACH, "a version was lost"
    return {"writers": WRITERS, "each": EACH, "seconds": round(taken, 1), "highest_version": max(versions)}


def alone(open_store: Callable[[], Store], path: Path) -> dict[str, float]:
    """One who registers, with nobody else."""
    registry = Registry(open_store())
    taken = [seconds(lambda: registry.register(path, "alone")) for _ in range(20)]
    return {"register_ms": round(statistics.median(taken) * 1e3, 1)}


def lists(store: Store, path: Path) -> dict[str, Any]:
    """The list of many models."""
    registry = Registry(store)
    for number in range(MODELS):
        registry.register(path, f"model-{number % 10}", tags={"round": str(number)})
    taken = [seconds(lambda: registry.find(tags=["round"])) for _ in range(RUNS)]
    one = [seconds(lambda: registry.get("model-3")) for _ in range(RUNS)]
    return {
        "models": MODELS,
        "list_seconds": round(statistics.median(taken), 3),
        "get_seconds": round(statistics.median(one), 3),
    }


def copies(store: Store, target: Store) -> dict[str, Any]:
    """A package of ResNet-50's size with its log, to a registry that lacks it, and again."""
    size = 26_000_000
    artifact = Artifact("application/vnd.fieldwave.package.v1", (Layer("application/zip", os.urandom(size)),))
    model = store.push("models/big", artifact, "1").descriptor
    store.push("models/big", Artifact("application/vnd.example", (Layer("text/plain", b"log"),), subject=model))
    first = seconds(lambda: copy(store, "models/big", "1", target, tag="1"))
    again = seconds(lambda: copy(store, "models/big", "1", target, tag="1"))
    return {"bytes": size, "first_seconds": round(first, 2), "again_seconds": round(again, 2)}


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
    with tempfile.TemporaryDirectory() as name, oci_registry.running(Path(name)) as address:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(os.urandom(10_000))

        def layout() -> Store:
            return LayoutStore(folder / "store")

        def remote() -> Store:
            return RegistryStore(f"{address}/bench")

        results["load_before"] = round(os.getloadavg()[0], 1)
        for kind, open_store in (("folder", layout), ("registry", remote)):
            results[kind] = {**alone(open_store, folder / "model.onnx")}
            results[kind] |= {"at_once": writers(open_store, folder / "model.onnx")}
        results["folder"] |= lists(LayoutStore(folder / "many"), folder / "model.onnx")
        results["copy_to_registry"] = copies(layout(), remote())
        results["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(results, indent=2))
    if given.write:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
