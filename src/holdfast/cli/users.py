"""`holdfast users`: keep the file of those who may log in.

Owns: the commands and the prompt for a password. Must not know: the file's format. A password is typed twice
or comes from standard input; it is never a command's argument, which every process on a machine can read.
"""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holdfast.access.passwords import (
    MAX_PASSWORD_BYTES,
    Passwords,
    UnusableNameError,
    UnusablePasswordError,
    check_name,
)
from holdfast.access.users_file import GRANTABLE, UserRecord, UsersFile, UsersFileError, parse_grant
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.core.access import Grant

__all__ = ["default_users_file", "users_app"]

_SHORT = 8
"""Characters below which a password draws a note (NIST SP 800-63B section 3.1.1.2)."""

users_app = App(name="users", help="Add, remove and list the users who may log in, in a file of Argon2id hashes.")

FileFlag = Annotated[
    Path | None, Parameter(name="--users", help="The users file; default: ~/.config/holdfast/users.json.")
]
NameArgument = Annotated[str, Parameter(help="The user's name.")]
GrantFlag = Annotated[
    list[str] | None,
    Parameter(
        name="--grant",
        help="ROLE or ROLE:PATH, may be repeated; roles: reader, writer, admin. The longest path counts. Default: writer.",
        negative="",
    ),
]
StdinFlag = Annotated[
    bool,
    Parameter(
        name="--password-stdin",
        help="Read the password from standard input, one line.",
        negative="",
        show_default=False,
    ),
]


def default_users_file() -> Path:
    """`holdfast/users.json` in the account's configuration folder (XDG Base Directory Specification)."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".config"
    return base / "holdfast" / "users.json"


@users_app.command
def add(
    name: NameArgument, /, *, users: FileFlag = None, grant: GrantFlag = None, password_stdin: StdinFlag = False
) -> None:
    """Add a user. Asks for the password twice.

    For example:

        holdfast users add alice
        holdfast users add bob --grant reader --grant writer:/dav/team
        pass show team/carol | holdfast users add carol --password-stdin
    """
    file = _open(users)
    grants = tuple(parse_grant(text) for text in grant or ["writer"])
    checked = _checked_name(name)
    if file.path.exists() and checked in file.load():
        raise CommandError(file.describe_taken(checked))
    password_hash = _new_hash(from_stdin=password_stdin)
    if users is None:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.add(UserRecord(checked, password_hash, grants))
    say(escape(f"Added {checked} ({_words(grants)}) to {file.path}."))
    say(escape(f"Serve with: holdfast serve DIR --users {shlex.quote(str(file.path))}"))


@users_app.command
def remove(name: NameArgument, /, *, users: FileFlag = None) -> None:
    """Remove a user. A running server lets the user in no more within a second or two.

    For example:

        holdfast users remove alice
    """
    file = _open(users)
    checked = _checked_name(name)
    file.remove(checked)
    say(escape(f"Removed {checked} from {file.path}."))


@users_app.command(name="list")
def list_users(*, users: FileFlag = None) -> None:
    """List the users and what each may do.

    For example:

        holdfast users list --users team.json
    """
    file = _open(users)
    records = file.load()
    if not records:
        say(escape(f"There are no users in {file.path}."))
    width = max((len(name) for name in records), default=0)
    for name in sorted(records):
        say(escape(f"{name:<{width}}  {_words(records[name].grants)}"))


@users_app.command
def passwd(name: NameArgument, /, *, users: FileFlag = None, password_stdin: StdinFlag = False) -> None:
    """Change a user's password. A running server takes it up within a second or two.

    For example:

        holdfast users passwd alice
    """
    file = _open(users)
    checked = _checked_name(name)
    _require(file, checked)
    file.set_password(checked, _new_hash(from_stdin=password_stdin))
    say(escape(f"Changed the password of {checked} in {file.path}."))


@users_app.command
def grant(
    name: NameArgument,
    grants: Annotated[list[str], Parameter(help="ROLE or ROLE:PATH, one or more.")],
    /,
    *,
    users: FileFlag = None,
) -> None:
    """Set what a user may do, in place of all that it could do before.

    For example:

        holdfast users grant alice admin
        holdfast users grant bob reader writer:/dav/team
    """
    file = _open(users)
    checked = _checked_name(name)
    parsed = tuple(parse_grant(text) for text in grants)
    file.set_grants(checked, parsed)
    say(escape(f"{checked} is now {_words(parsed)}."))


def _open(path: Path | None) -> UsersFile:
    return UsersFile(default_users_file() if path is None else path.expanduser())


def _checked_name(name: str) -> str:
    try:
        return check_name(name)
    except UnusableNameError as error:
        raise CommandError(str(error)) from error


def _require(file: UsersFile, name: str) -> None:
    """Say that there is no such user before a password is asked for."""
    if name not in file.load():
        raise UsersFileError(file.describe_missing(name))


def _words(grants: tuple[Grant, ...]) -> str:
    words = {role: word for word, role in GRANTABLE.items()}
    return ", ".join(f"{words[grant.role]} at {grant.path.text}" for grant in grants)


def _new_hash(*, from_stdin: bool) -> str:
    password = _read_password() if from_stdin else _ask_password()
    if 0 < len(password) < _SHORT:
        warn(f"this password is short; {_SHORT} characters or more are harder to guess.")
    try:
        return Passwords().hash(password)
    except UnusablePasswordError as error:
        raise CommandError(str(error)) from error


def _read_password() -> str:
    raw = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES + 2)
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        msg = "The password on standard input is not UTF-8."
        raise CommandError(msg) from error


def _ask_password() -> str:
    if not sys.stdin.isatty():
        msg = "There is no terminal to ask for the password: give it on standard input, with --password-stdin."
        raise CommandError(msg)
    first = getpass.getpass("Password: ")
    if getpass.getpass("Password, once more: ") != first:
        msg = "The two passwords differ; nothing was changed."
        raise CommandError(msg)
    return first
