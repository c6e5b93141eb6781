"""A network as a PyTorch module, and its parameters back as weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights import check_weights

if TYPE_CHECKING:
    from fieldwave.zoo.torch_module import NetworkModule

__all__ = ["to_torch", "weights_of"]


def to_torch(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> NetworkModule:
    """The network as a ``torch.nn.Module`` in evaluation mode, with trainable parameters of its own.

    It takes images [batch, height, width, channels] as ``network.preprocessing`` makes them, and returns the
    network's output, or a tuple of them in the network's order.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
        MissingExtraError: PyTorch is not installed.
    """
    check_weights(network, weights)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("making a PyTorch module", "torch") from error
    from fieldwave.zoo.torch_module import NetworkModule

    module = NetworkModule(network, weights)
    module.eval()
    return module


def weights_of(module: NetworkModule) -> dict[str, NDArray[np.float32]]:
    """The parameters and running statistics of a module of :func:`to_torch`, by name, in the network's order.

    They are copies: training on does not change them.
    """
    return module.weights()
