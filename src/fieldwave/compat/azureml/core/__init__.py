"""``azureml.core``."""

from fieldwave.compat.azureml.core.absent import missing as __getattr__
from fieldwave.compat.azureml.core.compute import AksCompute, ComputeTarget
from fieldwave.compat.azureml.core.image import ContainerImage, Image
from fieldwave.compat.azureml.core.model import Model
from fieldwave.compat.azureml.core.webservice import AksWebservice, Webservice
from fieldwave.compat.azureml.core.workspace import Workspace

__all__ = [
    "AksCompute",
    "AksWebservice",
    "ComputeTarget",
    "ContainerImage",
    "Image",
    "Model",
    "Webservice",
    "Workspace",
    "__getattr__",
]
