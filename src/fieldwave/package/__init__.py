"""The package: one deterministic zip with a quantized network and all that a service needs to run it."""

from fieldwave.package.archive import Package, parse_package, read_package, write_package
from fieldwave.package.manifest import (
    FORMAT,
    FileDigest,
    Manifest,
    PreprocessingModel,
    Program,
    TensorSpec,
)

__all__ = [
    "FORMAT",
    "FileDigest",
    "Manifest",
    "Package",
    "PreprocessingModel",
    "Program",
    "TensorSpec",
    "parse_package",
    "read_package",
    "write_package",
]
