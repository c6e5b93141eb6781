"""Services on a box at the edge: reached by ssh, run by podman, no other network needed there."""

from fieldwave.deploy.edge.host import Host
from fieldwave.deploy.edge.ssh import Ssh

__all__ = ["Host", "Ssh"]
