"""The terminal: where a command's words go, and the one way in which a command gives up.

Owns: both streams, CommandError, and the markup of lines, which is rich's. Must not know: any command. Output that is piped has
no colours and no broken lines, so that a script can read it; it is written without rich, which takes longer to load than most
commands to run.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final, TextIO

__all__ = ["CommandError", "escape", "say", "warn"]

_TAG: Final = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])")
"""A tag of rich's markup, and the backslashes before it: an odd number of them makes it plain text."""

_UNEVEN: Final = re.compile(r"[\t\a\b\v\f\r]")
"""What rich shows as something else than it is."""

_FORCED: Final = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""With these in the environment rich may take for a terminal what is none."""


class CommandError(Exception):
    """The command cannot do what was asked; the text is a plain sentence, shown before exit code 2."""


def escape(text: str) -> str:
    r"""Make `text` plain in a line of markup, as `rich.markup.escape` does.

    >>> print(escape("the list [bold] of [1]"))
    the list \[bold] of [1]
    """
    escaped = _TAG.sub(r"\1\1\\\2", text)
    # Or a tag that follows would be taken for plain text.
    return f"{escaped}\\" if escaped.endswith("\\") and not escaped.endswith("\\\\") else escaped


def say(line: str = "") -> None:
    """Print one line to standard output; `[bold]` and the like are rich's markup, paths and names must be escaped."""
    _print(line, is_error=False)
    sys.stdout.flush()


def warn(sentence: str, *, label: str = "Note:", style: str = "yellow") -> None:
    """Print a plain sentence to standard error, with no markup in it."""
    _print(f"[{style}]{label}[/{style}] {escape(sentence)}", is_error=True)


def _print(line: str, *, is_error: bool) -> None:
    stream = sys.stderr if is_error else sys.stdout
    if _is_plain(stream) and not _UNEVEN.search(line):
        _write(stream, _without_markup(line))
        return
    from rich.console import Console

    # `:key:` in a path is no picture.
    Console(stderr=is_error, highlight=False, soft_wrap=True, emoji=False).print(line)


def _is_plain(stream: TextIO | None) -> bool:
    """False for a terminal, and for what is to be treated as one. None stands for a stream that was closed from the start."""
    return stream is not None and not stream.isatty() and not any(name in os.environ for name in _FORCED)


def _without_markup(line: str) -> str:
    shown: list[str] = []
    position = 0
    for found in _TAG.finditer(line):
        slashes = len(found[1])
        shown += (_unescaped(line[position : found.start()]), slashes // 2 * "\\", found[2] if slashes % 2 else "")
        position = found.end()
    shown.append(_unescaped(line[position:]))
    return "".join(shown)


def _unescaped(text: str) -> str:
    return text.replace("\\[", "[")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. What is still buffered goes nowhere, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(1) from None
