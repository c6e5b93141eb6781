"""``AccelInferenceConfig``: convert and deploy in one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AccelInferenceConfig"]


@dataclass(frozen=True)
class AccelInferenceConfig:
    """The tensors of a model that ``Model.deploy`` converts first.

    Attributes:
        description: what it is.
        input_tensor, output_tensor: names; several outputs in one text with commas.
    """

    description: str | None = None
    input_tensor: str | None = None
    output_tensor: str | None = None
    source_directory: None = None
