"""`holdfast who`: who has locked a file of this machine, or what is at a URL.

Owns: the command, its two forms and its exit codes. Must not know: how locks are found (`holdfast.local`, `remote`), or how they are shown
(`contenders`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from holdfast.cli.contenders import Contender, of_local, of_shown, show
from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.standing import JsonFlag, as_json
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.config import DATABASE_NAME, STATE_NAME

__all__ = ["NOBODY", "TARGET_HELP", "Seen", "TargetArgument", "look_local", "who"]

NOBODY: Final = 1
"""The exit code where nobody holds it, as fuser(1) has it."""

TARGET_HELP: Final = "A file of this machine, or a URL: of a WebDAV server, or of Holdfast."

TargetArgument = Annotated[str, Parameter(help=TARGET_HELP)]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What `who --json` writes. `notes` are sentences about what could not be seen."""

    target: str
    is_held: bool
    holders: tuple[Contender, ...]
    notes: tuple[str, ...] = ()


def who(target: TargetArgument, /, *, user: UserFlag = None, json: JsonFlag = False) -> int:
    """Tell who holds TARGET: the process that has locked a file, or the holder of a lock on a server.

    For a file of this machine: locks of flock and fcntl with process, user and
    command line, what an SQLite writer does, the lock files of LibreOffice,
    Microsoft Office, Emacs and Vim, and locks of a Holdfast server that serves it.
    The file itself is not opened. Exit codes: 0 somebody holds it, 1 nobody, 2 a
    mistake.

    For example:

        holdfast who app.db
        sudo holdfast who /srv/team/plan.odt
        holdfast who --user ada https://dav.example.org/team/plan.odt
        holdfast who --json http://127.0.0.1:4230/orders/42
    """
    seen = _look_remote(target, user) if is_url(target) else look_local(target)
    if json:
        say(as_json(seen))
        return 0 if seen.is_held else NOBODY
    if not seen.is_held:
        say(escape(f"Nobody holds {seen.target}."))
    if seen.holders:
        show(seen.holders, datetime.now(UTC))
    for note in seen.notes:
        warn(note)
    return 0 if seen.is_held else NOBODY


def look_local(target: str) -> Seen:
    """A look at a file of this machine, and at the server that serves it. Raises CommandError where there is no such file."""
    from holdfast.local import look

    try:
        local = look(target)
    except FileNotFoundError as error:
        msg = f"There is no {target}."
        raise CommandError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{target} cannot be looked at: {getattr(error, 'strerror', None) or error}."
        raise CommandError(msg) from error
    served, notes = _served(Path(local.path))
    found = (*served, *(of_local(holder, local.path) for holder in local.holders))
    return Seen(
        target=local.path,
        is_held=any(one.is_in_the_way for one in found),
        holders=found,
        notes=(*local.notes, *notes),
    )


def _look_remote(target: str, user: str | None) -> Seen:
    from holdfast.cli.remote import connected

    with connected(target, user) as remote:
        told = remote.look()
        notes = (f"There is nothing at {remote.url}.",) if told.is_missing else ()
        return Seen(target=remote.url, is_held=bool(told.contenders), holders=told.contenders, notes=notes)


def _served(place: Path) -> tuple[list[Contender], list[str]]:
    """The locks on a document in a folder that Holdfast serves; a sentence where they may not be seen."""
    for folder in place.parents if not place.is_dir() else (place, *place.parents):
        state = folder / STATE_NAME
        if os.path.isdir(state) and not place.is_relative_to(state):
            return _served_in(folder, place)
    return [], []


def _served_in(folder: Path, place: Path) -> tuple[list[Contender], list[str]]:
    from holdfast.cli.standing import opened
    from holdfast.core.paths import InvalidPathError, ResourcePath
    from holdfast.registry import Filter
    from holdfast.state import StateError
    from holdfast.store.protocol import StoreError

    try:
        if not (folder / STATE_NAME / DATABASE_NAME).exists():
            return [], []
        asked = ResourcePath.from_text(f"/dav/{place.relative_to(folder).as_posix()}")
        with opened(folder, None) as standing:
            shown = [standing.shown(lock) for lock in standing.find(Filter(covering=asked))]
        return [of_shown(lock, asked.href()) for lock in shown], []
    except (CommandError, StateError, StoreError, OSError, InvalidPathError) as error:
        return [], [f"Holdfast serves {folder}, but its locks cannot be seen: {error}"]
