"""From a JPEG file to a network's input: how long it takes, decoded in full and scaled.

::

    python benchmarks/preprocess.py --write

A photograph of the tests at 640 x 480 and enlarged to 12 megapixels, to 224 x 224 by way of a shortest side of
256. The fastest of the runs, which other users of the machine disturb least, and their median.

Prints one line of JSON; ``--write`` keeps it in ``benchmarks/results/preprocess.json`` as well.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from fieldwave.preprocess import Preprocessing, preprocess

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks" / "results" / "preprocess.json"
SIZES = ((640, 480), (4000, 3000))


def measured(runs: int) -> dict[str, Any]:
    path = min((PROJECT / "tests" / "data" / "images").glob("*.jpg"))
    spec = Preprocessing(224, 224)
    found: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1), "runs": runs}
    for size in SIZES:
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        data = buffer.getvalue()
        times: dict[str, list[float]] = {"full": [], "scaled": []}
        for _ in range(runs):
            for way, taken in times.items():
                begin = time.perf_counter()
                preprocess(data, replace(spec, decode=way))  # type: ignore[arg-type]
                taken.append(1e3 * (time.perf_counter() - begin))
        found["x".join(map(str, size))] = {
            "kilobytes": len(data) >> 10,
            **{
                f"{way}_ms": {"fastest": round(min(taken), 2), "median": round(statistics.median(taken), 2)}
                for way, taken in times.items()
            },
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="keep what was measured in benchmarks/results")
    arguments = parser.parse_args()
    found = measured(arguments.runs)
    print(json.dumps(found))
    if arguments.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
