"""Factors at the upper end of multipliers: the same products, by a model of MULT18X18D."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from fieldwave.boards.multipliers import align_factors

FACTOR_BITS, PRODUCT_BITS = 18, 36


def netlist(a_bits: int, b_bits: int, *, signed: str = "1", read: range = range(PRODUCT_BITS)) -> dict[str, Any]:
    """One multiplier of two factors that are extended by their signs; ``read`` bits of its product are a port."""
    a, b, p = range(2, 2 + a_bits), range(100, 100 + b_bits), range(200, 200 + PRODUCT_BITS)
    pins: dict[str, list[Any]] = {f"A{i}": [a[min(i, a_bits - 1)]] for i in range(FACTOR_BITS)}
    pins |= {f"B{i}": [b[min(i, b_bits - 1)]] for i in range(FACTOR_BITS)}
    pins |= {f"P{i}": [net] for i, net in enumerate(p)}
    pins |= {"SIGNEDA": [signed], "SIGNEDB": [signed]}
    cell = {
        "type": "MULT18X18D",
        "connections": pins,
        "port_directions": {pin: "output" if pin[0] == "P" else "input" for pin in pins},
    }
    ports = {"a": {"bits": [*a]}, "b": {"bits": [*b]}, "p": {"bits": [p[bit] for bit in read]}}
    return {"modules": {"top": {"ports": ports, "cells": {"multiplier": cell}}}}


def products(design: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What the port ``p`` shows, where MULT18X18D multiplies two signed numbers of 18 bits."""
    top = design["modules"]["top"]
    nets: dict[Any, Any] = {"0": 0, "1": 1}
    for name, values in (("a", a), ("b", b)):
        nets |= {net: values >> bit & 1 for bit, net in enumerate(top["ports"][name]["bits"])}
    pins = top["cells"]["multiplier"]["connections"]

    def factor(name: str) -> Any:
        value = sum(nets[pins[f"{name}{bit}"][0]] << bit for bit in range(FACTOR_BITS - 1))
        return value - (nets[pins[f"{name}{FACTOR_BITS - 1}"][0]] << FACTOR_BITS - 1)

    product = factor("A") * factor("B")
    for bit in range(PRODUCT_BITS):
        nets |= dict.fromkeys(pins.get(f"P{bit}", []), product >> bit & 1)
    return np.stack([nets[net] + 0 * a for net in top["ports"]["p"]["bits"]])


@pytest.mark.parametrize(("a_bits", "b_bits"), [(8, 8), (9, 8), (5, 18)])
def test_products_are_the_same(a_bits: int, b_bits: int) -> None:
    a = np.arange(-(1 << a_bits - 1), 1 << a_bits - 1)
    b = np.unique(np.linspace(-(1 << b_bits - 1), (1 << b_bits - 1) - 1, 1 << min(b_bits, 10)).astype(np.int64))
    a, b = (grid.ravel() for grid in np.meshgrid(a, b))
    before = netlist(a_bits, b_bits, read=range(a_bits + b_bits))
    after = deepcopy(before)
    assert align_factors(after) == 1
    assert np.array_equal(products(before, a, b), products(after, a, b))
    pins = after["modules"]["top"]["cells"]["multiplier"]["connections"]
    assert sum(pins[f"A{bit}"] != ["0"] for bit in range(FACTOR_BITS)) == a_bits
    assert sum(pins[f"B{bit}"] != ["0"] for bit in range(FACTOR_BITS)) == b_bits


def chained(pin: str, net: int | str, direction: str) -> dict[str, Any]:
    """A multiplier with one more pin, whose net, if it is one, something reads."""
    design = netlist(8, 8)
    top = design["modules"]["top"]
    cell = top["cells"]["multiplier"]
    cell["connections"][pin], cell["port_directions"][pin] = [net], direction
    top["cells"]["reader"] = {"type": "what_nobody_knows", "connections": {"in": [net]}}
    return design


@pytest.mark.parametrize(
    "design",
    [
        pytest.param(chained("SOURCEA", "1", "input"), id="takes-a-factor-from-its-neighbour"),
        pytest.param(chained("SROB3", 900, "output"), id="gives-a-factor-on"),
        pytest.param(netlist(18, 18), id="nothing-to-move"),
        pytest.param(netlist(8, 8, signed="0"), id="unsigned"),
        pytest.param(netlist(8, 8, read=range(17)), id="a-bit-above-the-product-is-read"),
    ],
)
def test_others_stay_as_they_are(design: dict[str, Any]) -> None:
    before = deepcopy(design)
    assert align_factors(design) == 0
    assert design == before
