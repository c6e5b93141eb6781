"""What can run services: this machine, clusters, boxes at the edge; their NPUs, and who holds them."""

from fieldwave.compute.compute import Compute, check_compute_name
from fieldwave.compute.computes import Computes
from fieldwave.compute.status import ComputeStatus, Held, Npus

__all__ = ["Compute", "ComputeStatus", "Computes", "Held", "Npus", "check_compute_name"]
