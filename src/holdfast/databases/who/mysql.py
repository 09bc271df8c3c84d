"""Who holds what in MySQL 8 and in MariaDB, by their own views.

Owns: the questions, which differ (`performance_schema.data_lock_waits` and `metadata_locks` there, `information_schema.INNODB_LOCK_WAITS`
and the plugin metadata_lock_info here), and how their answers become holders. Must not know: how a connection is made.

Theory of operation: both tell who waits for whom over rows (InnoDB), and over whole tables (metadata locks: ALTER TABLE, LOCK TABLES), but
each in its own view and in its own numbers. All is brought to sessions, transactions and waits between sessions first; what follows is one
for both. MariaDB renews what it tells of InnoDB's locks only when nobody has asked for 0.1 s, so it must not be asked more often.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import Holder, WhoError, rank
from holdfast.databases.who.walking import everybody_behind, everything_before

__all__ = [
    "LEAST_PAUSE_S",
    "Session",
    "TableLock",
    "Transaction",
    "Wait",
    "holders_of",
    "is_mariadb",
    "look",
    "metadata_waits",
    "tells_table_locks",
]

LEAST_PAUSE_S: Final = 0.15
"""How long to wait before asking again: what MariaDB tells is renewed only after 0.1 s without a question."""

_NO_SESSION: Final = 0
_MOST_NAMES: Final = 4
_DENIED: Final = frozenset({1044, 1142, 1143, 1227})

_SESSIONS: Final = text("""
    SELECT id, user, host, db AS `database`, command, state, info AS statement, time AS seconds
    FROM information_schema.processlist WHERE id <> connection_id()""")

_TRANSACTIONS: Final = text("""
    SELECT cast(trx_id AS char) AS id, trx_mysql_thread_id AS session, trx_query AS statement, trx_rows_locked AS rows_locked,
           trx_tables_locked AS tables_locked, trx_rows_modified AS rows_modified,
           timestampadd(SECOND, timestampdiff(SECOND, now(), utc_timestamp()), trx_started) AS since,
           timestampdiff(SECOND, trx_started, now()) AS held_s
    FROM information_schema.innodb_trx""")

_MARIADB_WAITS: Final = text("""
    SELECT r.trx_mysql_thread_id AS waiter, b.trx_mysql_thread_id AS holder, b.trx_id AS holder_trx,
           l.lock_table AS resource, l.lock_index AS `index`, l.lock_data AS data, l.lock_mode AS mode, l.lock_type AS kind
    FROM information_schema.innodb_lock_waits w
    JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id
    JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id
    JOIN information_schema.innodb_locks l ON l.lock_id = w.blocking_lock_id""")

_MYSQL_WAITS: Final = text("""
    SELECT r.processlist_id AS waiter, coalesce(b.processlist_id, 0) AS holder, w.blocking_engine_transaction_id AS holder_trx,
           concat('`', l.object_schema, '`.`', l.object_name, '`') AS resource, l.index_name AS `index`, l.lock_data AS data,
           l.lock_mode AS mode, l.lock_type AS kind
    FROM performance_schema.data_lock_waits w
    JOIN performance_schema.threads r ON r.thread_id = w.requesting_thread_id
    LEFT JOIN performance_schema.threads b ON b.thread_id = w.blocking_thread_id
    JOIN performance_schema.data_locks l ON l.engine = w.engine AND l.engine_lock_id = w.blocking_engine_lock_id""")

_MARIADB_TABLE_LOCKS: Final = text("""
    SELECT thread_id AS session, lock_mode AS mode, lock_type AS kind, table_schema AS `schema`, table_name AS name, 1 AS granted
    FROM information_schema.metadata_lock_info WHERE thread_id <> connection_id()""")

_MYSQL_TABLE_LOCKS: Final = text("""
    SELECT t.processlist_id AS session, m.lock_type AS mode, m.object_type AS kind, m.object_schema AS `schema`, m.object_name AS name,
           m.lock_status = 'GRANTED' AS granted
    FROM performance_schema.metadata_locks m
    JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id
    WHERE t.processlist_id <> connection_id() AND m.object_type IN ('TABLE', 'GLOBAL', 'BACKUP LOCK', 'USER LEVEL LOCK', 'COMMIT', 'SCHEMA')""")

_HAS_PLUGIN: Final = text("""
    SELECT count(*) FROM information_schema.plugins
    WHERE plugin_name = 'METADATA_LOCK_INFO' AND plugin_status = 'ACTIVE'""")

_NO_PLUGIN: Final = "perhaps: which session holds the table is told by MariaDB only after INSTALL SONAME 'metadata_lock_info'; this one has a transaction open"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the process list. `seconds` is how long it has been in its state."""

    id: int
    user: str = ""
    host: str = ""
    database: str = ""
    command: str = ""
    state: str = ""
    statement: str = ""
    seconds: float = 0


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A row of innodb_trx; `session` is 0 for a prepared XA transaction whose session has ended. `since` is in UTC."""

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
    """A metadata lock. MariaDB lists only those that are granted."""

    session: int
    mode: str
    kind: str
    schema: str = ""
    name: str = ""
    granted: bool = True

    @property
    def resource(self) -> str:
        """What is locked, in words."""
        place = ".".join(part for part in (self.schema, self.name) if part)
        is_named = "user" in self.kind.lower()
        return f"named lock {place}" if is_named else place or "all tables"


def is_mariadb(connection: Connection) -> bool:
    """Which of the two it is."""
    return "mariadb" in str(connection.exec_driver_sql("SELECT version()").scalar_one()).lower()


def tells_table_locks(connection: Connection) -> bool:
    """Whether a MariaDB has the plugin that tells of metadata locks."""
    return bool(connection.execute(_HAS_PLUGIN).scalar_one())


def look(connection: Connection, *, waiter: int | None = None, table: str = "") -> list[Holder]:
    """The holders as of now. `waiter` is the number of a session; `table` a name, with or without its database.

    Raises WhoError where the account may not see other sessions (it takes the privilege PROCESS).
    """
    try:
        is_maria = is_mariadb(connection)
        sessions = [_made(Session, row) for row in connection.execute(_SESSIONS).mappings()]
        transactions = [_made(Transaction, row) for row in connection.execute(_TRANSACTIONS).mappings()]
        rows = connection.execute(_MARIADB_WAITS if is_maria else _MYSQL_WAITS).mappings()
        waits = [_wait(row) for row in rows]
        locks = _table_locks(connection, is_maria=is_maria)
    except DBAPIError as error:
        if not _is_denied(error):
            raise
        msg = "This account may not see other sessions: it needs GRANT PROCESS ON *.* (and on MySQL 8 SELECT ON performance_schema.*)."
        raise WhoError(msg) from error
    own = int(connection.exec_driver_sql("SELECT connection_id()").scalar_one())
    transactions = [one for one in transactions if one.session != own]
    waits += metadata_waits(sessions, locks, transactions)
    return holders_of(sessions, transactions, waits, locks or (), waiter=waiter, table=table)


def holders_of(
    sessions: Sequence[Session],
    transactions: Sequence[Transaction],
    waits: Sequence[Wait],
    locks: Sequence[TableLock] = (),
    *,
    waiter: int | None = None,
    table: str = "",
) -> list[Holder]:
    """The holders that these rows tell of. Pure."""
    return sorted(_Situation(sessions, transactions, waits, locks).holders(waiter, table), key=rank)


def metadata_waits(
    sessions: Sequence[Session], locks: Sequence[TableLock] | None, transactions: Sequence[Transaction]
) -> list[Wait]:
    """Who waits for whom over whole tables and named locks. `locks` None: MariaDB without its plugin, where it can only be supposed. Pure."""
    found: list[Wait] = []
    for session in sessions:
        if not session.state.lower().startswith(("waiting for", "user lock")) or "lock" not in session.state.lower():
            continue
        if locks is None:
            found += _supposed(session, sessions, transactions)
            continue
        for lock in _wanted(session, locks):
            found.append(Wait(waiter=session.id, holder=lock.session, resource=lock.resource, mode=_mode(lock.mode)))
    return found


def _supposed(session: Session, sessions: Sequence[Session], transactions: Sequence[Transaction]) -> Iterator[Wait]:
    waiting = {one.id for one in sessions if one.state.lower().startswith("waiting for")}
    for one in transactions:
        if one.session not in {session.id, _NO_SESSION} and one.session not in waiting:
            yield Wait(waiter=session.id, holder=one.session, resource="a table", note=_NO_PLUGIN)


def _wanted(session: Session, locks: Sequence[TableLock]) -> Iterator[TableLock]:
    """The granted locks of others on what `session` waits for: as it is listed (MySQL), or as its statement names it."""
    state = session.state.lower()
    pending = {(lock.kind, lock.schema, lock.name) for lock in locks if lock.session == session.id and not lock.granted}
    own = {(lock.kind, lock.schema, lock.name) for lock in locks if lock.session == session.id}
    for lock in locks:
        if lock.session == session.id or not lock.granted:
            continue
        key = (lock.kind, lock.schema, lock.name)
        if pending:
            if key in pending:
                yield lock
        elif "user lock" in state:
            if "user" in lock.kind.lower() and (lock.schema or lock.name) in session.statement:
                yield lock
        elif "table metadata" in state:
            if "table" in lock.kind.lower() and (key in own or _names(session.statement, lock.name)):
                yield lock
        elif not lock.name and (
            "FTWRL" in lock.mode or "global read" in lock.kind.lower() or "backup" in lock.kind.lower()
        ):
            yield lock


def _names(statement: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", statement, re.IGNORECASE) is not None


class _Situation:
    """All that was seen at one moment. A session is known by its number, a transaction without one by its id."""

    def __init__(
        self,
        sessions: Sequence[Session],
        transactions: Sequence[Transaction],
        waits: Sequence[Wait],
        locks: Sequence[TableLock],
    ) -> None:
        self._sessions = {session.id: session for session in sessions}
        self._transactions: dict[int | str, Transaction] = {one.session or one.id: one for one in transactions}
        self._locks = locks
        self._over: dict[int | str, list[Wait]] = {}
        self._waits: dict[int | str, list[int | str]] = {}
        for wait in waits:
            key = wait.holder or wait.holder_trx
            self._waits.setdefault(wait.waiter, []).append(key)
            self._over.setdefault(key, []).append(wait)

    def holders(self, waiter: int | None, table: str) -> Iterable[Holder]:
        if waiter is not None:
            yield from (self._holder(key) for key in everything_before(self._waits, waiter))
            return
        locked = {lock.session for lock in self._locks if lock.granted and _is_exclusive(lock)}
        for key in dict.fromkeys([*self._over, *self._transactions, *locked]):
            if table:
                if table.rpartition(".")[2] in self._tables(key):
                    yield self._holder(key)
            elif key in self._over or self._is_idle_holder(key) or key in locked:
                yield self._holder(key)

    def _is_idle_holder(self, key: int | str) -> bool:
        transaction = self._transactions.get(key)
        if transaction is None:
            return False
        session = self._sessions.get(key) if isinstance(key, int) else None
        return session is None or session.command == "Sleep"

    def _tables(self, key: int | str) -> set[str]:
        """The names of the tables that it is known to have locked."""
        waited = {
            wait.resource.replace("`", "").partition(" ")[0].rpartition(".")[2] for wait in self._over.get(key, ())
        }
        return waited | {lock.name for lock in self._locks if lock.session == key and lock.granted and lock.name}

    def _holder(self, key: int | str) -> Holder:
        transaction = self._transactions.get(key)
        behind = tuple(sorted(one for one in everybody_behind(self._waits, key) if isinstance(one, int)))
        over = self._over.get(key, ())
        resource, mode = _joined(wait.resource for wait in over), _joined(wait.mode for wait in over)
        if not over:
            resource = _joined(
                lock.resource for lock in self._locks if lock.session == key and lock.granted and lock.name
            )
            mode = _joined(
                _mode(lock.mode) for lock in self._locks if lock.session == key and lock.granted and lock.name
            )
        session = self._sessions.get(key) if isinstance(key, int) else None
        is_waiting = key in self._waits
        has_locked = (transaction is not None and transaction.has_locked) or any(
            lock.session == key and lock.granted and _is_exclusive(lock) for lock in self._locks
        )
        since = None if transaction is None or transaction.since is None else transaction.since.replace(tzinfo=UTC)
        return Holder(
            dialect=Dialect.MYSQL,
            pid=key if isinstance(key, int) else None,
            doing=_doing(session, transaction, is_waiting=is_waiting),
            user="" if session is None else session.user,
            host="" if session is None else session.host,
            database="" if session is None else session.database,
            state="prepared" if session is None else session.command,
            statement=(session.statement if session is not None else "")
            or ("" if transaction is None else transaction.statement),
            resource=resource,
            mode=mode or (_rows(transaction) if transaction is not None else ""),
            since=since,
            held_s=None if transaction is None else transaction.held_s,
            blocks=behind,
            is_in_the_way=bool(behind) or has_locked,
            is_waiting=is_waiting,
            prepared=key if isinstance(key, str) else "",
            note=_joined((wait.note for wait in over), "; "),
        )


def _doing(session: Session | None, transaction: Transaction | None, *, is_waiting: bool) -> str:
    if session is None:
        return "is a prepared XA transaction whose session has ended (XA RECOVER lists it)"
    if is_waiting:
        return "waits itself"
    if session.command != "Sleep":
        return "is running a statement"
    return "is idle in a transaction" if transaction is not None else "is idle, and has kept a lock"


def _rows(transaction: Transaction) -> str:
    if not transaction.has_locked:
        return ""
    count = transaction.rows_locked
    return f"{count} row lock{'' if count == 1 else 's'}" if count else "rows"


def _joined(parts: Iterable[str], between: str = ", ") -> str:
    known = list(dict.fromkeys(part for part in parts if part))
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return between.join(known[:_MOST_NAMES]) + more


def _is_exclusive(lock: TableLock) -> bool:
    """LOCK TABLES, FLUSH TABLES WITH READ LOCK and named locks: what outlives a transaction, or keeps all writers out."""
    mode = lock.mode.upper()
    return (
        any(word in mode for word in ("NO_READ_WRITE", "READ_ONLY", "NO_WRITE", "FTWRL"))
        or mode.removeprefix("MDL_") == "EXCLUSIVE"
    )


def _mode(mode: str) -> str:
    return mode.removeprefix("MDL_").replace("_", " ")


def _wait(row: Any) -> Wait:
    table = str(row["resource"] or "").replace("`", "")
    data = row["data"]
    is_row = str(row["kind"]).upper() == "RECORD"
    key = "" if data is None or not is_row else f" {row['index']} = {data}" if row["index"] else f" {data}"
    return Wait(
        waiter=row["waiter"],
        holder=row["holder"],
        resource=f"{table}{key}",
        mode=f"{'row' if is_row else 'table'} lock, {row['mode']}",
        holder_trx=str(row["holder_trx"]),
    )


def _table_locks(connection: Connection, *, is_maria: bool) -> list[TableLock] | None:
    if is_maria and not tells_table_locks(connection):
        return None
    rows = connection.execute(_MARIADB_TABLE_LOCKS if is_maria else _MYSQL_TABLE_LOCKS).mappings()
    return [_made(TableLock, row) for row in rows]


def _made(kind: Any, row: Any) -> Any:
    values = {name: row[name] for name in kind.__struct_fields__ if row.get(name) is not None}
    return msgspec.convert(values, kind, strict=False)


def _is_denied(error: DBAPIError) -> bool:
    number = getattr(error.orig, "errno", None) or (
        error.orig.args[0] if error.orig is not None and error.orig.args else None
    )
    return number in _DENIED
