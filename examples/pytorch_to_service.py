"""From a PyTorch module to a served prediction on this machine, in about twenty seconds.

    pip install '.[torch]'
    python examples/pytorch_to_service.py

A small network learns handwritten digits, becomes an int8 package and a service, names the digits of some image
files, and is deleted again. The module goes to Fieldwave as it is; to hand it to somebody else, or to the shell,
save it with ``torch.export.save`` (.pt2) or ``torch.onnx.export`` (.onnx), and::

    fieldwave convert digits-torch.pt2 --mean 0.5 --std 0.5 --calibration photos --output digits-torch.zip
    fieldwave services deploy digits-torch.zip
    fieldwave predict digits-torch photos/0.png
    fieldwave services delete digits-torch
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fieldwave
from fieldwave import zoo
from fieldwave.frontends import Pixels

MEAN, STD = 0.5, 0.5  # of pixels from 0 to 1, as in torchvision's ToTensor and Normalize


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
        nn.Softmax(1),
    )


def train(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network gains nothing from more
    model = network()
    inputs = (torch.from_numpy(images[:, np.newaxis]) / 255 - MEAN) / STD
    targets = torch.from_numpy(labels.astype(np.int64))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(12):
        for batch in torch.randperm(len(inputs)).split(32):
            optimiser.zero_grad()
            nn.functional.nll_loss(torch.log(model(inputs[batch]) + 1e-9), targets[batch]).backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    digits = zoo.digits_images()
    images, labels = digits.heldout_images, digits.heldout_labels  # 360 images with labels
    known, unseen = slice(0, 300), slice(300, 360)
    with tempfile.TemporaryDirectory() as folder:
        photos, package = Path(folder) / "photos", Path(folder) / "digits-torch.zip"
        photos.mkdir()
        for index, pixels in enumerate(images):
            (photos / f"{index}.png").write_bytes(zoo.digit_png(pixels))

        made = fieldwave.convert(
            train(images[known], labels[known]),
            size=8,
            preprocessing=Pixels(mean=(MEAN,), std=(STD,)),
            calibration=photos,
            labels="0123456789",
            output=package,
        )
        print(*(f"note: {line}" for line in made.notes), sep="\n")
        print(
            f"{made.path.name}: float and int8 agree on {made.report.agreement:.1%} of {made.report.images} images"
        )

        target = fieldwave.LocalTarget()
        service = target.deploy(package, name="digits-torch")
        try:
            with service.client() as client:
                scores = [client.score_file(photos / f"{index}.png") for index in range(360)[unseen]]
        finally:
            target.delete("digits-torch")
        right = np.mean(np.argmax(scores, axis=1) == labels[unseen])
        print(f"served {len(scores)} digits that the network has not seen: {right:.1%} right")


if __name__ == "__main__":
    main()
