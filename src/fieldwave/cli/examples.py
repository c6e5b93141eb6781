"""The section of examples under a command's help."""

from __future__ import annotations

__all__ = ["examples"]


def examples(*commands: str) -> str:
    """An epilog for typer, in rich's markup."""
    lines = ["[bold]Example[/bold]", *(f"  [dim]$[/dim] {command}" for command in commands)]
    return "\n\n".join(lines)
