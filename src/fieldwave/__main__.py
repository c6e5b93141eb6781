"""``python -m fieldwave`` is the command ``fieldwave``."""

from fieldwave.cli import main

main()
