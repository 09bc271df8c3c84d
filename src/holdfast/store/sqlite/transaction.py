"""What can be asked and done inside one SQLite transaction.

Owns: the mapping of the protocol's questions to queries. Must not know: when a transaction begins, commits,
or reaches the disk (store.py), nor what any of it means.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from holdfast.core.model import DeadProperty, Event, Lock
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import StoreError, StoreFullError, refuse_overlap
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.opening import explain, is_busy, patiently
from holdfast.store.sqlite.rows import (
    Row,
    end_of_range,
    event_from,
    event_row,
    first_below,
    instant_from,
    lock_from,
    lock_row,
    microseconds,
    property_from,
    property_key,
)

__all__ = ["Counters", "Held", "Session", "SqliteReadTransaction", "SqliteWriteTransaction", "inherited"]

_FENCING_RESERVE: Final = 4096
"""How many fencing tokens are reserved by one wait for the disk."""

_LEAST_ROOM_BYTES: Final = 256 * 1024
"""Room that a change to documents asks for, so that the commit after it does not fail."""


Counters = tuple[int, int, int]
"""The next fencing token, the fencing ceiling, the next seq."""

inherited: Final[list[object]] = []
"""What belongs to the parent of a fork: kept for good, because to close it here could harm the parent's."""


class Held:
    """What one thread's write transactions that share a commit have come to so far."""

    __slots__ = ("changed", "counters", "failure", "latest_us", "reserved_ceiling")

    def __init__(self) -> None:
        """Nothing yet."""
        self.changed = 0
        self.counters: Counters | None = None
        """As the last of them left them; written once, before the commit. None when none used them."""
        self.latest_us = 0
        self.reserved_ceiling = 0
        self.failure: StoreError | None = None
        """Why all of it was undone; then nothing is open any more."""

    def take(self, tx: SqliteWriteTransaction) -> None:
        """Add what a transaction did."""
        self.changed += tx.changed
        self.counters = tx.counters
        self.latest_us = tx.now_us
        self.reserved_ceiling = max(self.reserved_ceiling, tx.reserved_ceiling)


class Session:
    """One thread's connection; `cursor` runs all its statements, `is_active` while a transaction is open.

    `holds` is True inside `with store.hold()`; `held` is what waits for the shared commit.
    """

    __slots__ = ("__weakref__", "_pid", "busy_limit_s", "connection", "cursor", "held", "holds", "is_active", "path")

    def __init__(self, connection: sqlite3.Connection, path: Path, busy_limit_s: float) -> None:
        """Take over an open connection."""
        self.connection = connection
        self.cursor = connection.cursor()
        self.path = path
        self.busy_limit_s = busy_limit_s
        self.is_active = False
        self.holds = False
        self.held: Held | None = None
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self.connection.close()

    def __del__(self) -> None:
        """The thread ended: close its connection; in the child of a fork, leave the parent's alone."""
        if os.getpid() == self._pid:
            self.connection.close()
        else:
            inherited.append(self.connection)


class SqliteReadTransaction:
    """One consistent view."""

    __slots__ = ("_session", "now", "now_us")

    now: datetime
    """The instant of this transaction."""

    def __init__(self, session: Session, now_us: int) -> None:
        """Read through `session`, at an instant."""
        self._session: Session | None = session
        self.now_us = now_us
        self.now = instant_from(now_us)

    def end(self) -> None:
        """Refuse all further use."""
        self._session = None

    def _open_session(self) -> Session:
        session = self._session
        if session is None:
            msg = "this transaction has ended; begin another one"
            raise StoreError(msg)
        return session

    def _rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        session = self._session or self._open_session()
        try:
            return session.cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if is_busy(error):
                return patiently(lambda: session.cursor.execute(sql, values).fetchall(), session.busy_limit_s)
            raise explain(error, session.path) from error

    def locks_on(self, roots: Sequence[str]) -> list[Lock]:
        """One seek per root."""
        distinct = tuple(dict.fromkeys(roots))
        if not distinct:
            return []
        return [lock_from(row) for row in self._rows(queries.locks_on(len(distinct)), distinct)]

    def locks_below(self, path: ResourcePath, limit: int = -1) -> list[Lock]:
        """A range scan."""
        prefix = path.prefix
        return [
            lock_from(row)
            for row in self._rows(queries.LOCKS_BETWEEN, (first_below(prefix), end_of_range(prefix), limit))
        ]

    def locks_on_members(self, path: ResourcePath) -> list[Lock]:
        """A range scan that jumps over everything below a member: one seek for each member that has locks below it."""
        session = self._session or self._open_session()
        try:
            return _locks_on_members(session.cursor, path.prefix)
        except sqlite3.Error as error:
            if is_busy(error):
                return patiently(lambda: _locks_on_members(session.cursor, path.prefix), session.busy_limit_s)
            raise explain(error, session.path) from error

    def lock_with_token(self, token: str) -> Lock | None:
        """One seek."""
        rows = self._rows(queries.LOCK_WITH_TOKEN, (token,))
        return lock_from(rows[0]) if rows else None

    def lock_with_id(self, lock_id: str) -> Lock | None:
        """One seek."""
        rows = self._rows(queries.LOCK_WITH_ID, (lock_id,))
        return lock_from(rows[0]) if rows else None

    def expired_locks(self, limit: int) -> list[Lock]:
        """A range scan in the index by expiry."""
        return [lock_from(row) for row in self._rows(queries.EXPIRED_LOCKS, (self.now_us, limit))]

    def count_locks(self, principal: str | None = None) -> int:
        """One seek, for a number that triggers keep."""
        if principal is None:
            rows = self._rows(queries.COUNT_LOCKS, ())
        else:
            rows = self._rows(queries.COUNT_LOCKS_OF, (principal,))
        return rows[0][0] if rows else 0

    def events_after(self, seq: int, limit: int) -> list[Event]:
        """A range scan."""
        return [event_from(row) for row in self._rows(queries.EVENTS_AFTER, (seq, limit))]

    def properties_on(self, path: ResourcePath) -> list[DeadProperty]:
        """A range scan."""
        return [property_from(row) for row in self._rows(queries.PROPERTIES_ON, property_key(path))]

    def properties_on_members(self, path: ResourcePath) -> list[DeadProperty]:
        """A range scan over just the members."""
        return [property_from(row) for row in self._rows(queries.PROPERTIES_ON_MEMBERS, (path.prefix,))]


def _locks_on_members(cursor: sqlite3.Cursor, prefix: str) -> list[Lock]:
    found: list[Lock] = []
    end = end_of_range(prefix)
    start: str | None = first_below(prefix)
    while start is not None:
        rest = start
        start = None
        for row in cursor.execute(queries.LOCKS_BETWEEN, (rest, end, -1)):
            root: str = row[2]
            deeper = root.find("/", len(prefix))
            if deeper != -1:
                start = end_of_range(root[: deeper + 1])
                break
            found.append(lock_from(row))
    return found


class SqliteWriteTransaction(SqliteReadTransaction):
    """A serial transaction; the counters are read at their first use and written once, at the end."""

    __slots__ = (
        "_durable_ceiling",
        "_saves_first",
        "_started_with",
        "counters",
        "is_saved",
        "joins",
        "reserved_ceiling",
    )

    reserved_ceiling: int
    """The ceiling that must be on disk before this transaction's fencing tokens are given out; 0 for none."""

    def __init__(self, session: Session, now_us: int, durable_ceiling: int, held: Held | None = None) -> None:
        """Write through `session`, which has begun; fencing tokens below `durable_ceiling` are reserved on disk.

        With `held` it joins others that share its commit, and goes on from their counters.
        """
        super().__init__(session, now_us)
        self._durable_ceiling = durable_ceiling
        self.reserved_ceiling = 0
        self.joins = held is not None
        self._saves_first = self.joins
        self.is_saved = False
        self.counters: Counters | None = None if held is None else held.counters
        self._started_with = session.connection.total_changes

    def _run(self, sql: str, values: Sequence[object]) -> None:
        session = self._session or self._open_session()
        try:
            if self._saves_first:
                # Not before there is something to undo: most that join others change nothing, or succeed.
                session.cursor.execute(queries.SAVE)
                self._saves_first, self.is_saved = False, True
            session.cursor.execute(sql, values)
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

    def _read_counters(self) -> Counters:
        counters: Counters = self._rows(queries.READ_COUNTERS, ())[0]
        self.counters = counters
        return counters

    @property
    def changed(self) -> int:
        """How many rows were changed so far."""
        return self._open_session().connection.total_changes - self._started_with

    @property
    def has_work(self) -> bool:
        """True when there is something to commit."""
        return self.counters is not None or self.changed > 0

    def finish(self) -> int:
        """Write the counters, before the commit; returns how many rows were changed."""
        changed = self.changed
        if self.has_work:
            self._run(*queries.write_counters(self.counters, self.now_us))
            changed += 1
        return changed

    def insert(self, lock: Lock) -> None:
        """One row."""
        self._run(queries.INSERT_LOCK, lock_row(lock))

    def replace(self, lock: Lock) -> None:
        """One row."""
        row = lock_row(lock)
        self._run(queries.REPLACE_LOCK, (*row[1:], row[0]))

    def remove(self, lock_id: str) -> None:
        """One row at most."""
        self._run(queries.REMOVE_LOCK, (lock_id,))

    def ensure_room(self) -> None:
        """Look at the file system that the log grows on."""
        session = self._open_session()
        found = os.statvfs(session.path.parent)
        if found.f_bavail * found.f_frsize < _LEAST_ROOM_BYTES:
            msg = f"the disk with {session.path} is full; make room"
            raise StoreFullError(msg)

    def mint_fencing_token(self) -> int:
        """The next token; one beyond the reserve raises the ceiling and makes the commit wait for the disk (store.py)."""
        token, ceiling, seq = self.counters or self._read_counters()
        if token >= ceiling:
            ceiling = token + _FENCING_RESERVE
        if token >= self._durable_ceiling:
            self.reserved_ceiling = ceiling
        self.counters = token + 1, ceiling, seq
        return token

    def append(self, event: Event) -> int:
        """One row."""
        token, ceiling, seq = self.counters or self._read_counters()
        self._run(queries.APPEND_EVENT, event_row(seq, event))
        self.counters = token, ceiling, seq + 1
        return seq

    def trim_events(self, before: datetime) -> int:
        """Costs what it drops."""
        self._run(queries.TRIM_EVENTS, (microseconds(before),))
        return self._open_session().cursor.rowcount

    def put_property(self, prop: DeadProperty) -> None:
        """One row."""
        self._run(queries.PUT_PROPERTY, (*property_key(prop.path), prop.namespace, prop.name, prop.xml))

    def remove_property(self, path: ResourcePath, namespace: str, name: str) -> None:
        """One row at most."""
        self._run(queries.REMOVE_PROPERTY, (*property_key(path), namespace, name))

    def remove_properties(self, path: ResourcePath) -> None:
        """Two range deletes."""
        self._run(queries.REMOVE_PROPERTIES_ON, property_key(path))
        self._run(queries.REMOVE_PROPERTIES_BELOW, (path.prefix, end_of_range(path.prefix)))

    def copy_properties(self, source: ResourcePath, destination: ResourcePath, *, tree: bool) -> None:
        """Inside SQLite, however large the tree."""
        if tree:
            refuse_overlap(source, destination)
            self.remove_properties(destination)
        elif source == destination:
            return
        else:
            self._run(queries.REMOVE_PROPERTIES_ON, property_key(destination))
        self._run(queries.COPY_PROPERTIES_ON, (*property_key(destination), *property_key(source)))
        if tree:
            self._run(queries.COPY_PROPERTIES_BELOW, _shift(source, destination))

    def move_properties(self, source: ResourcePath, destination: ResourcePath) -> None:
        """Inside SQLite, however large the tree."""
        refuse_overlap(source, destination)
        self.remove_properties(destination)
        self._run(queries.MOVE_PROPERTIES_ON, (*property_key(destination), *property_key(source)))
        self._run(queries.MOVE_PROPERTIES_BELOW, _shift(source, destination))


def _shift(source: ResourcePath, destination: ResourcePath) -> tuple[str, int, str, str]:
    # substr counts characters from 1.
    return destination.prefix, len(source.prefix) + 1, source.prefix, end_of_range(source.prefix)
