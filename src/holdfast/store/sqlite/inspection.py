"""Is this database whole, Holdfast's, and in agreement with itself? Reads only.

Owns: the questions and the sentences of the answers. Must not know: the state folder around the database, servers,
what to do about a fault. All questions are asked inside one read transaction, so that a server may go on writing.
"""
# ruff: noqa: S608 - the texts are put together from constants of this module.

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from holdfast.clock import Anchor, Clock
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.opening import _APPLICATION_ID, _statements, explain, shipped_migrations
from holdfast.store.sqlite.rows import instant_from

__all__ = ["Finding", "Level", "inspect_database", "opened_to_read", "paths_with_properties"]

_SHOWN: Final = 5
"""Rows of SQLite's own report that are passed on; it may have thousands."""

_BUSY_LIMIT_S: Final = 10
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Level(enum.StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTICE = "notice"
    """Worth knowing; Holdfast deals with it by itself."""
    FAULT = "fault"
    """Something is wrong that a person has to look at."""


class Finding(msgspec.Struct, frozen=True):
    """One answer: what was looked at, in a word, and what was found, in a plain sentence."""

    level: Level
    topic: str
    text: str


@contextmanager
def opened_to_read(path: Path) -> Generator[sqlite3.Connection]:
    """A connection that changes nothing, inside one read transaction; raises StoreError where there is no database to open."""
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_LIMIT_S, isolation_level=None
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        yield connection
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        if connection is not None:
            connection.close()


def inspect_database(path: Path, *, clock: Clock | None = None) -> list[Finding]:
    """What is found in the database at `path`; `clock` tells which locks have expired.

    Raises StoreError where it cannot be opened; that it is damaged, or no database at all, is a finding.
    """
    try:
        with opened_to_read(path) as connection:
            try:
                return list(_inspect(connection, path, clock or Clock()))
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                return [Finding(Level.FAULT, "database", f"{explain(error, path)}.")]
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            return [Finding(Level.FAULT, "database", f"{error}.")]
        raise


def paths_with_properties(path: Path) -> list[ResourcePath]:
    """The resources that have dead properties, in the order of the database. Raises StoreError."""
    with opened_to_read(path) as connection:
        rows = connection.execute("SELECT DISTINCT collection, member FROM properties").fetchall()
    return [ResourcePath(collection + member) for collection, member in rows]


def _inspect(connection: sqlite3.Connection, path: Path, clock: Clock) -> Iterator[Finding]:
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    newest = shipped_migrations()[-1][0]
    if application != _APPLICATION_ID:
        if application or version or tables:
            yield Finding(Level.FAULT, "database", f"{path} is a database of another program.")
        else:
            yield Finding(Level.NOTICE, "database", f"{path} is empty; the next start of the server fills it.")
        return
    yield _integrity(connection)
    if version > newest:
        text = f"It was written by a newer Holdfast (version {version}, this one knows {newest}); look with that one."
        yield Finding(Level.FAULT, "schema", text)
        return
    yield _schema(connection, version)
    if version < newest:
        text = f"It is of version {version}; the next start of the server brings it to {newest}. The rest was not looked at."
        yield Finding(Level.NOTICE, "schema", text)
        return
    (rows,) = connection.execute("SELECT count(*) FROM counters").fetchone()
    if rows != 1:
        yield Finding(Level.FAULT, "counters", f"There are {rows} rows of counters in place of one.")
        return
    yield _counters(connection)
    now_us = _now_us(connection, clock)
    yield from _locks(connection, now_us)
    yield from _waiters(connection, now_us)
    yield _contents(connection)


def _integrity(connection: sqlite3.Connection) -> Finding:
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_SHOWN})").fetchall()]
    if said == ["ok"]:
        return Finding(Level.OK, "database", "SQLite's integrity check finds nothing.")
    return Finding(Level.FAULT, "database", f"SQLite's integrity check says: {'; '.join(said)}.")


def _schema(connection: sqlite3.Connection, version: int) -> Finding:
    """Compare with what the scripts make up to this version."""
    listing = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
    pristine = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for to, script in shipped_migrations():
            if to <= version:
                for statement in _statements(script):
                    pristine.execute(statement)
        wanted = set(pristine.execute(listing).fetchall())
    finally:
        pristine.close()
    found = set(connection.execute(listing).fetchall())
    wrong = sorted({f"{kind} {name}" for kind, name, _ in wanted ^ found})
    if wrong:
        return Finding(Level.FAULT, "schema", f"Missing, strange or changed: {', '.join(wrong)}.")
    return Finding(Level.OK, "schema", f"Version {version}, with all its tables and indexes.")


_HELD: Final = "SELECT principal, count(*) AS locks FROM locks GROUP BY principal"
_COUNTED: Final = "SELECT principal, locks FROM principals"
_MISCOUNTED: Final = f"SELECT * FROM ({_HELD} EXCEPT {_COUNTED}) UNION SELECT * FROM ({_COUNTED} EXCEPT {_HELD})"


def _counters(connection: sqlite3.Connection) -> Finding:
    counted, next_token, next_seq, counted_waiters, next_place = connection.execute(
        "SELECT locks, next_fencing_token, next_seq, waiters, next_place FROM counters"
    ).fetchone()
    (kept,) = connection.execute("SELECT count(*) FROM locks").fetchone()
    waiters, place = connection.execute("SELECT count(*), max(seq) FROM waiters").fetchone()
    (token,) = connection.execute(
        "SELECT max(fencing_token) FROM (SELECT fencing_token FROM locks UNION ALL SELECT fencing_token FROM events)"
    ).fetchone()
    (seq,) = connection.execute("SELECT max(seq) FROM events").fetchone()
    (off,) = connection.execute(f"SELECT count(DISTINCT principal) FROM ({_MISCOUNTED})").fetchone()
    wrong: list[str] = []
    if counted != kept:
        wrong.append(f"{counted} locks are counted and {kept} kept")
    if off:
        wrong.append(f"for {off} principals another number of locks is counted than kept")
    if token is not None and token >= next_token:
        wrong.append(f"the next fencing token would be {next_token}, and {token} was given out")
    if seq is not None and seq >= next_seq:
        wrong.append(f"the next event would have the number {next_seq}, and there is one with {seq}")
    if counted_waiters != waiters:
        wrong.append(f"{counted_waiters} waiters are counted and {waiters} kept")
    if place is not None and place >= next_place:
        wrong.append(f"the next waiter would have the place {next_place}, and there is one with {place}")
    if wrong:
        said = "; ".join(wrong)
        return Finding(Level.FAULT, "counters", f"{said[0].upper()}{said[1:]}.")
    return Finding(Level.OK, "counters", "They agree with the rows.")


_CONFLICTS: Final = (
    "SELECT count(*) FROM locks a JOIN locks b ON {where} AND (a.scope = 'exclusive' OR b.scope = 'exclusive')"
    " WHERE coalesce(a.expires_at > :now, 1) AND coalesce(b.expires_at > :now, 1)"
)
_SAME_ROOT: Final = "b.root = a.root AND b.id > a.id"
_BELOW: Final = "a.depth = 'infinity' AND b.root > rtrim(a.root, '/') || '/' AND b.root < rtrim(a.root, '/') || '0' AND b.root <> a.root"


def _locks(connection: sqlite3.Connection, now_us: int) -> Iterator[Finding]:
    held, expired = connection.execute(
        "SELECT count(*) - count(expires_at <= :now OR NULL), count(expires_at <= :now OR NULL) FROM locks",
        {"now": now_us},
    ).fetchone()
    conflicts = sum(
        connection.execute(_CONFLICTS.format(where=where), {"now": now_us}).fetchone()[0]
        for where in (_SAME_ROOT, _BELOW)
    )
    if conflicts:
        text = f"{conflicts} pairs of locks conflict, which must never be (RFC 4918 section 6.1): please report it."
        yield Finding(Level.FAULT, "locks", text)
    yield Finding(Level.OK, "locks", f"{held} held.")
    if expired:
        yield Finding(Level.NOTICE, "expired locks", f"{expired} are still kept; a running server tidies them away.")


def _waiters(connection: sqlite3.Connection, now_us: int) -> Iterator[Finding]:
    waiting, lapsed = connection.execute(
        "SELECT count(lease_until > :now OR NULL), count(lease_until <= :now OR NULL) FROM waiters", {"now": now_us}
    ).fetchone()
    if waiting:
        yield Finding(Level.OK, "waiters", f"{waiting} in line.")
    if lapsed:
        text = f"{lapsed} that have gone are still kept; a running server tidies them away."
        yield Finding(Level.NOTICE, "lapsed waiters", text)


def _contents(connection: sqlite3.Connection) -> Finding:
    (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
    (properties,) = connection.execute("SELECT count(*) FROM properties").fetchone()
    latest_us: int = connection.execute(queries.READ_LATEST_INSTANT).fetchone()[0]
    latest: datetime = instant_from(latest_us).astimezone(UTC)
    text = f"{events} events and {properties} dead properties; the last change was at {latest:%Y-%m-%d %H:%M:%S} UTC."
    return Finding(Level.OK, "contents", text)


def _now_us(connection: sqlite3.Connection, clock: Clock) -> int:
    """The instant on the clock that all processes with this database share."""
    row = connection.execute(queries.READ_ANCHOR).fetchone()
    latest_us: int = connection.execute(queries.READ_LATEST_INSTANT).fetchone()[0]
    return clock.now_us() if row is None else clock.resumed(Anchor(*row), latest_us).now_us()
