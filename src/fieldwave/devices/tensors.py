"""Are these the network's inputs? The same check, in the same words, for every device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.package import Manifest, TensorSpec

__all__ = ["check_inputs"]


def check_inputs(manifest: Manifest, inputs: Mapping[str, NDArray[Any]]) -> int:
    """Check names, dtypes and shapes.

    Returns:
        The number of images: the batch dimension, which all inputs share.

    Raises:
        TensorError: with the right names, dtypes and shapes.
    """
    known = {spec.name for spec in manifest.inputs}
    for name in inputs:
        if name not in known:
            raise TensorError(f"no input {name!r}; {_right(manifest)}")
    batches: dict[str, int] = {}
    for spec in manifest.inputs:
        if spec.name not in inputs:
            raise TensorError(f"input {spec.name!r} is missing; {_right(manifest)}")
        value = inputs[spec.name]
        if value.dtype != spec.dtype:
            raise TensorError(f"input {spec.name!r} is {value.dtype}; {_right(manifest)}")
        if not _fits(spec, value.shape):
            raise TensorError(f"input {spec.name!r} has shape {list(value.shape)}; {_right(manifest)}")
        if spec.shape and spec.shape[0] is None:
            batches[spec.name] = value.shape[0]
    if len(set(batches.values())) > 1:
        found = ", ".join(f"{name!r} {batch}" for name, batch in batches.items())
        raise TensorError(f"the inputs differ in their number of images: {found}; give each the same number")
    return next(iter(batches.values()), 1)


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    return len(shape) == len(spec.shape) and all(
        (size >= 1 if expected is None else size == expected)
        for size, expected in zip(shape, spec.shape, strict=True)
    )


def _right(manifest: Manifest) -> str:
    return f"{manifest.network} takes: {'; '.join(str(spec) for spec in manifest.inputs)} (N at least 1)"
