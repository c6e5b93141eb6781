"""Which network a file is for, and under whose names."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fieldwave.zoo.catalogue import names, network, variants
from fieldwave.zoo.layers import Shape
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.names import FAMILIES, OWN, OWN_ONNX, Family, Rule
from fieldwave.zoo.weights.stored import TensorFile

__all__ = ["Fit", "best_fit", "fit_to"]


@dataclass(frozen=True)
class Fit:
    """A file read as the weights of a network.

    Attributes:
        family: under whose names.
        variant: for which the weights are.
        network: whose weights they would be.
        rules: for every weight of it; empty if the family has no such network.
        tensors: the file's own name of each tensor that is no part of the publisher's extras, by today's name.
        head: what stands in the place of the head's tensors, where it has a name of its own.
    """

    family: Family
    variant: str
    network: Network
    rules: dict[str, Rule]
    tensors: dict[str, str]
    head: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """Tensors that the network needs and the file has not."""
        return [name for name in self.needed if name not in self.tensors]

    @property
    def unknown(self) -> list[str]:
        """Tensors of the file that the network has no place for, by the file's names."""
        needed = set(self.needed)
        return [stored for name, stored in self.tensors.items() if name not in needed]

    @property
    def needed(self) -> list[str]:
        """Tensors that the network needs."""
        return [rule.source for rule in self.rules.values()]

    @property
    def share(self) -> float:
        """The part of the needed tensors that the file has, 0 to 1."""
        return 1 - len(self.missing) / len(self.rules)


def best_fit(file: TensorFile, name: str = "") -> Fit | None:
    """The network of that name, or of any, as the file has it; None if no publisher's is in it.

    Who has the most of its tensors in the file is meant, and the first family where several have as many. The
    variant is the one for which the weights are. A head of another number of classes, or of another name, is
    taken for what it is.
    """
    fits = []
    for candidate in [name] if name else names():
        for family in FAMILIES:
            variant = _variant(file, family)
            if variant in variants(candidate):
                fits.append(_fit(file, family, network(candidate, variant)))
    best = _best(fits)
    return None if best is None else _widened(file, best)


def fit_to(file: TensorFile, network: Network) -> Fit | None:
    """The file as the weights of exactly this network, its classes included; None if nothing of it is.

    Its variant is the caller's to compare: :attr:`Fit.variant` is the one for which the weights are.
    """
    return _best([_fit(file, family, network) for family in FAMILIES])


def _best(fits: list[Fit]) -> Fit | None:
    found = [fit for fit in fits if fit.rules and fit.share > 0]
    return max(found, key=lambda fit: (fit.share, -len(fit.unknown)), default=None)


def _variant(file: TensorFile, family: Family) -> str:
    """Our own files say it; their names are the same in all variants."""
    return file.notes.get("variant", family.variant) if family.variant == "slim" else family.variant


def _fit(file: TensorFile, family: Family, network: Network) -> Fit:
    tensors = {family.current(stored): stored for stored in file.tensors if not family.ignored.search(stored)}
    suits = (file.format == "onnx") == (family is OWN_ONNX) or family not in (OWN, OWN_ONNX)
    return Fit(family, _variant(file, family), network, family.rules(network) if suits else {}, tensors, {})


def _widened(file: TensorFile, fit: Fit) -> Fit:
    """With the head that the file has, whatever its name and its number of classes."""
    head = _renamed_head(file, fit)
    tensors = {now: old for now, old in fit.tensors.items() if old not in head.values()} | head
    classes = _classes(file, fit.network, fit.rules, tensors)
    plain = fit.network if classes is None else _with_classes(fit.network, classes)
    return replace(fit, network=plain, rules=fit.family.rules(plain), tensors=tensors, head=head)


def _head(plain: Network) -> tuple[str, str]:
    """The weights of the layer that tells classes apart: its kernel and its biases."""
    names = [name for name in plain.weight_shapes if name.endswith("biases")]
    if plain.task == "detection":
        names = [name for name in names if name.endswith("conv_cls/biases")]
    return f"{names[-1].removesuffix('biases')}weights", names[-1]


def _classes(file: TensorFile, plain: Network, rules: dict[str, Rule], tensors: dict[str, str]) -> int | None:
    """The number of classes that the file's head has, where it is another than the network's."""
    _, biases = _head(plain)
    source = rules[biases].source
    if source not in tensors:
        return None
    shape = file.tensors[tensors[source]].shape
    (channels,) = plain.weight_shapes[biases]
    each = channels // len(plain.labels) if plain.labels else channels
    if len(shape) != 1 or shape == (channels,) or shape[0] < each or shape[0] % each:
        return None
    return shape[0] // each


def _with_classes(plain: Network, classes: int) -> Network:
    numbered = network(plain.name, plain.variant, labels=tuple(f"class {index}" for index in range(classes)))
    return replace(numbered, labels=())


def _renamed_head(file: TensorFile, fit: Fit) -> dict[str, str]:
    """The one matrix with biases that is left over where the head is missing: who retrains it often renames it."""
    if fit.network.task == "detection":
        return {}
    kernel, biases = (fit.rules[name] for name in _head(fit.network))
    if kernel.source in fit.tensors or biases.source in fit.tensors:
        return {}
    shapes = {name: file.tensors[name].shape for name in fit.unknown}
    owners = {_owner(name): name for name, shape in shapes.items() if len(shape) == 1}
    pairs = [
        (name, owners[_owner(name)])
        for name, shape in shapes.items()
        if _owner(name) in owners and _is_head(shape, shapes[owners[_owner(name)]], kernel.shape)
    ]
    return dict(zip((kernel.source, biases.source), pairs[0], strict=True)) if len(pairs) == 1 else {}


def _is_head(matrix: Shape, bias: Shape, expected: Shape) -> bool:
    """Whether the matrix has the head's shape but for the classes, of which there is one for each bias."""
    if len(bias) != 1 or len(matrix) != len(expected):
        return False
    axes = [axis for axis, size in enumerate(matrix) if size != expected[axis]]
    return len(axes) <= 1 and bias[0] in (matrix[0], matrix[-1]) and all(matrix[axis] == bias[0] for axis in axes)


def _owner(name: str) -> str:
    return name[: max(name.rfind("."), name.rfind("/"))]
