"""Scripts of the retired service, run as they are: the names that they import, for one process only."""

from fieldwave.compat.legacy.names import provide

__all__ = ["provide"]
