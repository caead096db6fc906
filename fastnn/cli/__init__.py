"""The command ``fastnn``: from a file to a model at the prompt, and what fastnn runs on.

Each command is a module; it imports what it needs when it runs, so that help comes at once.
Answers go to the standard output, all else to the standard error stream.
"""

from fastnn.cli.commands import main

__all__ = ["main"]
