"""The command `holdfast`: its parts, and how a refusal becomes a sentence and an exit code.

Owns: the list of commands and the exit codes: 0 done, 2 a plain sentence says why not, and what a command gives back
itself (`check`, `lock`, `unlock`). Must not know: what any command does. A bug still shows a traceback, which is what a report needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, UnusedCliTokensError

from holdfast import __version__
from holdfast.cli.completion import completion_of
from holdfast.cli.terminal import CommandError, say, warn

__all__ = ["COMMANDS", "app", "app_for", "main"]

COMMANDS: Final = {
    "serve": ("serve:serve", "Serve the folder DIR over WebDAV, with locks that hold."),
    "guard": ("guard:guard", "Put locks before an application: a reverse proxy."),
    "users": ("users:users_app", "Add, remove and list the users who may log in, in a file of Argon2id hashes."),
    "tokens": ("tokens:tokens_app", "Make, list and revoke API tokens for programs, in the file of the users."),
    "lock": (
        "lock:lock",
        "Close PATH and everything below for maintenance: whoever would change it is refused with 423 and the reason.",
    ),
    "unlock": ("lock:unlock", "End the maintenance of PATH: the locks that `holdfast lock` put there, whoever ran it."),
    "refresh": ("remote_locks:refresh", "Restart the timer of your lock on URL, which `holdfast lock URL` took."),
    "locks": (
        "locks:locks",
        "List the locks that are held, whether or not the server runs: what, who, since and until when.",
    ),
    "break": (
        "remote_locks:break_",
        "End the locks on URL by force, whoever holds them. It needs a Holdfast server, and an administrator.",
    ),
    "who": (
        "who:who",
        "Tell who holds TARGET: the process that has locked a file, or the holder of a lock on a server.",
    ),
    "wait": ("wait:wait", "Wait until nobody holds TARGET: a file of this machine, or what is at a URL."),
    "run": ("run:run", "Run a command under a lock: never two at once, on however many machines."),
    "get": ("documents:get", "Get the document at URL, and remember its version, which `holdfast put` sends along."),
    "put": (
        "documents:put",
        "Save FILE at URL, if what is there is still the version that `holdfast get` got; a new document is made.",
    ),
    "edit": ("documents:edit", "Edit the document at URL: lock it, open it in $VISUAL or $EDITOR, save it, unlock it."),
    "db": ("db:db_app", "Tell who has locked a database, wait for it, end a holder, and what to change."),
    "inspect": (
        "inspect:inspect",
        "Tell what is right and wrong about a response, why it matters, and how to mend it.",
    ),
    "probe": ("probe:probe", "Try what a WebDAV server's locking promises (RFC 4918), and tell what it does not keep."),
    "simulate": ("simulate:simulate", "Answer any request with any status, for trying out clients."),
    "check": (
        "upkeep:check",
        "Check a state folder: its database, counters and permissions, and what a killed server left behind.",
    ),
    "backup": (
        "upkeep:backup",
        "Copy the database of locks, events and dead properties to the file TARGET, while the server goes on or not.",
    ),
}
"""The commands: the module and the name of each, and what the list of all of them says of it, the first sentence of its own help.

A command's module is imported once the command is named. The list is shown without importing any of them.
"""


def app_for(arguments: Sequence[str]) -> App:
    """The commands, as `arguments` need them: what each does is in the list only where none of them is named.

    A command that is named has a help of its own, and what is said here would stand in its place.
    """
    lists = COMMANDS.keys().isdisjoint(arguments)
    made = App(
        name="holdfast",
        version=__version__,
        help="The lock server and toolkit for HTTP 423 Locked.\n\n"
        "Start with `holdfast serve DIR`: it serves a folder over WebDAV and says how to connect.",
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    for name, (place, summary) in COMMANDS.items():
        made.command(f"holdfast.cli.{place}", name=name, help=summary if lists else None)
    made.command(completion_of(made))
    return made


app = app_for(tuple(COMMANDS))
"""All commands, each with its whole help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` (default: the process's own) name, and exit."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a file name may hold bytes that the terminal cannot show
            reconfigure(errors="backslashreplace")
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:  # the library would load rich for it
        say(__version__)
        return 0
    try:
        code = app_for(arguments)(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = " ".join(["holdfast", *(error.command_chain or ())])
        warn(f"{_describe(error)} `{command} --help` shows what can be said.", label="holdfast:", style="bold red")
        return _code_of_a_mistake(error.command_chain or ())
    except CommandError as error:
        return _refused(error)
    except Exception as error:
        if not isinstance(error, _refusals()):
            raise
        return _refused(error)
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # the shell's prompt would stand behind the ^C, or behind a question for a password
            sys.stderr.write("\n")
        return 130
    return code if isinstance(code, int) else 0


def _refused(error: Exception) -> int:
    warn(str(error), label="holdfast:", style="bold red")
    return 2


def _refusals() -> tuple[type[Exception], ...]:
    """What says in a plain sentence why not; a command that raises one of them has loaded its module."""
    from holdfast.access.sessions import SessionKeyError
    from holdfast.access.users_file import UsersFileError
    from holdfast.config import SettingsError
    from holdfast.files.errors import FolderUnusableError
    from holdfast.listening import ListeningError
    from holdfast.state import FolderClaimedError, StateError
    from holdfast.store.protocol import StoreError

    return (
        FolderClaimedError,
        FolderUnusableError,
        ListeningError,
        SessionKeyError,
        SettingsError,
        StateError,
        StoreError,
        UsersFileError,
    )


def _code_of_a_mistake(command: Sequence[str]) -> int:
    if not command or command[0] != "run":
        return 2
    from holdfast.cli.run import USAGE

    return USAGE


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
