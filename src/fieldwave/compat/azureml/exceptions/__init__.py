"""``azureml.exceptions``: what old scripts catch."""

from __future__ import annotations

__all__ = [
    "AzureMLException",
    "ComputeTargetException",
    "ModelNotFoundException",
    "UserErrorException",
    "WebserviceException",
]


class AzureMLException(Exception):
    """The root.

    Attributes:
        message: in words.
    """

    def __init__(self, exception_message: str = "", **kwargs: object) -> None:
        super().__init__(exception_message)
        self.message = exception_message


class UserErrorException(AzureMLException):
    """What the caller handed over is wrong, or the workspace's settings are."""


class WebserviceException(AzureMLException):
    """A model, image or service is not there, or cannot be what was asked for."""


class ModelNotFoundException(WebserviceException):
    """No such model."""


class ComputeTargetException(AzureMLException):
    """A compute target is not there, or failed."""
