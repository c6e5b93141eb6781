"""Programs for a package that exists already."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fieldwave.package import Package, Program, write_package

__all__ = ["with_programs"]


def with_programs(package: Package, programs: Mapping[Program, bytes], output: str | os.PathLike[str]) -> Package:
    """Write ``package`` with further programs; one for a configuration that it has a program for takes its place.

    Network, preprocessing, labels and every other file stay as they are.

    Args:
        programs: as `compile_programs` makes them.
        output: the new package's file; it may be the old one's.

    Raises:
        PackageError: the files are too many or too large for a package.
        StorageError: the file cannot be written; nothing is left behind.
    """
    manifest = package.manifest
    replaced = {program.configuration for program in programs}
    kept = {
        program: package.files[program.file]
        for program in manifest.programs
        if program.configuration not in replaced
    }
    theirs = {"model.onnx", *(program.file for program in manifest.programs)}
    return write_package(
        output,
        network=manifest.network,
        model=package.model,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=package.preprocessing,
        labels=manifest.labels,
        detector=package.detector,
        programs={**kept, **programs},
        extra={name: data for name, data in package.files.items() if name not in theirs},
    )
