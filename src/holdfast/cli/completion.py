"""`holdfast completion`: what bash, zsh and fish need to complete commands, flags and files.

Owns: the command, and what the library that reads the commands leaves out: files where a file or a URL is meant. Must not know: any command.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from holdfast.cli.terminal import CommandError
from holdfast.cli.who import TARGET_HELP

__all__ = ["completion", "completion_script"]


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.")], /) -> None:
    """Write the completion of `holdfast` for a shell.

    Put it where the shell looks for it, and open a new one.

    For example:

        holdfast completion bash > ~/.local/share/bash-completion/completions/holdfast
        holdfast completion zsh > ~/.zfunc/_holdfast
        holdfast completion fish > ~/.config/fish/completions/holdfast.fish
    """
    sys.stdout.write(completion_script(shell))
    sys.stdout.flush()


def completion_script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """The script for a shell."""
    from holdfast.cli.main import app

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
