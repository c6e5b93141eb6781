"""Each rewrite of a float graph: the graph is run before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fieldwave.frontends import passes
from fieldwave.frontends.measure import run, shapes
from fieldwave.frontends.naming import canonical
from fieldwave.frontends.static import free_batch, static_shapes
from fieldwave.graph import Graph, Node, Value

Array = np.ndarray[Any, Any]


def graph(*nodes: Node, **constants: Any) -> Graph:
    """From ``x`` [None, 4, 6, 6] to ``y``; node names must be unique as in any graph."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    source = Value("x", "float32", (None, 4, 6, 6))
    return Graph("net", (source,), (Value("y", "float32", ()),), nodes, arrays)


def same(before: Graph, after: Graph) -> list[str]:
    """The operators after, when both graphs compute the same."""
    for batch in (1, 3):
        image = np.random.default_rng(batch).normal(0, 2, (batch, 4, 6, 6)).astype(np.float32)
        np.testing.assert_allclose(run(before, image, ["y"])["y"], run(after, image, ["y"])["y"], rtol=1e-6)
    return [node.op for node in after.nodes]


def float32(value: Any) -> Array:
    return np.asarray(value, np.float32)


MEASURED: dict[str, tuple[Callable[[Graph], Graph], Graph, list[str]]] = {
    "upper bound": (
        passes.upper_bounds_into_clips,
        graph(
            Node("Relu", "relu", ("x",), ("a",)),
            Node("Min", "min", ("a", "six"), ("y",)),
            six=float32(1.5),
        ),
        ["Clip"],
    ),
    "gain": (
        passes.gains_last,
        graph(
            Node("Sigmoid", "sigmoid", ("x",), ("a",)),
            Node("Mul", "inner", ("a", "gain"), ("b",)),
            Node("Mul", "outer", ("x", "b"), ("y",)),
            gain=float32(np.reshape([1, 2, 4, 8], (1, 4, 1, 1))),
        ),
        ["Sigmoid", "Mul", "Mul"],
    ),
    "head": (
        lambda before: passes.flatten_heads(before, shapes(before)),
        graph(Node("Reshape", "reshape", ("x", "to"), ("y",)), to=np.asarray([-1, 144])),
        ["Flatten"],
    ),
    "idle reshape": (
        lambda before: passes.drop_idle_reshapes(before, shapes(before)),
        graph(
            Node("Reshape", "reshape", ("x", "to"), ("a",)),
            Node("Relu", "relu", ("a",), ("y",)),
            to=np.asarray([-1, 4, 6, 6]),
        ),
        ["Relu"],
    ),
    "computed shape": (
        static_shapes,
        graph(
            Node("Shape", "shape", ("x",), ("s",)),
            Node("Gather", "gather", ("s", "zero"), ("n",)),
            Node("Concat", "concat", ("n", "rest"), ("to",), {"axis": 0}),
            Node("Reshape", "reshape", ("x", "to"), ("y",)),
            zero=np.asarray([0]),
            rest=np.asarray([24, 6]),
        ),
        ["Reshape"],
    ),
    "names": (
        canonical,
        graph(
            Node("Relu", "relu__12", ("x",), ("Relu__12:0",)),
            Node("Neg", "unread", ("x",), ("z",)),
            Node("Add", "add__7", ("Relu__12:0", "const_fold__3"), ("y",)),
            const_fold__3=float32(1.0),
        ),
        ["Relu", "Add"],
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_same_numbers(name: str) -> None:
    rewrite, before, operators = MEASURED[name]
    assert same(before, rewrite(before)) == operators


def test_names_lose_their_counters() -> None:
    after = canonical(MEASURED["names"][1])
    assert [(node.name, node.inputs, node.outputs) for node in after.nodes] == [
        ("relu", ("x",), ("Relu:0",)),
        ("add", ("Relu:0", "const_fold"), ("y",)),
    ]


def test_a_batch_that_was_fixed_becomes_free() -> None:
    fixed = graph(Node("Reshape", "reshape", ("x", "to"), ("y",)), to=np.asarray([2, 4, 36]))
    image = np.random.default_rng(0).normal(size=(5, 4, 6, 6)).astype(np.float32)
    assert run(free_batch(fixed, 2), image, ["y"])["y"].shape == (5, 4, 36)
    open_end = graph(Node("Reshape", "reshape", ("x", "to"), ("y",)), to=np.asarray([2, 4, -1]))
    assert run(free_batch(open_end, 2), image, ["y"])["y"].shape == (5, 4, 36)


def test_the_batch_is_the_dimension_that_grows() -> None:
    measured = shapes(MEASURED["head"][1])
    assert measured == {"x": (None, 4, 6, 6), "y": (None, 144), "to": (2,)}
