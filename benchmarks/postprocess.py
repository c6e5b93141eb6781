"""Post-processing of SSD-VGG-300: 8,432 anchors of 21 classes to objects, on synthetic outputs.

::

    python benchmarks/postprocess.py --write

Prints one line of JSON; ``--write`` keeps it in ``benchmarks/results/postprocess.json`` as well. The best of many
calls, because machines are shared and the work is one thread's.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.postprocess import detect, draw, ssd300_vgg

RESULTS = Path(__file__).resolve().parent / "results" / "postprocess.json"
CALLS = 300
SSD = ssd300_vgg()
CASES = {  # how far the background's logit stands above the others', and the score threshold
    "ten_objects": (8.0, 0.5),
    "evaluation": (5.5, 0.01),
    "every_anchor_a_candidate": (0.0, 0.0),
}


def outputs(background: float, seed: int = 0) -> list[NDArray[np.float32]]:
    """Random logits and offsets of one image, with ten objects that nobody overlooks."""
    rng = np.random.default_rng(seed)
    shapes = [(1, one.rows, one.columns, one.anchors) for one in SSD.maps]
    logits = [rng.normal(0, 1, (*shape, 21)).astype(np.float32) for shape in shapes]
    for one in logits:
        one[..., 0] += background
    for place in rng.integers(0, 37, (10, 2)):
        logits[0][0, *place, 0, 15] += background + 8
    return [*logits, *(rng.normal(0, 1, (*shape, 4)).astype(np.float32) for shape in shapes)]


def best(call: Any) -> float:
    """The shortest of many calls, in milliseconds."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(min(times) * 1e3, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    write = parser.parse_args().write
    result: dict[str, Any] = {}
    for name, (background, threshold) in CASES.items():
        given, detector = outputs(background), replace(SSD, score_threshold=threshold)
        found = detect(given, detector)[0]
        result[name] = {"objects": len(found), "ms": best(lambda g=given, d=detector: detect(g, d))}
        if name == "ten_objects":
            picture = np.zeros((600, 600, 3), np.uint8)
            result["draw_600x600_ms"] = best(lambda p=picture, f=found: draw(p, f))
    print(json.dumps(result))
    if write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
