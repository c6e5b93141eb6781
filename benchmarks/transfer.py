"""A head on ResNet-50's features of handwritten digits enlarged to 224 x 224: float against int8.

::

    python benchmarks/transfer.py --write

The goal: the two accuracies are within 0.5 points. The network has random weights (``random:0``), so its features
are random ones; that they tell digits apart at all is the work of the head. The 1,797 scanned digits of
scikit-learn go through the network as PNG files, by the network's own preprocessing. Heads are logistic
regressions over standardised features, tested by five-fold cross-validation: each digit is tested once. Four
accuracies:

* float: head trained and tested on the float network's features;
* int8: trained and tested on the int8 network's features, and run in float behind it, as `transfer.pack` does;
* int8_head: the same with the head in int8 too;
* switched: trained on float features, tested on int8 ones.

Prints one line of JSON; ``--write`` keeps it in ``benchmarks/results/transfer.json`` as well. Takes a quarter
of an hour on two cores that others use too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fieldwave import transfer, zoo
from fieldwave.quantize import quantize
from fieldwave.quantize.tensors import all_tensors

RESULTS = Path(__file__).resolve().parent / "results" / "transfer.json"
CALIBRATION = 16
FOLDS = 5
GOAL = 0.005


def compare(network: str = "resnet50", weights: str = "random:0", count: int = 1797) -> dict[str, Any]:
    """The four accuracies over the first ``count`` digits, and how far the features are from float."""
    data = load_digits()
    pixels = np.rint(data.images[:count] * 255 / 16).astype(np.uint8)
    labels = data.target[:count]
    images = [zoo.digit_png(one) for one in pixels]
    chosen = np.random.default_rng(0).permutation(len(images))[:CALIBRATION]
    featurizer = transfer.featurizer(network, [images[index] for index in chosen], weights=weights)
    begin = time.perf_counter()
    int8 = featurizer.features(images)
    seconds = time.perf_counter() - begin
    real = featurizer.float_features(images)
    found = accuracies(real, int8, labels)
    return {
        "network": network,
        "weights": weights,
        "images": len(images),
        "features": featurizer.size,
        "folds": FOLDS,
        "accuracy": {name: round(hits / len(images), 5) for name, hits in found.items()},
        "difference": round(abs(found["float"] - found["int8"]) / len(images), 5),
        "goal": GOAL,
        "feature_snr_db": round(float(10 * np.log10(np.square(real).sum() / np.square(int8 - real).sum())), 2),
        "int8_features_seconds": round(seconds, 1),
    }


def accuracies(real: NDArray[np.float32], int8: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, int]:
    """How many images each kind labels right, over all folds."""
    right = dict.fromkeys(("float", "int8", "int8_head", "switched"), 0)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(real, labels):
        on_float, on_int8 = (trained(features[train], labels[train]) for features in (real, int8))
        right["float"] += int((on_float.predict(real[test]) == labels[test]).sum())
        right["switched"] += int((on_float.predict(int8[test]) == labels[test]).sum())
        right["int8"] += int((on_int8.predict(int8[test]) == labels[test]).sum())
        found = int8_head(transfer.head_of(on_int8, real.shape[1]), int8[train], int8[test])
        right["int8_head"] += int((found == labels[test]).sum())
    return right


def trained(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return head.fit(features, labels)


def int8_head(
    head: transfer.Head, calibration: NDArray[np.float32], features: NDArray[np.float32]
) -> NDArray[np.intp]:
    """The classes that the head in int8 finds."""
    graph = quantize(transfer.head_graph(head), list(calibration[:200, None])).graph
    (scores,) = (value.name for value in graph.outputs)
    return np.concatenate([one[scores].argmax(1) for one in all_tensors(graph, [scores], features[:, None])])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1797, help="how many of the digits")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    arguments = parser.parse_args()
    result = compare(count=arguments.count)
    print(json.dumps(result))
    if arguments.write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
