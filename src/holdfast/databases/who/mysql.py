"""Who holds what in MySQL 8 and in MariaDB, by their own views.

Owns: the questions, which differ (`performance_schema.data_lock_waits` and `metadata_locks` there, `information_schema.INNODB_LOCK_WAITS`
and the plugin metadata_lock_info here), and how their answers become holders. Must not know: how a connection is made.

Theory of operation: both tell who waits for whom over rows (InnoDB), and over whole tables (metadata locks: ALTER TABLE, LOCK TABLES), but
each in its own view and in its own numbers. All is brought to sessions, transactions and waits between sessions first; what follows is one
for both. They renew what they tell of transactions only when nobody has asked for 0.1 s, so they must not be asked more often.

A prepared XA transaction belongs to no session, from XA PREPARE on (MySQL 8.0.29 and later), but the views still name the session
that prepared it, which may be at other work, as the owner of its locks. innodb_trx tells the truth, so the owner is taken from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import DBAPIError

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import Holder, WhoError, rank
from holdfast.databases.who.mysql_locks import (
    NO_SESSION,
    Session,
    TableLock,
    Transaction,
    Wait,
    metadata_waits,
    with_prepared,
)
from holdfast.databases.who.walking import everybody_behind, everything_before

__all__ = [
    "LEAST_PAUSE_S",
    "holders_of",
    "is_mariadb",
    "look",
    "processlist",
    "tells_performance",
    "tells_table_locks",
]

LEAST_PAUSE_S: Final = 0.15
"""How long to wait before asking again: what is told of transactions is renewed only after 0.1 s without a question."""

_MOST_NAMES: Final = 4
_DENIED: Final = frozenset({1044, 1142, 1143, 1227})

_SESSIONS: Final = text("""
    SELECT id, user, host, db AS `database`, command, state, info AS statement, time AS seconds
    FROM information_schema.processlist WHERE id <> connection_id()""")

_MYSQL_SESSIONS: Final = text("""
    SELECT p.id, p.user, p.host, p.db AS `database`, p.command, p.state, coalesce(p.info, s.sql_text) AS statement, p.time AS seconds,
           a.attr_value AS program
    FROM performance_schema.processlist p
    LEFT JOIN performance_schema.threads t ON t.processlist_id = p.id
    LEFT JOIN performance_schema.events_statements_current s ON s.thread_id = t.thread_id AND s.nesting_event_level = 0
    LEFT JOIN performance_schema.session_connect_attrs a ON a.processlist_id = p.id AND a.attr_name = 'program_name'
    WHERE p.id <> connection_id()""")

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
    SELECT r.processlist_id AS waiter, cast(coalesce(x.trx_mysql_thread_id, b.processlist_id, 0) AS unsigned) AS holder,
           w.blocking_engine_transaction_id AS holder_trx, concat('`', l.object_schema, '`.`', l.object_name, '`') AS resource,
           l.index_name AS `index`, l.lock_data AS data, l.lock_mode AS mode, l.lock_type AS kind
    FROM performance_schema.data_lock_waits w
    JOIN performance_schema.threads r ON r.thread_id = w.requesting_thread_id
    LEFT JOIN performance_schema.threads b ON b.thread_id = w.blocking_thread_id
    LEFT JOIN information_schema.innodb_trx x ON x.trx_id = w.blocking_engine_transaction_id
    JOIN performance_schema.data_locks l ON l.engine = w.engine AND l.engine_lock_id = w.blocking_engine_lock_id""")

_MARIADB_TABLE_LOCKS: Final = text("""
    SELECT thread_id AS session, lock_mode AS mode, lock_type AS kind, table_schema AS `schema`, table_name AS name, 1 AS granted
    FROM information_schema.metadata_lock_info WHERE thread_id <> connection_id()""")

_MYSQL_TABLE_LOCKS: Final = text("""
    SELECT cast(coalesce(t.processlist_id, 0) AS unsigned) AS session, m.lock_type AS mode, m.object_type AS kind, m.object_schema AS `schema`,
           m.object_name AS name, m.lock_status = 'GRANTED' AS granted
    FROM performance_schema.metadata_locks m
    LEFT JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id
    WHERE coalesce(t.processlist_id, 0) <> connection_id() AND m.object_type NOT IN ('TABLESPACE', 'COLUMN STATISTICS')
    AND coalesce(m.object_name, '') NOT LIKE '#sql%'""")

_PREPARED_TABLES: Final = text("""
    SELECT DISTINCT cast(engine_transaction_id AS char) AS trx, object_schema AS `schema`, object_name AS name
    FROM performance_schema.data_locks
    WHERE lock_type = 'TABLE' AND engine_transaction_id IN :prepared""").bindparams(
    bindparam("prepared", expanding=True)
)

_TELLS_PERFORMANCE: Final = text("""
    SELECT @@performance_schema AND EXISTS (
        SELECT 1 FROM information_schema.tables WHERE table_schema = 'performance_schema' AND table_name = 'processlist')""")

_HAS_PLUGIN: Final = text("""
    SELECT count(*) FROM information_schema.plugins
    WHERE plugin_name = 'METADATA_LOCK_INFO' AND plugin_status = 'ACTIVE'""")


def is_mariadb(connection: Connection) -> bool:
    """Which of the two it is."""
    return "mariadb" in str(connection.exec_driver_sql("SELECT version()").scalar_one()).lower()


def tells_table_locks(connection: Connection) -> bool:
    """Whether a MariaDB has the plugin that tells of metadata locks."""
    return bool(connection.execute(_HAS_PLUGIN).scalar_one())


def tells_performance(connection: Connection) -> bool:
    """Whether a MySQL tells of sessions in its new table: not where performance_schema is OFF, or before 8.0.22."""
    return bool(connection.execute(_TELLS_PERFORMANCE).scalar_one())


def processlist(connection: Connection) -> str:
    """The table of the sessions: MySQL warns of the older one, which MariaDB alone will keep."""
    is_new = not is_mariadb(connection) and tells_performance(connection)
    return "performance_schema.processlist" if is_new else "information_schema.processlist"


def look(connection: Connection, *, waiter: int | None = None, table: str = "") -> list[Holder]:
    """The holders as of now. `waiter` is the number of a session; `table` a name, with or without its database.

    Raises WhoError where the account may not see other sessions (it takes the privilege PROCESS).
    """
    try:
        is_maria = is_mariadb(connection)
        is_told = not is_maria and tells_performance(connection)
        rows = connection.execute(_MYSQL_SESSIONS if is_told else _SESSIONS).mappings()
        sessions = [_made(Session, row) for row in rows]
        transactions = [_made(Transaction, row) for row in connection.execute(_TRANSACTIONS).mappings()]
        rows = connection.execute(_MARIADB_WAITS if is_maria else _MYSQL_WAITS).mappings()
        waits = [_wait(row) for row in rows]
        locks = _maria_table_locks(connection) if is_maria else _mysql_table_locks(connection, transactions)
    except DBAPIError as error:
        if not _is_denied(error):
            raise
        msg = "This account may not see other sessions: it needs GRANT PROCESS ON *.* (and on MySQL 8 SELECT ON performance_schema.*)."
        raise WhoError(msg) from error
    known = {one.id for one in sessions} | {NO_SESSION}  # without this one, and those that have ended
    transactions = [one for one in transactions if one.session in known]
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
        locked = {lock.holder for lock in self._locks if lock.granted and lock.is_exclusive}
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
        return waited | {lock.name for lock in self._granted(key) if lock.name}

    def _granted(self, key: int | str) -> list[TableLock]:
        return [lock for lock in self._locks if lock.holder == key and lock.granted]

    def _holder(self, key: int | str) -> Holder:
        transaction = self._transactions.get(key)
        behind = tuple(sorted(one for one in everybody_behind(self._waits, key) if isinstance(one, int)))
        over = self._over.get(key, ())
        granted = self._granted(key)
        exclusive = [lock for lock in granted if lock.is_exclusive]
        resource, mode = _joined(wait.resource for wait in over), _joined(wait.mode for wait in over)
        rows = "" if transaction is None else _rows(transaction)
        if not over:
            told = [lock for lock in granted if lock.name or lock in exclusive]
            resource = _joined(lock.resource for lock in told)
            mode = _joined(lock.words for lock in (exclusive or ([] if rows else told)))
        session = self._sessions.get(key) if isinstance(key, int) else None
        is_waiting = key in self._waits
        has_locked = (transaction is not None and transaction.has_locked) or bool(exclusive)
        since = None if transaction is None or transaction.since is None else transaction.since.replace(tzinfo=UTC)
        return Holder(
            dialect=Dialect.MYSQL,
            pid=key if isinstance(key, int) else None,
            doing=_doing(key, session, transaction, is_waiting=is_waiting),
            user="" if session is None else session.user,
            program="" if session is None else session.program,
            host="" if session is None else session.host,
            database="" if session is None else session.database,
            state="prepared" if isinstance(key, str) else "" if session is None else session.command,
            statement=(session.statement if session is not None else "")
            or ("" if transaction is None else transaction.statement),
            resource=resource,
            mode=mode or rows,
            since=since,
            held_s=None if transaction is None else transaction.held_s,
            blocks=behind,
            is_in_the_way=bool(behind) or has_locked,
            is_waiting=is_waiting,
            transaction="" if transaction is None else transaction.id,
            prepared=key if isinstance(key, str) else "",
            note=_joined((wait.note for wait in over), "; "),
        )


def _doing(key: int | str, session: Session | None, transaction: Transaction | None, *, is_waiting: bool) -> str:
    if isinstance(key, str):
        return "is a prepared XA transaction, which belongs to no session (XA RECOVER lists it)"
    if session is None:
        return "is beginning or ending"
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


def _maria_table_locks(connection: Connection) -> list[TableLock] | None:
    if not tells_table_locks(connection):
        return None
    return [_made(TableLock, row) for row in connection.execute(_MARIADB_TABLE_LOCKS).mappings()]


def _mysql_table_locks(connection: Connection, transactions: Sequence[Transaction]) -> list[TableLock]:
    locks = [_made(TableLock, row) for row in connection.execute(_MYSQL_TABLE_LOCKS).mappings()]
    prepared = [int(one.id) for one in transactions if one.session == NO_SESSION]
    tables: dict[tuple[str, str], list[str]] = {}
    if prepared:  # only then: a server with many row locks has to go through all of them
        for row in connection.execute(_PREPARED_TABLES, {"prepared": prepared}).mappings():
            tables.setdefault((str(row["schema"]), str(row["name"])), []).append(str(row["trx"]))
    return with_prepared(locks, transactions, tables)


def _made(kind: Any, row: Any) -> Any:
    values = {name: row[name] for name in kind.__struct_fields__ if row.get(name) is not None}
    return msgspec.convert(values, kind, strict=False)


def _is_denied(error: DBAPIError) -> bool:
    number = getattr(error.orig, "errno", None) or (
        error.orig.args[0] if error.orig is not None and error.orig.args else None
    )
    return number in _DENIED
