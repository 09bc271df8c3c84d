"""Who holds what in PostgreSQL, by its own views.

Owns: the questions (pg_stat_activity, pg_locks, pg_blocking_pids, pg_prepared_xacts) and how their answers become holders. Must not know:
how a connection is made, or what is done with a holder.

Theory of operation: a row's lock is in the row itself and in no view, so whom somebody waits for is told only while it waits:
pg_blocking_pids names sessions that hold the lock and such that stand before it in the queue, and 0 for a prepared transaction, which
pg_locks then tells by the lock itself. Sessions in whose way nobody is yet are told by what they are: idle, in a
transaction that has written or locked something; of these it is known in which tables, not in which rows. Run it in AUTOCOMMIT: pg_stat_activity does not change within a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, text

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import Holder, WhoError, rank
from holdfast.databases.who.walking import everybody_behind, everything_before

__all__ = ["Lock", "Prepared", "Session", "holders_of", "look"]

_SESSIONS: Final = text("""
    SELECT a.pid, a.usename AS user, a.application_name AS program, a.datname AS database, a.state, a.query AS statement,
           coalesce(nullif(a.client_hostname, ''), host(a.client_addr)) AS host, a.backend_type AS kind,
           a.backend_start AS started_at, a.xact_start AS since,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS held_s,
           CASE WHEN a.pid IN (SELECT pid FROM pg_locks WHERE NOT granted) THEN pg_blocking_pids(a.pid) END AS blockers
    FROM pg_stat_activity a
    WHERE a.pid <> pg_backend_pid()""")

_LOCKS: Final = text("""
    SELECT l.pid, l.virtualtransaction AS owner, l.locktype AS kind, l.mode, l.granted,
           l.relation, c.relkind::text AS relkind, l.page, l.tuple, l.transactionid::text AS xid,
           l.classid::int8 AS classid, l.objid::int8 AS objid, l.objsubid,
           CASE WHEN c.oid IS NOT NULL THEN l.relation::regclass::text ELSE l.relation::text END AS name
    FROM pg_locks l
    LEFT JOIN pg_class c ON c.oid = l.relation AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE l.pid IS DISTINCT FROM pg_backend_pid() AND l.locktype <> 'virtualxid'""")

_PREPARED: Final = text("""
    SELECT gid, transaction::text AS xid, owner AS user, database, prepared AS since,
           extract(epoch FROM clock_timestamp() - prepared)::float8 AS held_s
    FROM pg_prepared_xacts""")

_TABLE: Final = text("SELECT to_regclass(:name)::text")

_DATABASE: Final = text("SELECT current_database()")

_FIRST_OWN_OID: Final = 16384  # FirstNormalObjectId: what is below is the catalogue
_TABLES: Final = frozenset("rpmfv")
_UNSEEN: Final = "what it does may be seen with GRANT pg_read_all_stats"
_READING: Final = frozenset({"AccessShareLock"})
# What a statement that changes or locks rows takes on their table, and what it has done there.
_OF_ROWS: Final = {"RowExclusiveLock": "has open changes in", "RowShareLock": "has locked rows of"}
_HIDDEN: Final = "<insufficient privilege>"
_PREPARED_PID: Final = 0
_MOST_NAMES: Final = 4


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of pg_stat_activity. `blockers` are empty unless it waits for a lock."""

    pid: int
    user: str = ""
    program: str = ""
    database: str = ""
    state: str = ""
    statement: str = ""
    host: str = ""
    kind: str = ""
    started_at: datetime | None = None
    since: datetime | None = None
    held_s: float | None = None
    blockers: tuple[int, ...] = ()

    @property
    def is_hidden(self) -> bool:
        """True where the role that asks may not see what it does."""
        return self.statement == _HIDDEN


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A row of pg_locks; `owner` is its virtual transaction, which tells apart prepared transactions, as `pid` None does."""

    pid: int | None
    owner: str
    kind: str
    mode: str
    granted: bool
    relation: int | None = None
    relkind: str | None = None
    name: str | None = None
    page: int | None = None
    tuple: int | None = None
    xid: str | None = None
    classid: int | None = None
    objid: int | None = None
    objsubid: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What is locked."""
        return self.kind, self.relation, self.page, self.tuple, self.xid, self.classid, self.objid, self.objsubid

    @property
    def is_of_table(self) -> bool:
        """True for a table of the application."""
        return self.kind == "relation" and (self.relation or 0) >= _FIRST_OWN_OID and (self.relkind or "") in _TABLES


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A row of pg_prepared_xacts."""

    gid: str
    xid: str
    user: str = ""
    database: str = ""
    since: datetime | None = None
    held_s: float | None = None


def look(connection: Connection, *, waiter: int | None = None, table: str = "") -> list[Holder]:
    """The holders as of now. `connection` must be in AUTOCOMMIT. `waiter` is a session's pid; `table` as PostgreSQL names it."""
    if table:
        table = _name_of(connection, table)
    sessions = [_session(row) for row in connection.execute(_SESSIONS).mappings()]
    locks = [Lock(**row) for row in connection.execute(_LOCKS).mappings()]
    prepared = [Prepared(**row) for row in connection.execute(_PREPARED).mappings()]
    database = str(connection.execute(_DATABASE).scalar_one())
    return holders_of(sessions, locks, prepared, database=database, waiter=waiter, table=table)


def _name_of(connection: Connection, table: str) -> str:
    """As the locks have it, whatever case it was typed in. Raises WhoError where there is no such table."""
    found = connection.execute(_TABLE, {"name": table}).scalar_one_or_none()
    if found is None:
        msg = f"There is no table {table} in this database that this role would find."
        raise WhoError(msg)
    return str(found)


def holders_of(
    sessions: Sequence[Session],
    locks: Sequence[Lock],
    prepared: Sequence[Prepared],
    *,
    database: str,
    waiter: int | None = None,
    table: str = "",
) -> list[Holder]:
    """The holders that these rows tell of. Pure."""
    return sorted(_Situation(sessions, locks, prepared, database).holders(waiter, table), key=rank)


def _session(row: Any) -> Session:
    values = {name: row[name] for name in Session.__struct_fields__ if row[name] is not None}
    if "blockers" in values:
        values["blockers"] = tuple(values["blockers"])
    return Session(**values)


def _owners(locks: Sequence[Lock], prepared: Sequence[Prepared]) -> dict[str, str]:
    """The prepared transaction behind each virtual transaction that has no session: by the lock that it has on its own number."""
    names = {one.xid: one.gid for one in prepared}
    return {
        lock.owner: names[lock.xid]
        for lock in locks
        if lock.pid is None and lock.kind == "transactionid" and lock.granted and lock.xid in names
    }


class _Situation:
    """All that was seen at one moment. A prepared transaction is known by its gid, a session by its pid."""

    def __init__(
        self, sessions: Sequence[Session], locks: Sequence[Lock], prepared: Sequence[Prepared], database: str
    ) -> None:
        self._sessions = {session.pid: session for session in sessions}
        self._prepared = {one.gid: one for one in prepared}
        self._database = database
        owners = _owners(locks, prepared)
        self._locks: dict[int | str, list[Lock]] = {}
        for lock in locks:
            key = lock.pid if lock.pid is not None else owners.get(lock.owner)
            if key is not None:
                self._locks.setdefault(key, []).append(lock)
        self._waits: dict[int | str, tuple[int | str, ...]] = {
            session.pid: self._before(session) for session in sessions if session.blockers
        }

    def holders(self, waiter: int | None, table: str) -> Iterable[Holder]:
        if waiter is not None:
            yield from (self._holder(key) for key in everything_before(self._waits, waiter))
            return
        blockers = {blocker for before in self._waits.values() for blocker in before}
        for key in {*self._sessions, *self._prepared, *blockers}:
            if table:
                if self._holds_table(key, table):
                    yield self._holder(key)
            elif key in blockers or self._is_idle_holder(key):
                yield self._holder(key)

    def _before(self, session: Session) -> tuple[int | str, ...]:
        """Whom it waits for: pids, and in place of 0 the names of the prepared transactions that have what it wants."""
        found: list[int | str] = [pid for pid in dict.fromkeys(session.blockers) if pid != _PREPARED_PID]
        if _PREPARED_PID in session.blockers:
            wanted = {lock.key for lock in self._locks.get(session.pid, ()) if not lock.granted}
            found += [gid for gid in self._prepared if any(lock.key in wanted for lock in self._granted(gid))]
        return tuple(found)

    def _granted(self, holder: int | str) -> list[Lock]:
        return [lock for lock in self._locks.get(holder, ()) if lock.granted]

    def _is_idle_holder(self, key: int | str) -> bool:
        """Nobody waits for it yet, but it does nothing, and whoever comes may have to wait."""
        if key in self._prepared:
            return self._prepared[str(key)].database == self._database
        session = self._sessions[int(key)]
        if session.database != self._database:
            return False
        if session.is_hidden:
            return self._has_written(key)
        # A transaction that has failed keeps nothing.
        return session.state.startswith("idle in transaction") and bool(self._granted(key))

    def _has_written(self, key: int | str) -> bool:
        """Whether it has changed or locked a row (it then has a transaction id), or a table against writers."""
        return any(
            lock.kind in {"transactionid", "advisory"} or (lock.is_of_table and lock.mode not in _READING)
            for lock in self._granted(key)
        )

    def _rows_note(self, key: int | str) -> str:
        """What is told of one who may hold rows, for nobody can tell which; empty where it holds something else for certain."""
        granted = self._granted(key)
        if any(
            lock.kind == "advisory" or (lock.is_of_table and lock.mode not in {*_READING, *_OF_ROWS})
            for lock in granted
        ):
            return ""
        tables = {
            mode: _listed(_thing(lock) for lock in granted if lock.is_of_table and lock.mode == mode)
            for mode in _OF_ROWS
        }
        words = [f"{done} {tables[mode]}" for mode, done in _OF_ROWS.items() if tables[mode]]
        if not words:
            return ""
        if all(lock.kind != "transactionid" for lock in granted):  # it gets its number with the first row
            return "has neither changed nor locked a row yet"
        return f"probably {' and '.join(words)}; which rows is told only while somebody waits for one"

    def _holds_table(self, key: int | str, table: str) -> bool:
        return any(lock.is_of_table and lock.mode not in _READING and lock.name == table for lock in self._granted(key))

    def _holder(self, key: int | str) -> Holder:
        behind = tuple(sorted(pid for pid in everybody_behind(self._waits, key) if isinstance(pid, int)))
        resource, mode = self._held(key, behind)
        rows = "" if behind else self._rows_note(key)
        if isinstance(key, str):
            one = self._prepared[key]
            return Holder(
                dialect=Dialect.POSTGRESQL,
                doing="is a prepared transaction, which keeps its locks until somebody ends it",
                user=one.user,
                database=one.database,
                state="prepared",
                resource=resource,
                mode=mode,
                since=one.since,
                held_s=one.held_s,
                blocks=behind,
                is_certain=not rows,
                prepared=one.gid,
                note=rows,
            )
        session = self._sessions.get(key, Session(pid=key))
        is_waiting = key in self._waits
        return Holder(
            dialect=Dialect.POSTGRESQL,
            pid=key,
            doing=_doing(session, is_waiting=is_waiting),
            user=session.user,
            program=session.program or ("" if session.kind in {"client backend", ""} else session.kind),
            host=session.host,
            database=session.database,
            state=session.state,
            statement="" if session.is_hidden else session.statement,
            resource=resource,
            mode=mode,
            since=session.since,
            held_s=session.held_s,
            started_at=session.started_at,
            blocks=behind,
            is_in_the_way=bool(behind) or self._has_written(key),
            is_waiting=is_waiting,
            is_certain=not rows,
            note="; ".join(words for words in (rows, _UNSEEN if session.is_hidden else "") if words),
        )

    def _held(self, key: int | str, behind: tuple[int, ...]) -> tuple[str, str]:
        """What it has that others want, and how; where nobody wants anything, what it has."""
        granted = self._granted(key)
        by_key = {lock.key: lock for lock in granted}
        for pid in behind:
            if key not in self._waits.get(pid, ()):
                continue
            for wanted in self._locks.get(pid, ()):
                if wanted.granted:
                    continue
                if wanted.kind in {"transactionid", "tuple"}:
                    return self._row(key, pid), "row lock"
                held = by_key.get(wanted.key, wanted)
                return _thing(held), _mode(held)
        tables = [lock for lock in granted if lock.is_of_table]
        written = [lock for lock in tables if lock.mode not in _READING] or tables
        advisory = [lock for lock in granted if lock.kind == "advisory"]
        modes = list(dict.fromkeys(_mode(lock) for lock in [*written, *advisory]))
        return _listed(_thing(lock) for lock in [*written, *advisory]), ", ".join(modes)

    def _row(self, key: int | str, waiter: int) -> str:
        """The row that is waited for: its place is known where the waiter is the first in its line."""
        locks = self._locks.get(waiter, ())
        for lock in locks:
            if lock.kind == "tuple" and lock.name:
                return f"row ({lock.page},{lock.tuple}) of {lock.name}"
        mine = {lock.name for lock in self._granted(key) if lock.is_of_table}
        names = [lock.name for lock in locks if lock.is_of_table and lock.mode not in _READING and lock.name in mine]
        return f"a row of {' or '.join(str(name) for name in dict.fromkeys(names))}" if names else "a row"


def _doing(session: Session, *, is_waiting: bool) -> str:
    if is_waiting:
        return "waits itself"
    match session.state:
        case "idle in transaction":
            return "is idle in a transaction"
        case "idle in transaction (aborted)":
            return "is idle in a transaction that has failed"
        case "active":
            return "is running a statement"
        case "idle":
            return "is idle, and has kept a lock"
        case _:
            return "holds a lock"


def _listed(names: Iterable[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _MOST_NAMES} more" if len(different) > _MOST_NAMES else ""
    return ", ".join(different[:_MOST_NAMES]) + more


def _mode(lock: Lock) -> str:
    """As the manual writes it: `ACCESS EXCLUSIVE`."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in lock.mode.removesuffix("Lock"))
    return words.strip().upper()


def _thing(lock: Lock) -> str:
    match lock.kind:
        case "relation" | "page" | "extend":
            return lock.name or f"table {lock.relation}"
        case "tuple":
            return f"row ({lock.page},{lock.tuple}) of {lock.name}"
        case "advisory" if lock.objsubid == 1:
            return f"advisory lock {((lock.classid or 0) << 32) | (lock.objid or 0)}"
        case "advisory":
            return f"advisory lock ({lock.classid}, {lock.objid})"
        case "transactionid":
            return "a row"
        case kind:
            return kind
