"""A Tcl interpreter whose commands are methods, for scripts of vendors' tools that are not here.

A method ``do_name`` is the command ``name``; ``problems`` collects what it finds wrong. A command that no method
stands for ends the script, as in the tool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

tkinter = pytest.importorskip("tkinter", reason="needs Tcl: apt-get install python3-tk")

__all__ = ["Tool"]


class Tool:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.tcl: Any = tkinter.Tcl()
        self.tcl.eval("rename unknown {}")  # else a shell's commands would be tried
        for name in dir(self):
            if name.startswith("do_"):
                self.tcl.createcommand(name[3:].replace("__", "::"), getattr(self, name))

    def source(self, name: str, *arguments: str) -> None:
        """Run a script of the folder."""
        self.tcl.eval(f"set argv {{{' '.join(arguments)}}}; cd {{{self.folder}}}; source {{{self.folder / name}}}")

    def check(self, right: Any, problem: str) -> None:
        if not right:
            self.problems.append(problem)

    def list(self, text: str) -> list[str]:
        return [str(one) for one in self.tcl.splitlist(text)]

    def options(self, arguments: tuple[str, ...], flags: set[str]) -> tuple[dict[str, str], list[str]]:
        """``-name value`` pairs, of which ``flags`` have no value, and the rest."""
        found: dict[str, str] = {}
        rest: list[str] = []
        given = iter(map(str, arguments))
        for argument in given:
            if argument.startswith("-") and argument[1:] in flags:
                found[argument[1:]] = ""
            elif argument.startswith("-"):
                found[argument[1:]] = next(given)
            else:
                rest.append(argument)
        return found, rest

    def do_puts(self, *arguments: str) -> None: ...
