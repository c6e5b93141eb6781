"""The errors that Fieldwave raises on purpose.

::

    FieldwaveError
     ├── InputError (ValueError)        what the caller or a client handed over is wrong
     │    ├── ImageError                not an image, truncated, too large
     │    ├── TensorError               wrong tensor name, shape or dtype
     │    ├── PackageError              damaged, unsafe or of another format
     │    ├── ArtifactError             content of a store that is not what its name says
     │    ├── WeightsError              missing, damaged, or of another network
     │    ├── CalibrationError          no usable calibration images
     │    └── ModelError                a graph that cannot be quantized, named by node
     ├── NotFoundError (LookupError)    no service, network, device or file of that name
     ├── ConflictError                  the name or the port is taken
     ├── StorageError (OSError)         a file could not be written; nothing half-written stays
     ├── MissingExtraError (ImportError)  an optional dependency is not installed
     ├── DeviceError (RuntimeError)     the device failed
     │    ├── DeviceBusyError           the device has an owner already
     │    └── DeviceLostError           the device has been unplugged, or does not answer any more
     ├── HostError (ConnectionError)    another machine cannot be reached, refuses us, or lacks what is needed
     ├── ServiceError (RuntimeError)    a service did not start, or a call to it failed
     └── JobError (RuntimeError)        a job did not start, did not succeed, or does not end

Every message is one line that says what was wrong (the value), where, and what to do.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CalibrationError",
    "ConflictError",
    "DeviceBusyError",
    "DeviceError",
    "DeviceLostError",
    "FieldwaveError",
    "HostError",
    "ImageError",
    "InputError",
    "JobError",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "PackageError",
    "ServiceError",
    "StorageError",
    "TensorError",
    "WeightsError",
]


class FieldwaveError(Exception):
    """The root: catch this to catch everything that Fieldwave raises on purpose."""


class InputError(FieldwaveError, ValueError):
    """What the caller or a client handed over is wrong; the same call will fail again."""


class ImageError(InputError):
    """The bytes are no image that can be decoded within the bounds."""


class TensorError(InputError):
    """A tensor of the wrong name, shape or dtype."""


class PackageError(InputError):
    """The package is damaged, unsafe, or of another format."""


class ArtifactError(InputError):
    """Content of a store that is damaged, unsafe, or not of the format that it is said to have."""


class WeightsError(InputError):
    """The weights are missing, damaged, or belong to another network."""


class CalibrationError(InputError):
    """There are no usable calibration images."""


class ModelError(InputError):
    """The graph holds something that cannot be quantized; the message names the node."""


class NotFoundError(FieldwaveError, LookupError):
    """Nothing of that name exists."""


class ConflictError(FieldwaveError):
    """The name or the port is taken."""


class StorageError(FieldwaveError, OSError):
    """A file could not be read or written; nothing half-written was left behind."""


class MissingExtraError(FieldwaveError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra {extra!r}: pip install 'fieldwave[{extra}]'")
        self.extra = extra


class DeviceError(FieldwaveError, RuntimeError):
    """The device failed."""


class DeviceBusyError(DeviceError):
    """The device has an owner already."""


class DeviceLostError(DeviceError):
    """The device has been unplugged, or does not answer any more; it has to be opened again."""


class HostError(FieldwaveError, ConnectionError):
    """Another machine cannot be reached, does not let us in, or lacks what is needed."""


class ServiceError(FieldwaveError, RuntimeError):
    """A service did not start, or a call to it failed; ``code`` is then the name of gRPC's status."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class JobError(FieldwaveError, RuntimeError):
    """A job did not start, did not succeed, or does not end."""
