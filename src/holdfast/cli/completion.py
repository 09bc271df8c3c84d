"""`holdfast completion`: what bash, zsh and fish need to complete commands, flags and files.

Owns: the command, and what the library that reads the commands leaves out: files where a file or a URL is meant. Must not know: any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from holdfast.cli.terminal import CommandError, escape, say, warn

__all__ = ["completion_of", "completion_script"]


def completion_of(app: App) -> Callable[..., None]:
    """The command, for all the commands of `app`."""

    def completion(
        shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.")],
        /,
        *,
        install: Annotated[
            bool, Parameter(help="Put it where the shell looks for it, for you alone.", negative="", show_default=False)
        ] = False,
    ) -> None:
        """Write the completion of `holdfast` for a shell, or put it into place.

        A new shell completes commands, flags and files then.

        For example:

            holdfast completion bash --install
            holdfast completion zsh > /usr/local/share/zsh/site-functions/_holdfast
        """
        script = completion_script(app, shell)
        if not install:
            sys.stdout.write(script)
            sys.stdout.flush()
            return
        place = _place(shell)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(script, encoding="utf-8")
        except OSError as error:
            msg = f"{place} cannot be written: {error.strerror}."
            raise CommandError(msg) from error
        say(escape(f"Wrote {place}."))
        if shell == "zsh":
            warn(f"~/.zshrc needs, before compinit: fpath=({place.parent} $fpath)")

    return completion


def _place(shell: Literal["bash", "zsh", "fish"]) -> Path:
    """Where a shell finds the completions of one user."""
    if shell == "bash":
        return _base("XDG_DATA_HOME", "~/.local/share") / "bash-completion" / "completions" / "holdfast"
    if shell == "fish":
        return _base("XDG_CONFIG_HOME", "~/.config") / "fish" / "completions" / "holdfast.fish"
    return _base("XDG_DATA_HOME", "~/.local/share") / "zsh" / "site-functions" / "_holdfast"


def _base(variable: str, usual: str) -> Path:
    text = os.environ.get(variable, "")
    return Path(text) if text.startswith("/") else Path(usual).expanduser()


def completion_script(app: App, shell: Literal["bash", "zsh", "fish"]) -> str:
    """The script that completes the commands of `app` in a shell."""
    from holdfast.cli.who import TARGET_HELP

    for name in app:  # a command that is not loaded yet would have no flags
        app[name]
    try:
        text = app.generate_completion(prog_name="holdfast", shell=shell)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if shell == "bash":  # files, where it knows of nothing better
        text = text.replace("complete -F _holdfast holdfast", "complete -o default -F _holdfast holdfast")
    elif shell == "zsh":
        described = TARGET_HELP.replace(":", "\\:")
        text = text.replace(f"{described}'", f"{described}:_files'")
    return text.rstrip("\n") + "\n"
