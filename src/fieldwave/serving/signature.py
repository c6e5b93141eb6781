"""What a model takes and gives, as its clients see it: names, aliases, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from google.protobuf.message import Message

from fieldwave.errors import TensorError
from fieldwave.package import Package, TensorSpec
from fieldwave.postprocess import Detector
from fieldwave.preprocess import Preprocessing
from fieldwave.serving.accepted import Accepted, accepted_for
from fieldwave.wire.dtypes import BY_NAME
from fieldwave.wire.messages import SignatureDef, TensorInfo
from fieldwave.wire.methods import PREDICT_METHOD_NAME

__all__ = ["Signature", "quoted"]


@dataclass(frozen=True)
class Signature:
    """The tensors of one model by every name that a client may use.

    Attributes:
        model: the model's name.
        inputs, outputs: the tensors in the manifest's order.
        preprocessing: how image files and pixels become the network's input; None if it takes neither.
        labels: the names of the classes; empty if the package has none.
        detector: how the outputs become objects; None if the network finds none.
    """

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] = ()
    detector: Detector | None = None

    @classmethod
    def of(cls, package: Package, model: str = "") -> Signature:
        """The signature of ``package`` under the name ``model``, by default the network's."""
        manifest = package.manifest
        return cls(
            model=model or manifest.network,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            preprocessing=package.preprocessing,
            labels=manifest.labels,
            detector=package.detector,
        )

    def input(self, name: str) -> TensorSpec:
        """The input that a client calls ``name``.

        Raises:
            TensorError: there is none; the message lists the names.
        """
        if name not in self._inputs_by_name:
            raise TensorError(f"unknown input {quoted(name)}; {self.inputs_text()}")
        return self._inputs_by_name[name]

    def output(self, name: str) -> TensorSpec:
        """The output that a client calls ``name``.

        Raises:
            TensorError: there is none; the message lists the names.
        """
        if name not in self._outputs_by_name:
            raise TensorError(f"unknown output {quoted(name)}; this model gives {_listed(self.outputs)}")
        return self._outputs_by_name[name]

    def inputs_text(self) -> str:
        """Which inputs there are, for a message."""
        return f"this model takes {_listed(self.inputs)}"

    def accepted(self, spec: TensorSpec) -> Accepted:
        """What may be sent for the input ``spec``."""
        return self._accepted[spec.name]

    def to_proto(self) -> Message:
        """The ``SignatureDef``: each tensor once, under its first alias, with the graph's name in the value."""
        proto = SignatureDef(method_name=PREDICT_METHOD_NAME)
        for specs, infos in ((self.inputs, proto.inputs), (self.outputs, proto.outputs)):
            for spec in specs:
                infos[spec.public_name].CopyFrom(_tensor_info(spec))
        return proto

    @cached_property
    def aliases(self) -> frozenset[str]:
        """The names of inputs that are not in the graph."""
        return frozenset(alias for spec in self.inputs for alias in spec.aliases)

    @cached_property
    def _accepted(self) -> Mapping[str, Accepted]:
        return {spec.name: accepted_for(spec, self.preprocessing) for spec in self.inputs}

    @cached_property
    def _inputs_by_name(self) -> Mapping[str, TensorSpec]:
        return {name: spec for spec in self.inputs for name in spec.names()}

    @cached_property
    def _outputs_by_name(self) -> Mapping[str, TensorSpec]:
        return {name: spec for spec in self.outputs for name in spec.names()}


def quoted(name: str) -> str:
    """``name`` from a request, quoted for a message: one line, ASCII, not longer than 80 characters."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:76]}...{text[0]}"


def _listed(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(_with_aliases(spec) for spec in specs)


def _with_aliases(spec: TensorSpec) -> str:
    name, *others = (repr(name) for name in spec.names())
    return f"{name} (also {', '.join(others)})" if others else name


def _tensor_info(spec: TensorSpec) -> Message:
    info = TensorInfo(name=spec.name, dtype=BY_NAME[spec.dtype].enum)
    for size in spec.shape:
        info.tensor_shape.dim.add(size=-1 if size is None else size)
    info.tensor_shape.SetInParent()
    return info
