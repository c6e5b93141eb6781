"""A stand-in for a Kubernetes cluster: an API server on loopback, controllers, and a kubelet.

The server takes what a real one takes (the strict schemas check it) and answers as a real one does. What becomes
of pods is the kubelet's: `Fates` imagines it, in no time; `PodmanKubelet` runs them, with the images, probes,
Secrets and addresses that they name. ``python -m tests.cluster FOLDER`` runs one to try things on.
"""

from tests.cluster.fates import Fates
from tests.cluster.server import serving, write_kubeconfig
from tests.cluster.state import NPU, Cluster, Object, Refused

__all__ = ["NPU", "Cluster", "Fates", "Object", "Refused", "serving", "write_kubeconfig"]
