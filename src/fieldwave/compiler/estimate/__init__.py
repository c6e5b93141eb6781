"""How long a compiled network takes on an NPU, without running it."""

from fieldwave.compiler.estimate.energy import Energy, energy_of
from fieldwave.compiler.estimate.estimate import estimate_image
from fieldwave.compiler.estimate.network import NetworkEstimate, estimate_network
from fieldwave.compiler.estimate.port import Memory

__all__ = ["Energy", "Memory", "NetworkEstimate", "energy_of", "estimate_image", "estimate_network"]
