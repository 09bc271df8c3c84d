"""`holdfast db`: who has locked a database, until it is free, by force, and what to change.

Owns: the commands, their exit codes, and how holders and findings are shown. Must not know: how a holder is found or ended, or what is
examined (`holdfast.databases`).
"""

from __future__ import annotations

import os
import signal as signals
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape

from holdfast.cli.contenders import show_columns
from holdfast.cli.spans import parse_seconds
from holdfast.cli.standing import JsonFlag, as_json
from holdfast.cli.terminal import CommandError, say, warn
from holdfast.wire.sentences import clean

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.databases.doctor import Examination
    from holdfast.databases.holders import Holder

__all__ = ["HELD", "db_app"]

HELD: Final = 1
"""The exit code where somebody holds it, is still there when the time is over, or something is bad."""

_MAGIC: Final = b"SQLite format 3\0"
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 1.0
_WIDEST: Final = 300
_STYLES: Final = {"bad": "bold red", "warn": "yellow", "info": "dim"}

db_app = App(name="db", help="Tell who has locked a database, wait for it, end a holder, and what to change.")

DatabaseArgument = Annotated[
    str,
    Parameter(
        name="DATABASE",
        help="postgresql://USER@HOST/NAME, mysql://USER@HOST/NAME (MariaDB, too), sqlite:////PATH, or the path of a SQLite file.",
    ),
]
TableFlag = Annotated[
    str | None, Parameter(help="On a server: only who has locked this table, at work or not; default: the database.")
]


@db_app.command
def who(
    database: DatabaseArgument,
    /,
    *,
    table: TableFlag = None,
    waiter: Annotated[
        int | None, Parameter(help="On a server: only whom this session waits for, by its pid or connection id.")
    ] = None,
    probe: Annotated[
        str | None,
        Parameter(
            help="On a server, where nobody waits any more: a statement that wants the same. It waits 2 s at most, and is rolled back."
        ),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Tell who has locked a database.

    PostgreSQL, MySQL and MariaDB: for whom others wait, from where the queue begins;
    prepared transactions; and who is idle in a transaction. SQLite: the processes that
    have locked the file, which is not opened. Exit codes: 0 it is free, 1 somebody
    holds it, 2 a mistake.

    For example:

        holdfast db who app.db
        holdfast db who postgresql://ada@db.example.org/shop
        holdfast db who postgresql:///shop --table orders
        holdfast db who postgresql:///shop --probe "LOCK TABLE orders"
        holdfast db who --json mysql://root@127.0.0.1/shop
    """
    if any((table, waiter, probe)):
        _say_if_whole(database)
    found = _look(database, table=table or "", waiter=waiter, probe=probe)
    is_held = any(holder.is_in_the_way for holder in found)
    shown = _shown(database)
    if json:
        say(as_json({"target": shown, "is_held": is_held, "holders": [_plain(holder) for holder in found]}))
        return HELD if is_held else 0
    if not is_held:
        say(escape(f"Nobody keeps {_what(shown, table)} locked."))
    if found:
        _show(found)
    for note in _notes(database):
        warn(note)
    return HELD if is_held else 0


@db_app.command
def wait(
    database: DatabaseArgument,
    /,
    *,
    timeout: Annotated[str | None, Parameter(help="How long at most: 30s, 10m, 1h; default: for ever.")] = None,
    table: TableFlag = None,
) -> int:
    """Wait until nobody keeps a database locked.

    That it is free is true at this moment only. Exit codes: 0 it is free, 1 the time
    is over, 2 a mistake.

    For example:

        holdfast db wait --timeout 5m app.db && sqlite3 app.db VACUUM
        holdfast db wait --table orders postgresql:///shop
    """
    from holdfast.cli.wait import progress
    from holdfast.databases.holders import span_text

    ends_at = time.monotonic() + (float("inf") if timeout is None else parse_seconds(timeout, "--timeout"))
    pause = _FIRST_PAUSE_S
    seen_at: dict[str, float] = {}
    if table:
        _say_if_whole(database)
    with progress() as told:
        while True:
            found = [holder for holder in _look(database, table=table or "") if holder.is_in_the_way]
            now = time.monotonic()
            seen_at = {holder.id: seen_at.get(holder.id, now) for holder in found}
            left = ends_at - now
            if not found:
                return 0
            if left <= 0:
                break
            told.say(clean(str(found[0]), _WIDEST), len(found) - 1)
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
    for holder in found:
        seen = f"; seen at every look for {span_text(now - seen_at[holder.id])}" if now > seen_at[holder.id] else ""
        warn(f"{holder}{seen}.", label="Still held:")
    return HELD


@db_app.command
def kill(
    database: DatabaseArgument,
    holder_id: Annotated[
        str, Parameter(name="ID", help="Which holder: the ID that `holdfast db who` tells, or its pid.")
    ],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; it is told with what was ended, on standard error.")],
    yes: Annotated[bool, Parameter(help="Do not ask.", negative="", show_default=False)] = False,
    signal: Annotated[
        Literal["TERM", "INT", "HUP", "KILL"] | None,
        Parameter(help="SQLite: which signal the process is sent: TERM, INT, HUP or KILL. There is no default."),
    ] = None,
) -> int:
    """End a holder by force: what it has not committed is lost.

    On a server its session is ended (pg_terminate_backend, KILL), or the prepared
    transaction rolled back; a process that holds a SQLite file is sent --signal. One
    whose transaction is over meanwhile is left alone. Exit codes: 0 it is ended, 1 it
    was gone already, 2 a mistake, or it is still there.

    For example:

        holdfast db kill postgresql:///shop 4711.8c1d --reason "forgotten"
        holdfast db kill app.db 4711 --signal TERM --reason hangs --yes
    """
    from holdfast.databases.terminating import TerminationError, terminate

    holder = _chosen(database, holder_id)
    if holder is None:
        warn(f"{holder_id} holds nothing in {_shown(database)} any more.")
        return HELD
    if not yes:
        _confirm(holder)
    number = None if signal is None else getattr(signals, f"SIG{signal}")
    try:
        with _plainly(database):
            was_ended = terminate(holder, reason=reason, engine=database, signal=number)
    except TerminationError as error:
        raise CommandError(str(error)) from error
    if not was_ended:
        warn(f"{holder.name} was gone already.")
        return HELD
    say(escape(f"Ended {clean(str(holder), _WIDEST)}."))
    return 0


@db_app.command
def doctor(database: DatabaseArgument, /, *, json: JsonFlag = False) -> int:
    """Tell what is in force in a database as to locks, who holds it, and what to change.

    Nothing is changed. A SQLite file is read by a process of its own. Exit codes: 0
    nothing is bad, 1 something is, 2 a mistake.

    For example:

        holdfast db doctor app.db
        holdfast db doctor --json postgresql:///shop
    """
    from holdfast.databases.doctor import Level, examine

    with _plainly(database):
        found = examine(database)
    code = HELD if found.worst is Level.BAD else 0
    if json:
        plain = msgspec.to_builtins(found)
        say(as_json({**plain, "holders": [_plain(holder) for holder in found.holders]}))
        return code
    _show_examination(found)
    return code


def _look(database: str, *, table: str = "", waiter: int | None = None, probe: str | None = None) -> list[Holder]:
    from holdfast.databases.who import who as ask

    with _plainly(database):
        return ask(database, table=table, waiter=waiter, probe=probe)


@contextmanager
def _plainly(database: str) -> Generator[None]:
    """Whatever the database or its driver says becomes a plain sentence."""
    from holdfast.databases.holders import WhoError

    if "://" not in database and not os.path.exists(database):
        shown = _shown(database)
        there = "That is neither a file nor a URL." if shown != database else f"There is no {database}."
        msg = f"{there} A server is named by a URL: postgresql://USER@HOST/NAME or mysql://USER@HOST/NAME."
        raise CommandError(msg)
    try:
        yield
    except WhoError as error:
        raise CommandError(str(error)) from error
    except Exception as error:
        original: Any = getattr(error, "orig", None)
        if original is None:  # not of SQLAlchemy: a bug of ours, which a report needs whole
            raise
        said = " ".join(str(original).split())
        msg = f"{_shown(database)} says: {clean(said, _WIDEST)}"
        raise CommandError(msg) from error


def _shown(database: str) -> str:
    from holdfast.databases.connecting import target_text

    return target_text(database)


def _notes(database: str) -> Sequence[str]:
    from holdfast.databases.codes import Dialect
    from holdfast.databases.connecting import dialect_of, sqlite_path

    path = sqlite_path(database) if dialect_of(database) is Dialect.SQLITE else None
    if path is None:
        return ()
    from holdfast.databases.who.sqlite import notes_of

    if _is_sqlite(path):
        return notes_of(path)
    return (
        *notes_of(path),
        f"{path} does not begin as a SQLite file does: unless it is encrypted, it is another file.",
    )


def _is_sqlite(path: Path) -> bool:
    """By its first bytes; this process has no locks on it that closing it would drop. True where it may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) in {_MAGIC, b""}
    except OSError:
        return True


def _say_if_whole(database: str) -> None:
    from holdfast.databases.codes import Dialect
    from holdfast.databases.connecting import dialect_of

    with _plainly(database):
        if dialect_of(database) is Dialect.SQLITE:
            warn("SQLite locks the whole file: --table, --waiter and --probe mean nothing there.")


def _what(shown: str, table: str | None) -> str:
    return f"{table} in {shown}" if table else shown


def _plain(holder: Holder) -> dict[str, object]:
    return {"id": holder.id, **msgspec.to_builtins(holder)}


def _show(holders: Sequence[Holder]) -> None:
    from holdfast.databases.holders import span_text

    show_columns(
        [
            ("ID", [clean(one.id) for one in holders]),
            ("USER", [clean(one.user) for one in holders]),
            ("HOST", [clean(one.host) for one in holders]),
            ("DOES", [clean(one.doing) for one in holders]),
            ("FOR", ["" if one.held_s is None else span_text(one.held_s) for one in holders]),
            ("PROCESS SINCE", [_ago(one.started_at) if _is_ageless(one) else "" for one in holders]),
            ("LAST WRITE", [_ago(one.last_write_at) for one in holders]),
            ("HOLDS", [clean(one.resource, _WIDEST) for one in holders]),
            ("HOW", [clean(one.mode) for one in holders]),
            ("WAITING", [" ".join(map(str, one.blocks)) for one in holders]),
            ("PROGRAM", [clean(one.program, _WIDEST) for one in holders]),
            ("LAST STATEMENT", [clean(one.statement, _WIDEST) for one in holders]),
            ("NOTE", [clean(one.note, _WIDEST) for one in holders]),
        ]
    )


def _is_ageless(holder: Holder) -> bool:
    """The kernel does not tell since when; the process cannot have held it for longer than it runs."""
    from holdfast.databases.codes import Dialect

    return holder.dialect is Dialect.SQLITE and holder.held_s is None


def _ago(instant: datetime | None) -> str:
    from holdfast.databases.holders import span_text

    return "" if instant is None else f"{span_text((datetime.now(UTC) - instant).total_seconds())} ago"


def _show_examination(found: Examination) -> None:
    say(escape(f"{found.version}: {clean(found.target, _WIDEST)}"))
    if found.settings:
        say()
        show_columns(
            [
                ("SETTING", [one.name for one in found.settings]),
                ("VALUE", [clean(one.value) for one in found.settings]),
                ("WHAT IT IS", [one.meaning for one in found.settings]),
            ]
        )
    if found.holders:
        say()
        _show(found.holders)
    say()
    if not found.findings:
        say("Nothing to advise.")
    for finding in found.findings:
        style = _STYLES[finding.level.value]
        say(f"[{style}]{finding.level.value}[/{style}]: {escape(clean(finding.sentence, 2 * _WIDEST))}")
        if finding.advice:
            say(f"      {escape(clean(finding.advice, 2 * _WIDEST))}")


def _chosen(database: str, holder_id: str) -> Holder | None:
    """The holder of that ID; None where there is none any more."""
    found = [holder for holder in _look(database) if holder_id in {holder.id, str(holder.pid)}]
    return found[0] if found else None


def _confirm(holder: Holder) -> None:
    """Raises CommandError unless somebody at a terminal says yes."""
    if not sys.stdin.isatty():
        msg = f"{holder.name} is not ended unasked: say --yes. What it has not committed is lost."
        raise CommandError(msg)
    say(escape(f"{clean(str(holder), 2 * _WIDEST)}."))
    answer = input("End it? What it has not committed is lost. [y/N] ")
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "Nothing was done."
        raise CommandError(msg)
