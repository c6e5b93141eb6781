"""The command ``fieldwave``: one file for each noun, which handles arguments and prints."""

from fieldwave.cli.app import app, main

__all__ = ["app", "main"]
