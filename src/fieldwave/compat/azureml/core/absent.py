"""Names of ``azureml.core`` that have nothing to do with the road to the FPGA."""

from __future__ import annotations

__all__ = ["missing"]

_ABSENT = ("Dataset", "Datastore", "Environment", "Experiment", "Run", "RunConfiguration", "ScriptRunConfig")


def missing(name: str) -> object:
    """What `azureml.core` answers for a name that it does not have.

    Raises:
        ImportError: for one that the retired service had.
        AttributeError: for any other.
    """
    if name in _ABSENT:
        raise ImportError(
            f"azureml.core.{name} is not provided: it is no part of the road to the FPGA (docs/legacy.md)"
        )
    raise AttributeError(f"module 'azureml.core' has no attribute {name!r}")
