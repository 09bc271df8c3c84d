"""`holdfast check` and `holdfast backup`: look at a state folder, and copy what is in it.

Owns: the flags, the report's form and its exit code. Must not know: how either is done.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from holdfast.cli.terminal import CommandError, escape, say
from holdfast.config import DATABASE_NAME, STATE_NAME
from holdfast.state import CLAIM_NAME, VERSION_NAME
from holdfast.store.sqlite.inspection import Finding, Level

__all__ = ["FAULTS_FOUND", "backup", "check"]

FAULTS_FOUND = 1
"""The exit code of a check that found a fault."""

StateFlag = Annotated[Path | None, Parameter(help="The state folder, where it is not .holdfast in DIR.")]

_STYLES = {Level.OK: "green", Level.NOTICE: "yellow", Level.FAULT: "bold red"}


class _Report(msgspec.Struct):
    state: str
    server: int | None
    ok: bool
    findings: tuple[Finding, ...]


def check(
    folder: Annotated[Path | None, Parameter(name="DIR", help="The served folder.")] = None,
    /,
    *,
    state: StateFlag = None,
    json: Annotated[bool, Parameter(help="Write the report as JSON.", negative="", show_default=False)] = False,
) -> int:
    """Check a state folder: its database, counters and permissions, and what a killed server left behind.

    It changes nothing. While a server is using the folder, its database is checked
    as of one moment. Exit codes: 0 all is well, 1 something is at fault, 2 it
    could not be checked. Notices are no faults.

    For example:

        holdfast check /srv/team
        holdfast check --state /var/lib/holdfast --json
    """
    from holdfast.cli.state_check import check_state

    served, place = _places(folder, state)
    try:
        report = check_state(place, served)
    except OSError as error:
        msg = f"{error.filename or place} cannot be looked at: {error.strerror}."
        raise CommandError(msg) from error
    if json:
        text = msgspec.json.format(
            msgspec.json.encode(_Report(report.state, report.server, not report.has_faults, report.findings))
        )
        say(escape(text.decode()))
    else:
        say(escape(f"The state folder {report.state}"))
        for found in report.findings:
            say(f"  [{_STYLES[found.level]}]{found.level.value:<6}[/]  {found.topic:<13}  {escape(found.text)}")
        say("Something is at fault." if report.has_faults else "All is well.")
    return FAULTS_FOUND if report.has_faults else 0


def backup(
    folder: Annotated[Path, Parameter(name="DIR", help="The served folder.")],
    target: Annotated[
        Path, Parameter(help="The file to write; it may not lie in the served folder or the state folder.")
    ],
    /,
    *,
    state: StateFlag = None,
    force: Annotated[bool, Parameter(help="Replace TARGET where it exists.", negative="", show_default=False)] = False,
) -> None:
    """Copy the database of locks, events and dead properties to the file TARGET, while the server goes on or not.

    The copy is of one moment and whole: TARGET is there once it is complete. It
    holds lock tokens, so it is made readable to its owner alone. The documents and
    the users file are not in it. How to restore it: docs/operations.md.

    For example:

        holdfast backup /srv/team /var/backups/holdfast.db
    """
    from holdfast.store.sqlite.backup import back_up

    served, place = _places(folder, state)
    wanted = target.expanduser()
    wanted = wanted.parent.resolve() / wanted.name
    if served is not None and wanted.is_relative_to(served) and not wanted.is_relative_to(place):
        msg = f"{wanted} lies in the served folder, where clients could read lock tokens in it: keep it elsewhere."
        raise CommandError(msg)
    if wanted.is_relative_to(place):
        msg = f"{wanted} lies in the state folder, and would be lost with it: keep it elsewhere."
        raise CommandError(msg)
    database = place / DATABASE_NAME
    if not database.exists():
        msg = f"There is no database in {place}: no server has used it yet."
        raise CommandError(msg)
    made = back_up(database, wanted, overwrite=force)
    say(
        escape(
            f"Wrote {wanted}: {made.bytes} bytes, {made.locks} {'lock' if made.locks == 1 else 'locks'}, dead properties: {made.properties}."
        )
    )


def _places(folder: Path | None, state: Path | None) -> tuple[Path | None, Path]:
    """The served folder, where one was named, and its state folder, which must be there.

    `.holdfast` in place of the folder that it lies in is understood.
    """
    if state is None and folder is None:
        msg = "Name the served folder, or its state folder with --state."
        raise CommandError(msg)
    served = None if folder is None else folder.expanduser()
    if served is not None and not served.is_dir():
        msg = f"There is no folder {served}: check the spelling."
        raise CommandError(msg)
    if served is not None:
        served = served.resolve()
        if served.name == STATE_NAME and not (served / STATE_NAME).exists():
            served = served.parent
    place = state.expanduser().resolve() if state is not None else (served or Path()) / STATE_NAME
    if not place.is_dir() or os.path.islink(place):
        msg = f"There is no state folder {place}: no server has served this folder yet, or it was given --state."
        if (
            served is not None
            and state is None
            and (served / VERSION_NAME).is_file()
            and (served / CLAIM_NAME).is_file()
        ):
            msg = f"{served} is a state folder itself: name it with --state {shlex.quote(str(served))}."
        raise CommandError(msg)
    return served, place
