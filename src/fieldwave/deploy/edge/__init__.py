"""Services on a box at the edge: reached by ssh, run by podman, no other network needed there."""

from fieldwave.deploy.edge.edge_target import EdgeTarget

__all__ = ["EdgeTarget"]
