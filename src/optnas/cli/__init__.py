"""The command line, one module per group of commands; each imports what it needs when called."""

from optnas.cli.main import main

__all__ = ["main"]
