"""``azureml.contrib.core``: boxes at the edge."""

from fieldwave.compat.azureml.contrib.core.compute import IotHubCompute
from fieldwave.compat.azureml.contrib.core.webservice import (
    IotBaseModuleSettings,
    IotModuleSettings,
    IotWebservice,
)

__all__ = ["IotBaseModuleSettings", "IotHubCompute", "IotModuleSettings", "IotWebservice"]
