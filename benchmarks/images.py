"""The figures of images: builds, sizes, and podman from a ready image to the first answer.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/images.py rn50.zip --base minbase.tar.gz --write

``rn50.zip`` is a package of ResNet-50, as ``benchmarks/main_road.py`` makes one; ``--base`` a root filesystem's
archive to build on. The base that ``fieldwave images base`` makes is measured in any case. The wheels are
downloaded before, but for the one figure that says so. ``--write`` replaces ``benchmarks/results/images.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.containers import Podman, podman  # noqa: E402
from tests.oci_registry import free_port  # noqa: E402

from fieldwave import zoo  # noqa: E402
from fieldwave.client import PredictionClient  # noqa: E402
from fieldwave.conversion import convert  # noqa: E402
from fieldwave.images import Image, Images, add_base, make_base  # noqa: E402
from fieldwave.images.wheels import wheels  # noqa: E402
from fieldwave.store import LayoutStore  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "images.json"
RUNS = 5
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def digits_package(folder: Path) -> Path:
    """A small package: the second model on the same base, and what podman answers with."""
    photos = folder / "photos"
    photos.mkdir()
    for number, pixels in enumerate(zoo.digits_images().calibration_images[:20]):
        (photos / f"{number:02d}.png").write_bytes(zoo.digit_png(pixels))
    return convert("digits", calibration=photos, output=folder / "digits.zip").path


def seconds(work: Any) -> tuple[float, Any]:
    """How long it takes, and what it returns."""
    begin = time.perf_counter()
    made = work()
    return time.perf_counter() - begin, made


def builds(store: LayoutStore, base: str, package: Path, small: Path) -> dict[str, Any]:
    """Build ResNet-50 on a base that nothing was built on, then another model, then the same again."""
    images = Images(store)
    first, image = seconds(lambda: images.build(package, "resnet50", base=base))
    new_model = [seconds(lambda name=name: images.build(small, name, base=base))[0] for name in ("a", "b", "c")]
    again = [seconds(lambda: images.build(package, "resnet50", base=base))[0] for _ in range(3)]
    large = [seconds(lambda name=name: images.build(package, name, base=base))[0] for name in ("d", "e", "f")]
    _, manifest = store.manifest(image.repository, image.digest)
    sizes = [layer.size for layer in manifest.layers]
    return {
        "first_build_seconds": first,
        "new_small_model_seconds": statistics.median(new_model),
        "new_name_resnet50_seconds": statistics.median(large),
        "same_again_seconds": statistics.median(again),
        "base_megabytes": sum(sizes[:-3]) / 1e6,
        "runtime_megabytes": sum(sizes[-3:-1]) / 1e6,
        "package_megabytes": sizes[-1] / 1e6,
        "image_megabytes": image.size / 1e6,
    }


def first_answer(running: Podman, image: Image, runs: int) -> dict[str, float]:
    """Seconds from ``podman run`` of a ready image to the first answer to a digit."""
    picture = zoo.digit_png(zoo.digits_images().heldout_images[0])
    times = []
    for _ in range(runs):
        port = free_port()
        begin = time.perf_counter()
        name = running(
            *("run", "--detach", *HARDENED, f"--publish=127.0.0.1:{port}:50051"),
            *("--env=FIELDWAVE_INSECURE=1", image.reference()),
        )
        with PredictionClient(f"127.0.0.1:{port}") as client:
            client.wait_until_ready(60)
            client.score_image(picture)
        times.append(time.perf_counter() - begin)
        running("rm", "--force", "--time=5", name)
    return {"median_seconds": statistics.median(times), "worst_seconds": max(times)}


def measure(package: Path, base: Path | None, folder: Path) -> dict[str, Any]:
    """All figures."""
    small = digits_package(folder)
    wheels("amd64")
    results: dict[str, Any] = {}
    own = LayoutStore(folder / "own")
    results["make_base_seconds"], made = seconds(lambda: make_base(own))
    results["on_own_base"] = builds(own, made.name, package, small)
    if base is not None:
        given = LayoutStore(folder / "given")
        results["add_base_seconds"], other = seconds(lambda: add_base(given, str(base), "given"))
        results["on_given_base"] = builds(given, other.name, package, small)
    images = Images(own)
    image = images.get("a")
    archive = folder / "image.tar"
    results["export_seconds"], _ = seconds(lambda: images.export(image, archive))
    with podman(folder / "podman") as running:
        results["podman_load_seconds"], _ = seconds(lambda: running("load", "-q", "-i", str(archive)))
        results["podman_run_to_first_answer"] = first_answer(running, image, RUNS)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    results["download_wheels_seconds"], _ = seconds(lambda: wheels("amd64"))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.package, options.base, Path(folder))
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "load_before": load}
    text = json.dumps({"machine": machine, **rounded(results)}, indent=2) + "\n"
    print(text, end="")
    if options.write:
        RESULTS.write_text(text)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
