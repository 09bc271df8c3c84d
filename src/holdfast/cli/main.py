"""The command `holdfast`: its parts, and how a refusal becomes a sentence and an exit code.

Owns: the list of commands and the exit codes: 0 done, 2 a plain sentence says why not, and what a command gives back
itself (`check`, `lock`, `unlock`). Must not know: what any command does. A bug still shows a traceback, which is what a report needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, UnusedCliTokensError

from holdfast import __version__
from holdfast.access.sessions import SessionKeyError
from holdfast.access.users_file import UsersFileError
from holdfast.cli.completion import completion_of
from holdfast.cli.db import db_app
from holdfast.cli.documents import edit, get, put
from holdfast.cli.guard import guard
from holdfast.cli.inspect import inspect
from holdfast.cli.lock import lock, unlock
from holdfast.cli.locks import locks
from holdfast.cli.probe import probe
from holdfast.cli.remote_locks import break_, refresh
from holdfast.cli.run import USAGE, run
from holdfast.cli.serve import serve
from holdfast.cli.simulate import simulate
from holdfast.cli.terminal import CommandError, warn
from holdfast.cli.tokens import tokens_app
from holdfast.cli.upkeep import backup, check
from holdfast.cli.users import users_app
from holdfast.cli.wait import wait
from holdfast.cli.who import who
from holdfast.config import SettingsError
from holdfast.files.errors import FolderUnusableError
from holdfast.listening import ListeningError
from holdfast.state import FolderClaimedError, StateError
from holdfast.store.protocol import StoreError

__all__ = ["main"]

_REFUSALS = (
    CommandError,
    FolderClaimedError,
    FolderUnusableError,
    ListeningError,
    SessionKeyError,
    SettingsError,
    StateError,
    StoreError,
    UsersFileError,
)

app = App(
    name="holdfast",
    version=__version__,
    help="The lock server and toolkit for HTTP 423 Locked.\n\n"
    "Start with `holdfast serve DIR`: it serves a folder over WebDAV and says how to connect.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command(serve)
app.command(guard)
app.command(users_app)
app.command(tokens_app)
app.command(lock)
app.command(unlock)
app.command(refresh)
app.command(locks)
app.command(break_, name="break")
app.command(who)
app.command(wait)
app.command(run)
app.command(get)
app.command(put)
app.command(edit)
app.command(db_app)
app.command(inspect)
app.command(probe)
app.command(simulate)
app.command(check)
app.command(backup)
app.command(completion_of(app))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` (default: the process's own) name, and exit."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a file name may hold bytes that the terminal cannot show
            reconfigure(errors="backslashreplace")
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = " ".join(["holdfast", *(error.command_chain or ())])
        warn(f"{_describe(error)} `{command} --help` shows what can be said.", label="holdfast:", style="bold red")
        return USAGE if error.command_chain and error.command_chain[0] == "run" else 2
    except _REFUSALS as error:
        warn(str(error), label="holdfast:", style="bold red")
        return 2
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # the shell's prompt would stand behind the ^C, or behind a question for a password
            sys.stderr.write("\n")
        return 130
    return code if isinstance(code, int) else 0


def _describe(error: CycloptsError) -> str:
    """What is wrong with what was typed, in our words where the library's speak of its own parts."""
    match error:
        case MissingArgumentError(argument=argument) if argument is not None:
            # It names a keyword where the flag was typed, and nothing after it.
            return f"{argument.name} is missing." if error.keyword is None else f"{argument.name} needs a value."
        case CoercionError(token=token, target_type=kind) if token is not None and kind is int:
            return f"{token.keyword} must be a number, not {token.value!r}."
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"{first!r} is one word too many."
        case _:
            return str(error)
