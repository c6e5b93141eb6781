"""Where services run: targets behind one protocol; on this machine, supervised processes and files."""

from fieldwave.deploy.exposure import Exposure
from fieldwave.deploy.local import LocalTarget
from fieldwave.deploy.target import Replicas, Service, State, Target
from fieldwave.deploy.targets import target
from fieldwave.deploy.users import users

__all__ = ["Exposure", "LocalTarget", "Replicas", "Service", "State", "Target", "target", "users"]
