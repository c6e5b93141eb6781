"""Narrow factors at the upper end of an ECP5's multipliers.

Yosys puts an int8 factor at the lower end of the 18 bits of a MULT18X18D and repeats its sign ten times above it::

    A   s s s s s s s s s s s 6 5 4 3 2 1 0        a sign bit goes to 11 pins of one site
    A   s 6 5 4 3 2 1 0 . . . . . . . . . .        here: 8 pins; a pin that is 0 needs no wire

The product is the same, as many places further up: ``(a << 10) * (b << 10) == (a * b) << 20``, and all 16 bits of
``a * b`` are within the 36 of P. Without this the wires around the multipliers of a full array do not suffice:
the router ends in a circle.
"""

from __future__ import annotations

from typing import Any

__all__ = ["align_factors"]

FACTOR_BITS, PRODUCT_BITS = 18, 36


def align_factors(netlist: dict[str, Any]) -> int:
    """Move the factors of every signed MULT18X18D to the upper end of its pins; how many multipliers changed.

    Left alone are those that take a factor from their neighbour, or that give one on.

    Args:
        netlist: what ``write_json`` of Yosys writes (manual, "write_json"); changed in place.
    """
    changed = 0
    for module in netlist["modules"].values():
        used = {bit for port in module["ports"].values() for bit in port["bits"]}
        multipliers = []
        for cell in module["cells"].values():
            if cell["type"] == "MULT18X18D":
                multipliers.append(cell)
            for port, bits in cell["connections"].items():
                if cell.get("port_directions", {}).get(port) != "output":
                    used.update(bits)
        changed += sum(_align(cell, used) for cell in multipliers)
    return changed


def _align(cell: dict[str, Any], used: set[Any]) -> bool:
    """One multiplier; ``used`` are the nets that something reads."""
    pins, directions = cell["connections"], cell["port_directions"]
    if any(pins.get(f"SIGNED{name}") != ["1"] or pins.get(f"SOURCE{name}", ["0"]) != ["0"] for name in "AB"):
        return False
    shifted_on = [nets for pin, nets in pins.items() if directions[pin] == "output" and not pin.startswith("P")]
    if any(net in used for nets in shifted_on for net in nets):
        return False
    factors = {name: [pins.get(f"{name}{bit}", ["0"])[0] for bit in range(FACTOR_BITS)] for name in "AB"}
    free = {name: _sign_copies(bits) for name, bits in factors.items()}
    up = sum(free.values())
    product = [pins.pop(f"P{bit}", []) for bit in range(PRODUCT_BITS)]
    if up == 0 or any(net in used for bits in product[PRODUCT_BITS - up :] for net in bits):
        pins |= {f"P{bit}": bits for bit, bits in enumerate(product)}
        return False
    for name, bits in factors.items():
        aligned = ["0"] * free[name] + bits[: FACTOR_BITS - free[name]]
        pins |= {f"{name}{bit}": [net] for bit, net in enumerate(aligned)}
        directions |= {f"{name}{bit}": "input" for bit in range(FACTOR_BITS)}
    pins |= {f"P{bit + up}": bits for bit, bits in enumerate(product[: PRODUCT_BITS - up])}
    pins |= {f"P{bit}": [] for bit in range(up)}
    directions |= {f"P{bit}": "output" for bit in range(PRODUCT_BITS)}
    return True


def _sign_copies(bits: list[Any]) -> int:
    """How many of the upper bits only repeat the one below them."""
    copies = 0
    while copies < len(bits) - 1 and bits[-1 - copies] == bits[-2 - copies]:
        copies += 1
    return copies
