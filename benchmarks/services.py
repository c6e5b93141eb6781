"""The figures of services on this machine: deploying, changing, replicas; as processes and in podman.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/services.py --write

It converts ResNet-50 with random weights for the NPU sim16 (two minutes), unless ``--package`` names a package of
that kind. With ``--image NAME:VERSION`` (of the workspace; ``fieldwave images build``) podman is measured, too.
``--write`` replaces ``benchmarks/results/services.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldwave.client import PredictionClient
from fieldwave.conversion import convert
from fieldwave.deploy import LocalTarget
from fieldwave.devices import open_device
from fieldwave.images import Images
from fieldwave.package import Package, read_package, write_package
from fieldwave.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "tests" / "data" / "images"
PHOTO = (PHOTOS / "snowleopardgaze.jpg").read_bytes()
RESULTS = ROOT / "benchmarks" / "results" / "services.json"
NPU = "sim16"


def seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def relabelled(package: Package, path: Path) -> Path:
    """The same network with other labels: another package to change to."""
    manifest = package.manifest
    write_package(
        path,
        network=manifest.network,
        model=package.model,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=package.preprocessing,
        labels=[f"class {number}" for number in range(len(manifest.labels))],
        programs={program: package.files[program.file] for program in manifest.programs},
    )
    return path


def deployment(target: LocalTarget, source: Any, runs: int, **options: Any) -> dict[str, float]:
    """Median seconds from the call to Healthy, and to the first answer."""
    ready, answered = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        service = target.deploy(source, "bench", **options)
        ready.append(time.perf_counter() - begin)
        with service.client() as client:
            client.score_image(PHOTO, timeout=60)
        answered.append(time.perf_counter() - begin)
        target.delete("bench")
    return {"ready_seconds": statistics.median(ready), "first_answer_seconds": statistics.median(answered)}


@contextmanager
def asked(client: PredictionClient, pixels: dict[str, Any]) -> Iterator[list[float]]:
    """Ask without a pause; the moments of the answers."""
    answers: list[float] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            client.score_numpy_arrays(pixels)
            answers.append(time.perf_counter())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        enough.set()
        thread.join()


def change(target: LocalTarget, first: Path, second: Path, runs: int) -> dict[str, float]:
    """A package in place of another, in a service that is asked all the while, and in one that is not."""
    service = target.deploy(first, "bench")
    pixels = read_package(first).image_input(PHOTO)
    quiet = [seconds(lambda source=source: target.update("bench", source)) for source in (second, first) * runs]
    pauses, usual, busy = [], [], []
    with service.client() as client, asked(client, pixels) as answers:
        for source in (second, first) * runs:
            time.sleep(1.0)
            start = len(answers) - 1
            usual += [b - a for a, b in itertools.pairwise(answers)]
            busy.append(seconds(lambda source=source: target.update("bench", source)))
            time.sleep(0.5)
            around = answers[start:]
            pauses.append(max(b - a for a, b in itertools.pairwise(around)))
    restarts = target.get("bench").restarts
    scaling = seconds(lambda: target.scale("bench", 2))
    target.delete("bench")
    assert restarts == 0
    return {
        "update_seconds": statistics.median(quiet),
        "update_seconds_under_load": statistics.median(busy),
        "longest_pause_ms": statistics.median(pauses) * 1e3,
        "usual_pause_ms": statistics.median(usual) * 1e3,
        "second_replica_seconds": scaling,
    }


def held_device(device: str, packages: list[Package], runs: int) -> dict[str, float]:
    """Milliseconds to prepare a package that is in memory, and for which the device is kept from running."""
    prepared, exchanged = [], []
    with open_device(device) as opened:
        opened.load(packages[0])
        for package in packages[::-1] * runs:
            begin = time.perf_counter()
            network = opened.prepare(package)
            middle = time.perf_counter()
            opened.exchange(network)
            prepared.append((middle - begin) * 1e3)
            exchanged.append((time.perf_counter() - middle) * 1e3)
    return {"prepare_ms": statistics.median(prepared), "exchange_ms": statistics.median(exchanged)}


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        key: rounded(value) if isinstance(value, dict) else float(f"{value:.3g}") for key, value in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, help=f"ResNet-50 with a program for {NPU}")
    parser.add_argument("--image", default="", help="NAME:VERSION, to measure podman, too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = given.package or Path(folder) / "first.zip"
        if given.package is None:
            convert("resnet50", weights="random:0", calibration=PHOTOS, output=first, npu=[NPU])
        package = read_package(first)
        second = relabelled(package, Path(folder) / "second.zip")
        target = LocalTarget(Workspace(Path(folder) / "workspace"))
        load = os.getloadavg()[0]
        packages = [package, read_package(second)]
        figures: dict[str, Any] = {
            "load_before": load,
            "process": deployment(target, first, given.runs),
            "change": change(target, first, second, given.runs),
            "held_cpu": held_device("cpu", packages, given.runs),
            f"held_rtl_{NPU}": held_device(f"rtl:{NPU}", packages, given.runs),
        }
        if given.image:
            here = LocalTarget()
            image = Images(here.workspace.store).get(given.image)
            deployment(here, image, 1, runtime="podman")  # podman takes the image up: that is measured elsewhere
            figures["podman"] = deployment(here, image, given.runs, runtime="podman")
    figures = rounded(figures)
    print(json.dumps(figures, indent=2))
    if given.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
