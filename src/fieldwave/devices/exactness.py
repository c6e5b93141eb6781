"""How the cpu device gets the normative bits out of this processor."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

from fieldwave.devices import rewrite
from fieldwave.devices.selftest import differing_operators, stored_selftest
from fieldwave.errors import MissingExtraError
from fieldwave.graph import Graph, from_onnx, to_onnx

__all__ = ["Exactness", "exactness", "find_exactness"]

Rewrite = Callable[[Graph], Graph]

_WEIGHTED = ("QGemm", "QLinearConv", "QLinearMatMul")
_REWRITES: dict[str, tuple[Rewrite, str]] = {
    **dict.fromkeys(_WEIGHTED, (rewrite.uint8_weights, "uint8 weights (no VNNI)")),
    "QLinearAdd": (rewrite.float_additions, "float additions"),
    "QLinearGlobalAveragePool": (rewrite.float_averages, "float averages"),
}
_AS_STORED = "int8 weights"


@dataclass(frozen=True)
class Exactness:
    """What was found on this processor.

    Attributes:
        path: in words, which kernels compute: ``"int8 weights"`` is the graph as it is stored.
        rewrites: what a network goes through before it runs.
        differing: the operators that differ from the normative ones even so.
    """

    path: str
    rewrites: tuple[Rewrite, ...] = ()
    differing: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether this processor returns the bits that every device returns."""
        return not self.differing

    def rewritten(self, model: bytes) -> bytes:
        """The network as this processor has to run it.

        Raises:
            MissingExtraError: it has to be rewritten, and ``onnx`` is not installed.
        """
        if not self.rewrites:
            return model
        try:
            graph = from_onnx(model)
            for rewrite_graph in self.rewrites:
                graph = rewrite_graph(graph)
            return bytes(to_onnx(graph).SerializeToString())
        except MissingExtraError as error:
            raise MissingExtraError("exact int8 on this processor", error.extra) from error


@functools.cache
def exactness() -> Exactness:
    """`find_exactness` for this processor, once in a process; says in the log when the promise does not hold.

    Raises:
        MissingExtraError: a rewrite is needed, and ``onnx`` is not installed.
    """
    found = find_exactness(differing_operators)
    if not found.exact:
        logging.getLogger(__name__).warning(
            "on this processor ONNX Runtime computes %s with other bits than the other devices, also after "
            "rewriting (path: %s); outputs can differ from them in the last bit",
            ", ".join(found.differing),
            found.path,
        )
    return found


def find_exactness(differing: Callable[[bytes], tuple[str, ...]]) -> Exactness:
    """Try the self-test as stored, then rewritten for the operators that differ.

    Args:
        differing: the operators that a self-test's ONNX file computes differently from ``golden``.
    """
    first = differing(stored_selftest())
    rewrites = {_REWRITES[op][0]: _REWRITES[op][1] for op in first if op in _REWRITES}
    words = list(rewrites.values())
    if rewrite.uint8_weights not in rewrites:
        words.insert(0, _AS_STORED)
    path = Exactness(", ".join(words), tuple(rewrites))
    if not rewrites:
        return Exactness(path.path, (), first)
    return Exactness(path.path, path.rewrites, differing(path.rewritten(stored_selftest())))
