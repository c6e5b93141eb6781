"""``manifest.json``: what a package holds, by name, shape and digest.

The format is ``fieldwave.package/1``. A reader refuses any other; a change that an older reader would
misunderstand takes the next number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

if TYPE_CHECKING:
    from fieldwave.postprocess import Detector
    from fieldwave.preprocess import Preprocessing

__all__ = [
    "FORMAT",
    "MANIFEST",
    "MODEL",
    "DetectionModel",
    "FeatureMapModel",
    "FileDigest",
    "Manifest",
    "PreprocessingModel",
    "Program",
    "TensorSpec",
    "check_file_name",
]

FORMAT = "fieldwave.package/1"
MANIFEST = "manifest.json"
MODEL = "model.onnx"

_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_file_name(name: str) -> str:
    """Return ``name`` if a package may hold a file of that name.

    Lower-case letters, digits, dot, underscore and hyphen only: such a name means the same file on every file
    system and cannot leave its folder.

    Raises:
        ValueError: any other name.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no file name of a package (a-z, 0-9, '.', '_', '-', at most 100)")
    return name


FileName = Annotated[str, AfterValidator(check_file_name)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class TensorSpec(_Model):
    """One input or output of the network."""

    name: Name = Field(description="The tensor's name inside model.onnx.")
    aliases: tuple[Name, ...] = Field(default=(), max_length=100)
    dtype: Literal["float32", "uint8", "int8", "int32", "int64"] = "float32"
    shape: tuple[PositiveInt | None, ...] = Field(max_length=8, description="null is the batch dimension.")

    @property
    def public_name(self) -> str:
        """By which it is described to clients: its first alias, or its name if it has none."""
        return (*self.aliases, self.name)[0]

    def names(self) -> tuple[str, ...]:
        """Every name that a client may use: the name, the aliases, and each of them without ``:0``."""
        given = (self.name, *self.aliases)
        return tuple(dict.fromkeys((*given, *(name.removesuffix(":0") for name in given))))

    def __str__(self) -> str:
        sizes = ", ".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{sizes}]"


class PreprocessingModel(_Model):
    """`fieldwave.preprocess.Preprocessing` as it stands in the manifest; the fields are explained there."""

    height: PositiveInt
    width: PositiveInt
    order: Literal["RGB", "BGR", "GRAY"]
    resize: Literal["crop", "stretch"]
    shortest_side: PositiveInt
    mean: tuple[FiniteFloat, ...] = Field(max_length=3)
    scale: FiniteFloat
    decode: Literal["full", "scaled"] = Field(
        default="full", description="Left out of the file where it is full, as it was before there was another."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.preprocessing()
        return self

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> Self:
        """The model of ``preprocessing``."""
        return cls(**{name: getattr(preprocessing, name) for name in cls.model_fields})

    def preprocessing(self) -> Preprocessing:
        """The dataclass that ``fieldwave.preprocess`` takes."""
        from fieldwave.preprocess import Preprocessing

        return Preprocessing(**{name: getattr(self, name) for name in type(self).model_fields})


class FeatureMapModel(_Model):
    """`fieldwave.postprocess.FeatureMap` as it stands in the manifest; the fields are explained there."""

    rows: PositiveInt
    columns: PositiveInt
    step: FiniteFloat
    size: FiniteFloat
    next_size: FiniteFloat
    ratios: tuple[FiniteFloat, ...] = Field(max_length=100)


class DetectionModel(_Model):
    """`fieldwave.postprocess.Detector` as it stands in the manifest; the fields are explained there."""

    height: PositiveInt
    width: PositiveInt
    maps: tuple[FeatureMapModel, ...] = Field(min_length=1, max_length=50)
    logits: tuple[Name, ...] = Field(min_length=1, max_length=50)
    boxes: tuple[Name, ...] = Field(min_length=1, max_length=50)
    offset: FiniteFloat
    prior_scaling: tuple[FiniteFloat, ...] = Field(max_length=4)
    background: int = Field(ge=0)
    score_threshold: FiniteFloat
    iou_threshold: FiniteFloat
    candidates: PositiveInt

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.detector()
        return self

    @classmethod
    def of(cls, detector: Detector) -> Self:
        """The model of ``detector``."""
        maps = tuple(
            FeatureMapModel(**{name: getattr(one, name) for name in FeatureMapModel.model_fields})
            for one in detector.maps
        )
        return cls(**{name: getattr(detector, name) for name in cls.model_fields} | {"maps": maps})

    def detector(self) -> Detector:
        """The dataclass that ``fieldwave.postprocess`` takes."""
        from fieldwave.postprocess import Detector, FeatureMap

        maps = tuple(FeatureMap(**dict(one)) for one in self.maps)
        return Detector(**{name: getattr(self, name) for name in type(self).model_fields} | {"maps": maps})


class Program(_Model):
    """One compiled program: the same network for one configuration of the NPU."""

    file: FileName
    configuration: Name = Field(description="The configuration's name, such as 'small'.")
    fingerprint: Name = Field(description="The configuration's fingerprint; the bitstream has the same.")


class FileDigest(_Model):
    """What a file of the package must be."""

    sha256: Sha256
    size: int = Field(ge=0)


class Manifest(_Model):
    """The contents of a package."""

    format: Literal["fieldwave.package/1"] = "fieldwave.package/1"
    network: Name
    version: Name = Field(description="The version of Fieldwave that wrote the package.")
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=100)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=100)
    preprocessing: PreprocessingModel | None = None
    labels: tuple[str, ...] = ()
    detection: DetectionModel | None = Field(
        default=None, description="How the outputs become objects; left out of the file where there is none."
    )
    programs: tuple[Program, ...] = Field(default=(), max_length=50)
    files: dict[FileName, FileDigest] = Field(description="Every file but manifest.json itself.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_distinct("inputs", self.inputs)
        _check_distinct("outputs", self.outputs)
        if MODEL not in self.files:
            raise ValueError(f"files has no {MODEL}")
        if MANIFEST in self.files:
            raise ValueError(f"files names {MANIFEST}, which cannot hold its own digest")
        for program in self.programs:
            if program.file not in self.files:
                raise ValueError(f"programs names {program.file}, which files has not")
        if self.detection is not None:
            _check_detection(self.detection, self)
        return self

    def to_json(self) -> bytes:
        """The bytes of ``manifest.json``: keys sorted, ASCII only; equal manifests are equal bytes."""
        value = self.model_dump(mode="json", exclude={"detection"} if self.detection is None else None)
        if self.preprocessing is not None and self.preprocessing.decode == "full":
            del value["preprocessing"]["decode"]
        return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def _check_detection(detection: DetectionModel, manifest: Manifest) -> None:
    images = manifest.preprocessing
    if images is not None and images.resize != "stretch":
        raise ValueError(
            f"detection needs the resize 'stretch', so that boxes are of the whole image, not {images.resize!r}"
        )
    if images is not None and (images.height, images.width) != (detection.height, detection.width):
        raise ValueError(
            f"detection is for {detection.width} x {detection.height} pixels, "
            f"preprocessing makes {images.width} x {images.height}"
        )
    outputs = {spec.name: spec for spec in manifest.outputs}
    names, count = (*detection.logits, *detection.boxes), len(detection.maps)
    for name in names:
        if name not in outputs:
            raise ValueError(f"detection names the output {name!r}, which outputs has not")
    shape = outputs[names[0]].shape
    classes = len(manifest.labels) or (shape[-1] if shape else None)
    for name, one, last in zip(names, detection.maps * 2, [classes] * count + [4] * count, strict=True):
        expected = (None, one.rows, one.columns, 2 + len(one.ratios), last)
        if outputs[name].shape != expected or last is None:
            wanted = TensorSpec(name=name, shape=expected)
            raise ValueError(f"detection needs an output {wanted}; outputs has {outputs[name]}")
    if classes is not None and detection.background >= classes:
        raise ValueError(f"detection has the background {detection.background}, but there are {classes} classes")


def _check_distinct(field: str, tensors: Iterable[TensorSpec]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        for name in tensor.names():
            if name in seen:
                raise ValueError(f"{field} has two tensors that answer to {name!r}")
            seen.add(name)
