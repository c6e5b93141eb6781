"""``azureml.core.compute_target``: where scripts find the exception."""

from fieldwave.compat.azureml.core.compute import AksCompute, ComputeTarget
from fieldwave.compat.azureml.exceptions import ComputeTargetException

__all__ = ["AksCompute", "ComputeTarget", "ComputeTargetException"]
