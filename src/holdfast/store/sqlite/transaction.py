"""What can be asked and done inside one SQLite transaction.

Owns: the mapping of the protocol's questions to queries. Must not know: when a transaction begins, commits,
or reaches the disk (store.py), nor what any of it means.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import structs

from holdfast.core.model import Break, DeadProperty, Event, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import StoreError, StoreFullError, refuse_overlap
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.commit import Commit
from holdfast.store.sqlite.known import LAST_PLACE, KnownLocks
from holdfast.store.sqlite.opening import explain, is_busy, patiently
from holdfast.store.sqlite.rows import (
    Row,
    break_from,
    changed_row,
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
    waiter_from,
    waiter_row,
)

__all__ = ["Session", "SqliteReadTransaction", "SqliteWriteTransaction", "inherited"]

_LEAST_ROOM_BYTES: Final = 256 * 1024
"""Room that a change to documents asks for, so that the commit after it does not fail."""

_T = TypeVar("_T")

inherited: Final[list[object]] = []
"""What belongs to the parent of a fork: kept for good, because to close it here could harm the parent's."""


class Session:
    """One thread's connection; `cursor` runs all its statements, `is_active` while a transaction is open.

    `holds` is True inside `with store.hold()`; `held` is what waits for the shared commit.
    """

    __slots__ = (
        "__weakref__",
        "_pid",
        "busy_limit_s",
        "connection",
        "cursor",
        "held",
        "holds",
        "is_active",
        "known",
        "path",
    )

    def __init__(self, connection: sqlite3.Connection, path: Path, busy_limit_s: float) -> None:
        """Take over an open connection."""
        self.connection = connection
        self.cursor = connection.cursor()
        self.path = path
        self.busy_limit_s = busy_limit_s
        self.known = KnownLocks(self.cursor)
        self.is_active = False
        self.holds = False
        self.held: Commit | None = None
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

    __slots__ = ("_commit", "_is_current", "_session", "now", "now_us")

    now: datetime
    """The instant of this transaction."""

    def __init__(self, session: Session, now_us: int, commit: Commit | None = None) -> None:
        """Read through `session`, at an instant; with `commit`, also what this thread has not committed yet."""
        self._session: Session | None = session
        self._commit = commit
        self._is_current = commit is not None
        """True when what this connection knows is what this transaction would read."""
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
        return self._ask(lambda: session.cursor.execute(sql, values).fetchall())

    def _ask(self, question: Callable[[], _T]) -> _T:
        session = self._session or self._open_session()
        try:
            return question()
        except sqlite3.Error as error:
            if is_busy(error):
                return patiently(question, session.busy_limit_s)
            raise explain(error, session.path) from error

    def _known(self) -> KnownLocks:
        session = self._session or self._open_session()
        if not self._is_current:
            self._ask(session.known.refresh)
            self._is_current = True
        return session.known

    def locks_on(self, roots: Sequence[str]) -> list[Lock]:
        """One seek per root."""
        known = self._known()
        return self._ask(lambda: known.locks_on(roots))

    def locks_below(self, path: ResourcePath, limit: int = -1) -> list[Lock]:
        """A range scan."""
        known = self._known()
        return self._ask(lambda: known.locks_below(path, limit))

    def locks_on_members(self, path: ResourcePath) -> list[Lock]:
        """A range scan that jumps over everything below a member: one seek for each member that has locks below it."""
        session = self._session or self._open_session()
        return self._ask(lambda: _locks_on_members(session.cursor, path.prefix))

    def locks_at_or_below(self, path: ResourcePath, after: tuple[str, str] | None, limit: int) -> list[Lock]:
        """Two range scans: what is on the path, and what lies below it."""
        found: list[Lock] = []
        key = after or ("", "")
        # No id is the empty text, so the first place of a root is before all its locks.
        for first, end in ((path.text, path.text + "\x01"), (first_below(path.prefix), end_of_range(path.prefix))):
            place = max(key, (first, ""))
            rows = self._rows(queries.LOCKS_BETWEEN_KEYS, (*place, end, limit - len(found)))
            found.extend([lock_from(row) for row in rows])
        return found

    def break_with_token(self, token: str) -> Break | None:
        """One seek."""
        rows = self._rows(queries.BREAK_WITH_TOKEN, (token,))
        return break_from(rows[0]) if rows else None

    def lock_with_id(self, lock_id: str) -> Lock | None:
        """One seek."""
        rows = self._rows(queries.LOCK_WITH_ID, (lock_id,))
        return lock_from(rows[0]) if rows else None

    def expired_locks(self, limit: int) -> list[Lock]:
        """A range scan in the index by expiry."""
        return [lock_from(row) for row in self._rows(queries.EXPIRED_LOCKS, (self.now_us, limit))]

    def count_locks(self, principal: str | None = None) -> int:
        """One seek at most, for a number that every commit writes."""
        commit = self._commit
        if commit is not None:
            session = self._session or self._open_session()
            try:
                return commit.count(principal)
            except sqlite3.Error as error:
                raise explain(error, session.path) from error
        if principal is None:
            rows = self._rows(queries.COUNT_LOCKS, ())
        else:
            rows = self._rows(queries.COUNT_LOCKS_OF, (principal,))
        return rows[0][0] if rows else 0

    def _nobody_waits(self) -> bool:
        known = self._known()
        return known.nobody_waits or not self._ask(known.someone_waits)

    def waiters_on(self, roots: Sequence[str], *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """One statement for all of them, or one for each root where only the first are wanted."""
        if self._nobody_waits():
            return []
        last = LAST_PLACE if before is None else before
        known = self._known()
        if limit < 0:
            return self._ask(lambda: known.waiters_on(roots, last))
        wanted = dict.fromkeys(roots)
        rows = [row for root in wanted for row in self._rows(queries.WAITERS_ON_ONE, (root, last, limit))]
        return [waiter_from(row) for row in sorted(rows)[:limit]]

    def waiters_below(self, path: ResourcePath, *, before: int | None = None, limit: int = -1) -> list[Waiter]:
        """A range scan of an index, then one seek each."""
        if self._nobody_waits():
            return []
        last = LAST_PLACE if before is None else before
        values = first_below(path.prefix), end_of_range(path.prefix), last, limit
        return [waiter_from(row) for row in self._rows(queries.WAITERS_BETWEEN, values)]

    def waiter_with_id(self, lock_id: str) -> Waiter | None:
        """One seek."""
        if self._nobody_waits():
            return None
        rows = self._rows(queries.WAITER_WITH_ID, (lock_id,))
        return waiter_from(rows[0]) if rows else None

    def lapsed_waiters(self, limit: int) -> list[Waiter]:
        """A range scan in the index by lease."""
        if self._nobody_waits():
            return []
        return [waiter_from(row) for row in self._rows(queries.LAPSED_WAITERS, (self.now_us, limit))]

    def count_waiters(self) -> int:
        """One seek, for a number that every commit writes; none while nobody waits."""
        if self._nobody_waits():
            return 0
        commit = self._commit
        return self._rows(queries.COUNT_WAITERS, ())[0][0] if commit is None else self._ask(lambda: commit.waiters)

    def latest_seq(self) -> int:
        """One seek, for a number that every commit writes."""
        commit = self._commit
        return self._rows(queries.LATEST_SEQ, ())[0][0] if commit is None else self._ask(lambda: commit.latest_seq)

    def events_after(self, seq: int, limit: int) -> list[Event]:
        """A range scan."""
        if self._commit is not None and self._commit.has_unwritten_events:
            self._write_events(self._commit)
        return [event_from(row) for row in self._rows(queries.EVENTS_AFTER, (seq, limit))]

    def end_of_lock(self, lock_id: str) -> Event | None:
        """One seek."""
        if self._commit is not None and self._commit.has_unwritten_events:
            self._write_events(self._commit)
        rows = self._rows(queries.END_OF_LOCK, (lock_id,))
        return event_from(rows[0]) if rows else None

    def _write_events(self, commit: Commit) -> None:
        session = self._session or self._open_session()
        try:
            commit.write_events()
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

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
    """A serial transaction. What it counts and appends is kept in its `commit` until that ends.

    One that joins others must be undone alone if it raises. Most change one lock, if anything, and do not raise: so
    the first change is taken back by its inverse where it is one of a lock, and a savepoint is begun before any other.
    """

    __slots__ = ("_durable_ceiling", "_first", "_is_saved", "_mark", "_must_save", "commit", "joins")

    def __init__(
        self, session: Session, now_us: int, durable_ceiling: int, commit: Commit, *, joins: bool = False
    ) -> None:
        """Write through `session`, which has begun; fencing tokens below `durable_ceiling` are reserved on disk.

        With `joins` the commit brings other transactions' changes too.
        """
        super().__init__(session, now_us, commit)
        self.commit = commit
        self.joins = joins
        self._durable_ceiling = durable_ceiling
        self._must_save = joins
        self._is_saved = False
        self._first: tuple[str, Lock] | None = None
        """What takes the first change back; only where it came before a savepoint."""
        self._mark = commit.mark() if joins else None

    def keep(self) -> None:
        """End one of several; sqlite3.Error."""
        if self._is_saved:
            self._open_session().cursor.execute(queries.RELEASE)
        self.commit.latest_us = self.now_us

    def undo(self) -> None:
        """Undo one of several, and only that; sqlite3.Error where it cannot be."""
        session = self._open_session()
        cursor = session.cursor
        session.known.forget()
        if self._is_saved:
            cursor.execute(queries.UNDO)
            cursor.execute(queries.RELEASE)
        if self._first is not None:
            sql, lock = self._first
            cursor.execute(sql, lock_row(lock) if sql is queries.INSERT_LOCK else (lock.root.text, lock.id))
        if self._mark is not None:
            self.commit.go_back(self._mark)

    def _save(self, session: Session) -> None:
        session.cursor.execute(queries.SAVE)
        self._must_save, self._is_saved = False, True

    def _run(self, sql: str, values: Sequence[object]) -> int:
        """Make a change; returns how many rows it was of."""
        session = self._session or self._open_session()
        try:
            if self._must_save:
                self._save(session)
            return session.cursor.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

    def _run_on_lock(self, sql: str, values: Sequence[object], lock: Lock, inverse: str) -> int:
        """Insert or remove a lock; returns how many rows that was."""
        if not self._must_save or self._first is not None:
            return self._run(sql, values)
        session = self._session or self._open_session()
        try:
            count = session.cursor.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise explain(error, session.path) from error
        if count:
            self._first = inverse, lock
        return count

    def _write_events(self, commit: Commit) -> None:
        session = self._session or self._open_session()
        try:
            if self._must_save:
                self._save(session)
            commit.write_events()
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

    def insert(self, lock: Lock) -> None:
        """One row."""
        self._run_on_lock(queries.INSERT_LOCK, lock_row(lock), lock, queries.REMOVE_LOCK)
        self._open_session().known.note_insert(lock)
        self._count(lock, 1)

    def replace(self, lock: Lock) -> None:
        """One row at most."""
        self._run(queries.REPLACE_LOCK, changed_row(lock))
        self._open_session().known.note_change(lock)

    def remove(self, lock: Lock) -> None:
        """One row at most."""
        if self._run_on_lock(queries.REMOVE_LOCK, (lock.root.text, lock.id), lock, queries.INSERT_LOCK):
            self._open_session().known.note_removal(lock)
            self._count(lock, -1)

    def _count(self, lock: Lock, more: int) -> None:
        try:
            self.commit.add_locks(lock.principal, more)
        except sqlite3.Error as error:
            raise explain(error, self._open_session().path) from error

    def enqueue(self, waiter: Waiter) -> Waiter:
        """One row."""
        placed = structs.replace(waiter, seq=self._ask(lambda: self.commit.next_place))
        self._run(queries.INSERT_WAITER, waiter_row(placed))
        self._open_session().known.note_waiters(self.commit.add_waiter())
        return placed

    def renew_waiters(self, lock_ids: Sequence[str], lease_until: datetime) -> None:
        """One statement for all of them."""
        if lock_ids and not self._nobody_waits():
            self._run(queries.RENEW_WAITERS, (microseconds(lease_until), msgspec.json.encode(lock_ids).decode()))

    def dequeue(self, waiter: Waiter) -> None:
        """One row at most."""
        if self._run(queries.REMOVE_WAITER, (waiter.seq, waiter.id)):
            left = self._ask(self.commit.remove_waiter)
            self._open_session().known.note_waiters(left)

    def put_break(self, token: str, broken: Break) -> None:
        """One row."""
        values = token, broken.lock_id, microseconds(broken.at), broken.actor, broken.reason
        self._run(queries.PUT_BREAK, values)

    def ensure_room(self) -> None:
        """Look at the file system that the log grows on."""
        session = self._open_session()
        found = os.statvfs(session.path.parent)
        if found.f_bavail * found.f_frsize < _LEAST_ROOM_BYTES:
            msg = f"the disk with {session.path} is full; make room"
            raise StoreFullError(msg)

    def mint_fencing_token(self) -> int:
        """The next token; one beyond the reserve makes the commit wait for the disk (store.py)."""
        session = self._session or self._open_session()
        try:
            return self.commit.mint(self._durable_ceiling)
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

    def append(self, event: Event) -> int:
        """One row, written with all others of the commit."""
        session = self._session or self._open_session()
        try:
            return self.commit.append(event_row(event))
        except sqlite3.Error as error:
            raise explain(error, session.path) from error

    def trim_events(self, before: datetime) -> int:
        """Costs what it drops."""
        self._write_events(self.commit)
        self._run(queries.TRIM_BREAKS, (microseconds(before),))
        return self._run(queries.TRIM_EVENTS, (microseconds(before),))

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
