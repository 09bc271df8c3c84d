"""What MySQL and MariaDB tell of sessions and locks, as values, and who waits for whom over metadata locks.

Owns: these values, and which metadata locks keep which waiting. Pure. Must not know: SQL, connections.

Theory of operation: MariaDB lists granted metadata locks alone, so what a session waits for is read from its state and its statement.
MySQL lists pending ones as well. Whoever has the same table is not in the way of a pending lock for that: a reader is not in the way of a writer.
But a lock on the whole table that is pending itself lets nobody pass, which is how one ALTER TABLE makes everybody wait behind one reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

__all__ = ["NO_SESSION", "Session", "TableLock", "Transaction", "Wait", "metadata_waits", "with_prepared"]

NO_SESSION: Final = 0
"""The number that stands for none: a prepared XA transaction has no session."""

_WHOLE: Final = {"BACKUP LOCK": "all definitions of tables", "COMMIT": "all commits"}
"""MySQL's locks on no table in particular, but for GLOBAL: LOCK INSTANCE FOR BACKUP, and what FLUSH TABLES WITH READ LOCK does to COMMIT."""

_WRITING: Final = frozenset({"SHARED_WRITE", "SHARED_WRITE_LOW_PRIO"})
_TAKEN: Final = frozenset({"SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"})
_ROWS_MODES: Final = _WRITING | {"SHARED_READ"}
_KEPT_OUT_BY: Final = {
    "SHARED": frozenset({"EXCLUSIVE", "INTENTION_EXCLUSIVE"}),
    "SHARED_HIGH_PRIO": frozenset({"EXCLUSIVE"}),
    "SHARED_READ": frozenset({"SHARED_NO_READ_WRITE", "EXCLUSIVE"}),
    "SHARED_WRITE": _TAKEN | {"SHARED_READ_ONLY"},
    "SHARED_WRITE_LOW_PRIO": _TAKEN | {"SHARED_READ_ONLY"},
    "SHARED_UPGRADABLE": _TAKEN | {"SHARED_UPGRADABLE"},
    "SHARED_READ_ONLY": _WRITING | {"SHARED_NO_READ_WRITE", "EXCLUSIVE"},
    "SHARED_NO_WRITE": _TAKEN | _WRITING | {"SHARED_UPGRADABLE"},
    "SHARED_NO_READ_WRITE": _TAKEN | _ROWS_MODES | {"SHARED_UPGRADABLE", "SHARED_READ_ONLY"},
    "INTENTION_EXCLUSIVE": frozenset({"SHARED", "EXCLUSIVE"}),
}
"""MySQL's metadata locks: what is asked for, and which locks of others keep it waiting. What is not in here is kept waiting by any."""

_NO_PLUGIN: Final = "perhaps: which session holds the table is told by MariaDB only after INSTALL SONAME 'metadata_lock_info'; this one has a transaction open"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the process list. `seconds` is how long it has been in its state; `program` is what it calls itself, where it does."""

    id: int
    user: str = ""
    host: str = ""
    database: str = ""
    command: str = ""
    state: str = ""
    statement: str = ""
    seconds: float = 0
    program: str = ""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A row of innodb_trx; `session` is 0 for a prepared XA transaction that has left its session. `since` is in UTC."""

    id: str
    session: int
    statement: str = ""
    rows_locked: int = 0
    tables_locked: int = 0
    rows_modified: int = 0
    since: datetime | None = None
    held_s: float | None = None

    @property
    def has_locked(self) -> bool:
        """True where it has changed or locked something."""
        return bool(self.rows_locked or self.tables_locked or self.rows_modified)


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Session `waiter` waits for session `holder` (0: for the transaction `holder_trx`, which has none) over `resource`."""

    waiter: int
    holder: int
    resource: str
    mode: str = ""
    holder_trx: str = ""
    note: str = ""


class TableLock(msgspec.Struct, frozen=True, kw_only=True):
    """A metadata lock. MariaDB lists only those that are granted. `session` is 0 where it is of the prepared transaction `trx`."""

    session: int
    mode: str
    kind: str
    schema: str = ""
    name: str = ""
    granted: bool = True
    trx: str = ""

    @property
    def holder(self) -> int | str:
        """The number of the session, or the id of the transaction that has none."""
        return self.session or self.trx

    @property
    def place(self) -> tuple[str, str, str]:
        """What is locked, for comparing."""
        return self.kind, self.schema, self.name

    @property
    def resource(self) -> str:
        """What is locked, in words."""
        place = ".".join(part for part in (self.schema, self.name) if part)
        if "user" in self.kind.lower() or self.kind == "LOCKING SERVICE":
            return f"named lock {place}"
        return place or _WHOLE.get(self.kind, "all tables")

    @property
    def is_exclusive(self) -> bool:
        """LOCK TABLES, FLUSH TABLES WITH READ LOCK, LOCK INSTANCE FOR BACKUP, named locks: it outlives a transaction, or keeps all writers out."""
        mode = self.mode.upper()
        if self.kind in {"GLOBAL", "COMMIT", "BACKUP LOCK"}:  # MySQL's; every writer has these, INTENTION_EXCLUSIVE
            return mode in {"SHARED", "EXCLUSIVE"}
        return (
            any(word in mode for word in ("NO_READ_WRITE", "READ_ONLY", "NO_WRITE", "FTWRL"))
            or mode.removeprefix("MDL_") == "EXCLUSIVE"
        )

    @property
    def words(self) -> str:
        """How it is locked, for a person."""
        return self.mode.removeprefix("MDL_").replace("_", " ")


def metadata_waits(
    sessions: Sequence[Session], locks: Sequence[TableLock] | None, transactions: Sequence[Transaction]
) -> list[Wait]:
    """Who waits for whom over whole tables and named locks. `locks` None: MariaDB without its plugin, where it can only be supposed. Pure."""
    found: list[Wait] = []
    pending = {lock.session for lock in locks or () if not lock.granted}
    for session in sessions:
        if session.id not in pending and not _is_waiting_for_lock(session.state.lower()):
            continue
        if locks is None:
            found += _supposed(session, sessions, transactions)
            continue
        for lock in _wanted(session, locks):
            found.append(
                Wait(
                    waiter=session.id,
                    holder=lock.session,
                    holder_trx=lock.trx,
                    resource=lock.resource,
                    mode=lock.words,
                )
            )
    return found


def _is_waiting_for_lock(state: str) -> bool:
    return state.startswith(("waiting for", "user lock")) and "lock" in state


def with_prepared(
    locks: Sequence[TableLock],
    transactions: Iterable[Transaction],
    tables: Mapping[tuple[str, str], Sequence[str]],
) -> list[TableLock]:
    """The locks, those of prepared XA transactions as theirs. `tables` has the ids of those that have locked rows in it. Pure.

    Such a lock is listed as its former session's, or as nobody's where that has ended. It is taken for the former only where that
    session has another transaction.
    """
    busy = {one.session for one in transactions if one.session != NO_SESSION}
    found: dict[TableLock, None] = {}
    for lock in locks:
        prepared = tables.get((lock.schema, lock.name), ())
        if prepared and lock.granted and lock.mode in _ROWS_MODES and lock.session not in busy:
            found |= {msgspec.structs.replace(lock, session=NO_SESSION, trx=trx): None for trx in prepared}
        elif lock.session != NO_SESSION:
            found[lock] = None
    return list(found)


def _supposed(session: Session, sessions: Sequence[Session], transactions: Sequence[Transaction]) -> Iterator[Wait]:
    waiting = {one.id for one in sessions if one.state.lower().startswith("waiting for")}
    for one in transactions:
        if one.session not in {session.id, NO_SESSION} and one.session not in waiting:
            yield Wait(waiter=session.id, holder=one.session, resource="a table", note=_NO_PLUGIN)


def _wanted(session: Session, locks: Sequence[TableLock]) -> Iterator[TableLock]:
    """The locks of others for which `session` waits: as it is listed (MySQL), or as its statement names it."""
    pending = [lock for lock in locks if lock.session == session.id and not lock.granted]
    if pending:
        for one in pending:
            yield from _before(one, locks)
        return
    state = session.state.lower()
    own = {lock.place for lock in locks if lock.session == session.id}
    for lock in locks:
        if lock.session == session.id or not lock.granted:
            continue
        if "user lock" in state:
            if "user" in lock.kind.lower() and (lock.schema or lock.name) in session.statement:
                yield lock
        elif "table metadata" in state:
            if "table" in lock.kind.lower() and (lock.place in own or _names(session.statement, lock.name)):
                yield lock
        elif not lock.name and (
            "FTWRL" in lock.mode or "global read" in lock.kind.lower() or "backup" in lock.kind.lower()
        ):
            yield lock


def _before(wanted: TableLock, locks: Iterable[TableLock]) -> list[TableLock]:
    """Those that keep `wanted` waiting: granted ones that it does not go with, and ones that wait for the whole before it."""
    same = [lock for lock in locks if lock.session != wanted.session and lock.place == wanted.place]
    found = [lock for lock in same if _keeps_out(lock, wanted)]
    return found or [lock for lock in same if lock.granted]


def _keeps_out(lock: TableLock, wanted: TableLock) -> bool:
    by = _KEPT_OUT_BY.get(wanted.mode)
    if by is not None and lock.mode not in by:
        return False
    is_for_the_whole = lock.mode in _TAKEN or (lock.mode == "SHARED" and not lock.name)
    return lock.granted or (is_for_the_whole and wanted.mode not in _TAKEN)


def _names(statement: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", statement, re.IGNORECASE) is not None
