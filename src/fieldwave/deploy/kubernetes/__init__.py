"""Services on a Kubernetes cluster: what they are to be, and the manifest that says so."""

from fieldwave.deploy.kubernetes.manifest import Manifest, make_manifest
from fieldwave.deploy.kubernetes.offers import EVERYTHING, Offers
from fieldwave.deploy.kubernetes.spec import NPU, ClusterSpec
from fieldwave.deploy.kubernetes.text import to_yaml

__all__ = ["EVERYTHING", "NPU", "ClusterSpec", "Manifest", "Offers", "make_manifest", "to_yaml"]
