"""Single-shot detectors on classes of one's own: the multibox loss, and a loop around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import InputError
from fieldwave.postprocess import Detector
from fieldwave.training.framework import functional, torch
from fieldwave.training.matching import match
from fieldwave.zoo import Network

__all__ = ["adapted", "fine_tune_detector", "multibox_loss"]

_DEVIATION = 0.01


def multibox_loss(
    outputs: Sequence[torch.Tensor],
    classes: torch.Tensor,
    offsets: torch.Tensor,
    *,
    background: int = 0,
    negatives: float = 3.0,
) -> torch.Tensor:
    """The loss of Liu et al. (SSD, 2016), equations 1 to 3: classes and places of the anchors that matter.

    Cross-entropy of the anchors that answer for an object, and of ``negatives`` times as many others, those whose
    loss is largest in each image (hard negative mining); smooth L1 of the offsets; both by the number of anchors
    that answer for an object.

    Args:
        outputs: of a detector: the logits of each feature map [N, rows, columns, anchors, classes], then the boxes
            [N, rows, columns, anchors, 4].
        classes: int64 [N, anchors], as `match` gives them.
        offsets: float32 [N, anchors, 4].
        background: the class that is no object.
        negatives: how many other anchors count for each that answers for an object.
    """
    half, count = len(outputs) // 2, len(classes)
    logits = torch.cat([one.reshape(count, -1, one.shape[-1]) for one in outputs[:half]], 1)
    boxes = torch.cat([one.reshape(count, -1, 4) for one in outputs[half:]], 1)
    positive = classes != background
    cross_entropy = functional.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
    hardness = cross_entropy.detach().masked_fill(positive, -1.0)
    rank = hardness.argsort(1, descending=True).argsort(1)
    mined = (rank < negatives * positive.sum(1, keepdim=True)) & ~positive
    places = functional.smooth_l1_loss(boxes[positive], offsets[positive], reduction="sum")
    return (cross_entropy[positive | mined].sum() + places) / positive.sum().clamp(min=1)


def fine_tune_detector(
    module: torch.nn.Module,
    detector: Detector,
    images: NDArray[np.float32],
    objects: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]],
    *,
    epochs: int = 10,
    batch: int = 8,
    learning_rate: float = 1e-3,
    mirror: bool = True,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[float]:
    """Train a detector on images with boxes: Adam, a learning rate that falls as half a cosine.

    Args:
        module: gives the outputs of `multibox_loss` for float32 images [n, height, width, channels]: a detector
            of the zoo (``zoo.to_torch``), or its `FakeQuantized`. It is in eval mode afterwards.
        detector: how its outputs are read (``network.detector``).
        images: float32 [n, height, width, channels], as preprocessing makes them.
        objects: of each image: boxes [objects, 4] (ymin, xmin, ymax, xmax, as fractions of the image), and their
            classes [objects], none of them the background.
        epochs: how often each image is seen.
        batch: images of one step.
        learning_rate: at the start.
        mirror: show every other image, by chance, with left and right exchanged.
        seed: of the order of the images and of the mirror.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: no images, or boxes of another number of images.
    """
    if len(images) == 0 or len(images) != len(objects):
        raise InputError(f"{len(images)} images have the objects of {len(objects)}; give those of each image")
    rng = np.random.default_rng(seed)
    targets = [
        [match(detector, boxes if side == 0 else mirrored(boxes), classes) for side in range(1 + mirror)]
        for boxes, classes in objects
    ]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs * -(-len(images) // batch), 1))
    losses = []
    module.train()
    for epoch in range(epochs):
        total, order = 0.0, rng.permutation(len(images))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            sides = rng.integers(0, 1 + mirror, len(chosen))
            pictures = [images[i, :, ::-1] if side else images[i] for i, side in zip(chosen, sides, strict=True)]
            wanted = [targets[i][side] for i, side in zip(chosen, sides, strict=True)]
            loss = multibox_loss(
                module(torch.from_numpy(np.stack(pictures))),
                torch.from_numpy(np.stack([one.classes for one in wanted])),
                torch.from_numpy(np.stack([one.offsets for one in wanted])),
                background=detector.background,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        losses.append(total / len(images))
        progress(f"fine-tuning: loss {losses[-1]:.4f}", (epoch + 1) / epochs)
    module.eval()
    return losses


def mirrored(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [..., 4] (ymin, xmin, ymax, xmax) of the image with left and right exchanged."""
    ymin, xmin, ymax, xmax = np.moveaxis(boxes, -1, 0)
    return np.stack([ymin, 1 - xmax, ymax, 1 - xmin], -1)


def adapted(
    network: Network, weights: Mapping[str, NDArray[np.float32]], *, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Weights for a network with other classes: those that fit are taken, the others drawn at random.

    For a detector of the zoo these are the class predictors (``conv_cls``), whose number of channels follows that
    of the classes. Kernels are normal with a deviation of 0.01, biases 0.

    Args:
        network: with the new classes: ``zoo.network("ssd_vgg", labels=("background", "cat", ...))``.
        weights: of the network that was trained.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in network.weight_shapes.items():
        if name in weights and weights[name].shape == shape:
            made[name] = weights[name]
        elif len(shape) > 1:
            made[name] = rng.normal(0, _DEVIATION, shape).astype(np.float32)
        else:
            made[name] = np.zeros(shape, np.float32)
    return made
