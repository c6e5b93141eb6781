"""What modules of Verilog files have for ports, as far as our own way of writing them goes."""

from __future__ import annotations

import re

__all__ = ["instance_ports", "module_ports", "registers"]

_PORT = re.compile(r"^\s*(input|output|inout) wire(?: \[(\d+):0\])? (\w+)[,]?$", re.MULTILINE)


def module_ports(text: str, module: str) -> dict[str, tuple[str, int]]:
    """Direction and width of every port of ``module``, which declares them in its header, a line each."""
    header = re.search(rf"^module {module} \(\n(.*?)^\);", text, re.MULTILINE | re.DOTALL)
    assert header, f"no module {module}"
    return {name: (direction, int(high or 0) + 1) for direction, high, name in _PORT.findall(header[1])}


def instance_ports(text: str, module: str) -> set[str]:
    """The ports of ``module`` that its only instance connects."""
    instance = re.search(rf"^\s*{module} \w+ \(\n(.*?)\n\s*\);", text, re.MULTILINE | re.DOTALL)
    assert instance, f"no instance of {module}"
    return set(re.findall(r"\.(\w+)\(", instance[1]))


def registers(text: str) -> set[str]:
    return set(re.findall(r"\breg(?: \[\d+:0\])? (\w+)", text))
