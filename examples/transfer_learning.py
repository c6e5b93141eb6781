"""New classes for a network: train it, quantize it, and put a head of one's own on its features.

    pip install 'fieldwave[torch]' scikit-learn
    python examples/transfer_learning.py

The images are real: the 1,797 scanned digits of scikit-learn's ``load_digits``. A network learns 0 to 4 from
scratch, in PyTorch. Quantized and without its classifier it becomes a featurizer; on its features, scikit-learn
learns 5 to 9, which the network has never seen, from twenty examples each. Both together are one package, which is
deployed on this machine and asked over gRPC.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fieldwave import training, transfer, zoo
from fieldwave.deploy import LocalTarget
from fieldwave.preprocess import normalise
from fieldwave.workspace import Workspace

EXAMPLES = 20
ASKED = 50


def main() -> None:
    parser = argparse.ArgumentParser(description="Transfer learning on real digits.")
    parser.add_argument("--device", default="cpu", help="what computes the features: cpu, rtl:tiny")
    parser.add_argument("--epochs", type=int, default=3, help="of training the network on 0 to 4")
    arguments = parser.parse_args()

    data = load_digits()
    pixels = np.rint(data.images * 255 / 16).astype(np.uint8)
    old, new = data.target < 5, data.target >= 5

    # A network for five classes, from random weights.
    network = zoo.network("digits", labels=("0", "1", "2", "3", "4"))
    images = normalise(pixels[..., None], network.preprocessing)
    module = zoo.to_torch(network, zoo.load_weights(network, "random:0"))
    losses = training.fine_tune(module, images[old], data.target[old], epochs=arguments.epochs, learning_rate=2e-3)
    print(f"0 to 4: {old.sum()} images, loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last")

    # Its int8 featurizer, and what it makes of the digits 5 to 9.
    model = zoo.float_model(network, zoo.weights_of(module))
    featurizer = transfer.featurizer(model, images[old][:32])
    features = featurizer.features(images[new], arguments.device)
    labels = data.target[new]
    print(f"5 to 9: {len(features)} images, {featurizer.size} features each, computed on {arguments.device}")

    # A head from a few examples of each.
    known = np.concatenate([np.flatnonzero(labels == digit)[:EXAMPLES] for digit in range(5, 10)])
    rest = np.setdiff1d(np.arange(len(labels)), known)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    head.fit(features[known], labels[known])
    print(
        f"head: {len(known)} examples, {head.score(features[rest], labels[rest]):.1%} right of {len(rest)} others"
    )

    # One package of both, deployed and asked.
    with tempfile.TemporaryDirectory() as folder:
        package = transfer.pack(featurizer, head, output=Path(folder) / "five_to_nine.zip")
        print(f"package: {package.manifest.outputs[0]}, classes {', '.join(package.manifest.labels)}")
        target = LocalTarget(Workspace(Path(folder)))
        service = target.deploy(Path(folder) / "five_to_nine.zip", "five-to-nine")
        try:
            with service.client() as client:
                asked = pixels[new][rest[:ASKED]]
                answers = [client.score_image(zoo.digit_png(one)).argmax() for one in asked]
        finally:
            target.delete("five-to-nine")
    names = [package.manifest.labels[found] for found in answers]
    right = sum(name == str(label) for name, label in zip(names, labels[rest[:ASKED]], strict=True))
    print(f"service: {right} of {len(answers)} answers right")


if __name__ == "__main__":
    main()
