"""Another machine, reached by the system's ssh: commands, their output, ports."""

from fieldwave.ssh.connection import ConnectionLost, Result, Ssh
from fieldwave.ssh.host import Host

__all__ = ["ConnectionLost", "Host", "Result", "Ssh"]
