"""What the choices of quantization are worth: float against int8 on images that calibration has not seen.

::

    python benchmarks/quantization.py digits resnet50 densenet121 --write

The digits network is trained; it is calibrated on its calibration images and measured on the 360 held out. The
others have the weights ``random:0``, whose activations have longer tails than trained ones, and so ask more of a
scale: calibrated on six photographs and two synthetic scenes, measured on four and six. ``--write`` keeps the
figures in ``benchmarks/results/quantization.json``, network by network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import zoo
from fieldwave.graph import Graph
from fieldwave.preprocess import normalise, preprocess
from fieldwave.quantize import Options, quantize
from fieldwave.zoo.scenes import dead_leaves

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "quantization.json"
PHOTOS = HERE.parent / "tests" / "data" / "images"

OPTIONS = {
    "minmax, bias correction": Options(),
    "minmax": Options(bias_correction=False),
    "percentile 99.99, bias correction": Options("percentile"),
    "percentile 99.9, bias correction": Options("percentile", 99.9),
    "error, bias correction": Options("error"),
    "minmax, bias correction, equalised": Options(equalise=True),
    "error, bias correction, equalised": Options("error", equalise=True),
}
Images = list[NDArray[np.float32]]


def measure(name: str) -> Iterator[dict[str, Any]]:
    """One line for each set of options."""
    graph, calibration, evaluation, labels = network(name)
    for words, options in OPTIONS.items():
        start = time.process_time()
        report = quantize(graph, calibration, evaluation=evaluation, labels=labels, options=options).report
        yield {
            "options": words,
            "images": report.images,
            "same_first_class": report.agreement,
            "float_accuracy": report.float_accuracy,
            "int8_accuracy": report.int8_accuracy,
            "worst_layer_db": report.worst(1)[0].snr,
            "median_layer_db": statistics.median(layer.snr for layer in report.layers),
            "last_layer_db": report.layers[-1].snr,
            "cpu_seconds": time.process_time() - start,
        }


def network(name: str) -> tuple[Graph, Images, Images, list[int] | None]:
    """A float network, its calibration images, and others with their labels where there are some."""
    described = zoo.network(name)
    spec = described.preprocessing
    if name == "digits":
        images = zoo.digits_images()
        weights = zoo.load_weights(described, "")
        seen, unseen = (
            [normalise(pixels[None, ..., None], spec) for pixels in part]
            for part in (images.calibration_images, images.heldout_images)
        )
        return zoo.float_model(described, weights).graph, seen, unseen, [int(i) for i in images.heldout_labels]
    weights = zoo.load_weights(described, "random:0")
    photos = [preprocess(path.read_bytes(), spec)[None] for path in sorted(PHOTOS.glob("*.jpg"))]
    scenes = [normalise(scene[None], spec) for scene in dead_leaves(7, 8, described.input.shape)]
    graph = zoo.float_model(described, weights).graph
    return graph, photos[:6] + scenes[:2], photos[6:] + scenes[2:], None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    for name in arguments.networks:
        lines = []
        for line in measure(name):
            lines.append(
                {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}
            )
            print(json.dumps({"network": name, **lines[-1]}), flush=True)
        if arguments.write:
            kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps({**kept, name: lines}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
