"""The device plugin: NPUs of a node as a resource of Kubernetes, by the kubelet's API v1beta1."""

from fieldwave.compute.device_plugin.manifest import daemon_set
from fieldwave.compute.device_plugin.run import PluginOptions, run

__all__ = ["PluginOptions", "daemon_set", "run"]
