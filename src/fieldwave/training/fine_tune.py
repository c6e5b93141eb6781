"""A training loop for classifiers, short enough to be copied where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import InputError
from fieldwave.training.framework import functional, torch

__all__ = ["fine_tune"]


def fine_tune(
    module: torch.nn.Module,
    images: NDArray[np.float32],
    labels: NDArray[Any],
    *,
    epochs: int = 10,
    batch: int = 32,
    learning_rate: float = 1e-4,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[float]:
    """Train a classifier on labelled images: cross-entropy, Adam, a learning rate that falls as half a cosine.

    Args:
        module: takes float32 images [n, height, width, channels] and gives logits [n, classes]: by its method
            ``logits`` where it has one (a `FakeQuantized`, a network of the zoo), by itself else. Parameters that
            ask for no gradient stay as they are. It is in eval mode afterwards.
        images: float32 [n, height, width, channels], as preprocessing makes them.
        labels: [n], whole numbers from 0.
        epochs: how often each image is seen.
        batch: images of one step.
        learning_rate: at the start; 1e-4 suits a network that is good already.
        seed: of the order of the images. The same seed gives the same weights on the same machine.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: no images, labels of another number, or nothing to train.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise InputError(f"{len(images)} images have {len(labels)} labels; give each image one")
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise InputError("no parameter of the module asks for a gradient: nothing would be trained")
    logits: Any = getattr(module, "logits", module)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    steps = epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    inputs, targets = torch.from_numpy(images), torch.from_numpy(np.asarray(labels, np.int64))
    device = trained[0].device
    losses = []
    module.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            loss = functional.cross_entropy(logits(inputs[chosen].to(device)), targets[chosen].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        losses.append(total / len(images))
        progress(f"fine-tuning: loss {losses[-1]:.4f}", (epoch + 1) / epochs)
    module.eval()
    return losses
