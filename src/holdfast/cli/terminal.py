"""The terminal: where a command's words go, and the one way in which a command gives up.

Owns: the two consoles and CommandError. Must not know: any command. Output that is piped has no colours and
no broken lines, so that a script can read it.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

__all__ = ["CommandError", "say", "warn"]


class CommandError(Exception):
    """The command cannot do what was asked; the text is a plain sentence, shown before exit code 2."""


def say(line: str = "") -> None:
    """Print one line to standard output; `[bold]` and the like are rich's markup, paths and names must be escaped."""
    Console(highlight=False, soft_wrap=True).print(line)
    sys.stdout.flush()


def warn(sentence: str, *, label: str = "Note:", style: str = "yellow") -> None:
    """Print a plain sentence to standard error, with no markup in it."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[{style}]{label}[/{style}] {escape(sentence)}")
