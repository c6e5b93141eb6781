"""The frame of the command: its commands, its errors, its exit codes.

Exit codes: 0; 1 after an error, told in one line; 2 when the command line is wrong; 130 after Ctrl-C; 143 and 129
after SIGTERM and SIGHUP.
With ``FIELDWAVE_DEBUG=1`` errors come with their tracebacks.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import fieldwave
from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.errors import FieldwaveError

__all__ = ["app", "main"]

# In the order of the road. A module is imported when its command is used; its `app` has one command or several.
_MODULES = {
    "init": "fieldwave.cli.init",
    "convert": "fieldwave.cli.convert",
    "compile": "fieldwave.cli.compile",
    "report": "fieldwave.cli.report",
    "estimate": "fieldwave.cli.estimate",
    "tune": "fieldwave.cli.tune",
    "jobs": "fieldwave.cli.jobs",
    "models": "fieldwave.cli.models",
    "images": "fieldwave.cli.images",
    "services": "fieldwave.cli.services",
    "predict": "fieldwave.cli.predict",
    "serve": "fieldwave.cli.serve",
    "keys": "fieldwave.cli.keys",
    "compute": "fieldwave.cli.compute",
    "devices": "fieldwave.cli.devices",
    "verify": "fieldwave.cli.verify",
    "bench": "fieldwave.cli.bench",
    "plan": "fieldwave.cli.plan",
    "weights": "fieldwave.cli.weights",
    "npu": "fieldwave.cli.npu",
    "bitstream": "fieldwave.cli.bitstream",
    "device-plugin": "fieldwave.cli.device_plugin",
    "clean": "fieldwave.cli.clean",
    "legacy": "fieldwave.cli.legacy",
    "demo": "fieldwave.cli.demo",
}


class _Commands(TyperGroup):
    """Imports commands when they are asked for, and turns errors into lines."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands.update(dict.fromkeys(_MODULES))  # type: ignore[arg-type]  # the names, for "Did you mean"

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _MODULES:
            return None
        command = typer.main.get_command(importlib.import_module(_MODULES[cmd_name]).app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FieldwaveError as error:
            if _debugging():
                raise
            output.error(str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,  # its options cost every start 0.1 s
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "fieldwave convert resnet50 --weights random:0 --calibration photos --output rn50.zip",
        "fieldwave services deploy rn50.zip --name rn50",
        "fieldwave predict rn50 cat.jpg --top 5",
    ),
)


def main() -> None:
    """The entry point; ends the process with the exit code."""
    # Before it is imported. Else it writes a line about every handshake that fails, and strangers fill the log.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our characters shows others, and no error
    try:
        app()
    except Exception as error:
        # Errors of ours were told by then: this is a defect, and a traceback is for those who look for it.
        if _debugging():
            raise
        output.error(f"{type(error).__name__}: {error} (a defect; FIELDWAVE_DEBUG=1 shows where)")
        sys.exit(1)


def _version(asked: bool) -> None:
    if asked:
        output.data(f"fieldwave {fieldwave.__version__}")
        raise typer.Exit


@app.callback()
def _fieldwave(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Trained networks on FPGAs, served at the lowest latency a chip can give.

    Every step of the road is one command here and one call in Python.
    """


def _debugging() -> bool:
    return os.environ.get("FIELDWAVE_DEBUG", "") not in ("", "0")
