"""The command line: one module a command. Nothing heavy is imported before a command needs it."""

from fastfnn.cli.app import main

__all__ = ["main"]
