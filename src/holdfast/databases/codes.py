"""The codes by which databases say that something is locked, and what each of them means for whoever asked.

Owns: that table, per dialect. Must not know: exceptions, drivers, connections. A code that is not in here does not mean "locked".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

__all__ = ["CODES", "Dialect", "LockCode", "LockKind", "RetryUnit", "code_of"]


class Dialect(enum.StrEnum):
    """Whose codes they are; the values are SQLAlchemy's names of the dialects (MariaDB's codes are MySQL's)."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    MSSQL = "mssql"
    ORACLE = "oracle"


class LockKind(enum.StrEnum):
    """Why it was refused."""

    HELD = "held"
    """Somebody else holds it, and the wait was over or none was wanted."""
    STALE = "stale"
    """What this transaction has read is older than what it wants to change: it can never go on."""
    DEADLOCK = "deadlock"
    """Two waited for each other, and this one was chosen to give way."""
    SELF = "self"
    """This very connection is in its own way: a cursor that is still open, a lock of its own."""
    ENDED = "ended"
    """The session or statement was ended by force or by a time limit, not by a lock; its own locks are gone."""
    MISUSE = "misuse"
    """The program asked for what its own locks forbid."""


class RetryUnit(enum.StrEnum):
    """What must be done again for the retry to be right; whatever is larger is right too."""

    STATEMENT = "statement"
    """The statement alone; the transaction, if there is one, goes on."""
    COMMIT = "commit"
    """COMMIT alone: the transaction is still open, and all it did still stands."""
    SAVEPOINT = "savepoint"
    """The statement, after a rollback to a savepoint before it; without one, the whole transaction."""
    TRANSACTION = "transaction"
    """The whole transaction, reads included, after a rollback."""
    NEVER = "never"
    """Nothing: the same would happen again, or what was ended was meant to end."""


class LockCode(msgspec.Struct, frozen=True):
    """One code. `wait_helps` is True where the same may succeed later by itself; `sentence` says it to a person."""

    code: int | str
    name: str
    kind: LockKind
    wait_helps: bool
    retry: RetryUnit
    sentence: str


def _table(*codes: LockCode) -> Mapping[int | str, LockCode]:
    return MappingProxyType({code.code: code for code in codes})


_HELD, _STALE, _DEADLOCK, _SELF = LockKind.HELD, LockKind.STALE, LockKind.DEADLOCK, LockKind.SELF
_ENDED, _MISUSE = LockKind.ENDED, LockKind.MISUSE
_STATEMENT, _SAVEPOINT, _TRANSACTION, _NEVER = (
    RetryUnit.STATEMENT,
    RetryUnit.SAVEPOINT,
    RetryUnit.TRANSACTION,
    RetryUnit.NEVER,
)

# https://sqlite.org/rescode.html. The extended code where there is one; the primary one is in its low byte.
_SQLITE: Final = _table(
    LockCode(5, "SQLITE_BUSY", _HELD, True, _TRANSACTION, "another connection has locked the database"),
    LockCode(261, "SQLITE_BUSY_RECOVERY", _HELD, True, _STATEMENT, "another process is recovering the write-ahead log"),
    LockCode(
        517,
        "SQLITE_BUSY_SNAPSHOT",
        _STALE,
        False,
        _TRANSACTION,
        "this transaction read before another one wrote, so it cannot write any more: begin it with BEGIN IMMEDIATE",
    ),
    LockCode(773, "SQLITE_BUSY_TIMEOUT", _HELD, True, _TRANSACTION, "a blocking lock on the database file timed out"),
    LockCode(
        6,
        "SQLITE_LOCKED",
        _SELF,
        False,
        _NEVER,
        "a statement of this same connection still uses the table: finish or close its cursor",
    ),
    LockCode(
        262,
        "SQLITE_LOCKED_SHAREDCACHE",
        _HELD,
        True,
        _STATEMENT,
        "another connection of this process holds the table in the shared cache; the busy timeout does not apply there",
    ),
    LockCode(518, "SQLITE_LOCKED_VTAB", _HELD, True, _STATEMENT, "a virtual table is locked"),
    LockCode(15, "SQLITE_PROTOCOL", _HELD, True, _TRANSACTION, "the race for the write-ahead log's locks was lost"),
    LockCode(3850, "SQLITE_IOERR_LOCK", _HELD, True, _TRANSACTION, "the file system would not lock the file"),
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: Final = _table(
    LockCode(
        "55P03",
        "lock_not_available",
        _HELD,
        True,
        _SAVEPOINT,
        "another transaction holds the lock (NOWAIT, or lock_timeout was over)",
    ),
    LockCode("40P01", "deadlock_detected", _DEADLOCK, True, _TRANSACTION, "a deadlock, and this transaction gave way"),
    LockCode(
        "40001",
        "serialization_failure",
        _STALE,
        False,
        _TRANSACTION,
        "a transaction beside this one changed what it read",
    ),
    LockCode("55006", "object_in_use", _HELD, True, _TRANSACTION, "another session is using the object"),
    LockCode(
        "57P01",
        "admin_shutdown",
        _ENDED,
        False,
        _NEVER,
        "an administrator ended this session, and its locks with it",
    ),
    LockCode(
        "25P03",
        "idle_in_transaction_session_timeout",
        _ENDED,
        False,
        _NEVER,
        "this session was idle in a transaction for too long, so the server ended it and its locks",
    ),
)

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_MYSQL: Final = _table(
    LockCode(
        1205,
        "ER_LOCK_WAIT_TIMEOUT",
        _HELD,
        True,
        _TRANSACTION,
        "another transaction holds the row; the transaction here is still open, with its own locks: roll it back",
    ),
    LockCode(1213, "ER_LOCK_DEADLOCK", _DEADLOCK, True, _TRANSACTION, "a deadlock, and this transaction gave way"),
    LockCode(3572, "ER_LOCK_NOWAIT", _HELD, True, _STATEMENT, "another transaction holds the row (NOWAIT)"),
    LockCode(3058, "ER_USER_LOCK_DEADLOCK", _DEADLOCK, True, _TRANSACTION, "a deadlock over named locks"),
    LockCode(3132, "ER_LOCKING_SERVICE_DEADLOCK", _DEADLOCK, True, _TRANSACTION, "a deadlock over named locks"),
    LockCode(3133, "ER_LOCKING_SERVICE_TIMEOUT", _HELD, True, _STATEMENT, "another session holds the named lock"),
    LockCode(1206, "ER_LOCK_TABLE_FULL", _HELD, True, _TRANSACTION, "the server has no room for more row locks"),
    LockCode(1613, "ER_XA_RBTIMEOUT", _ENDED, False, _TRANSACTION, "the XA transaction took too long and was undone"),
    LockCode(1614, "ER_XA_RBDEADLOCK", _DEADLOCK, True, _TRANSACTION, "the XA transaction was undone for a deadlock"),
    LockCode(1689, "ER_LOCK_ABORTED", _HELD, True, _TRANSACTION, "the wait for the table was ended by another session"),
    LockCode(
        1099,
        "ER_TABLE_NOT_LOCKED_FOR_WRITE",
        _MISUSE,
        False,
        _NEVER,
        "this session has locked the table with LOCK TABLES for reading only",
    ),
    LockCode(1100, "ER_TABLE_NOT_LOCKED", _MISUSE, False, _NEVER, "this session's LOCK TABLES does not name the table"),
    LockCode(
        1192,
        "ER_LOCK_OR_ACTIVE_TRANSACTION",
        _MISUSE,
        False,
        _NEVER,
        "the statement is not possible while this session has locked tables or a transaction open",
    ),
    LockCode(
        1223,
        "ER_CANT_UPDATE_WITH_READLOCK",
        _MISUSE,
        False,
        _NEVER,
        "this session itself holds a read lock (FLUSH TABLES WITH READ LOCK)",
    ),
)

# https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
_MSSQL: Final = _table(
    LockCode(
        1222,
        "lock request time out",
        _HELD,
        True,
        _STATEMENT,
        "another transaction holds the lock (LOCK_TIMEOUT was over)",
    ),
    LockCode(1205, "deadlock victim", _DEADLOCK, True, _TRANSACTION, "a deadlock, and this transaction gave way"),
    LockCode(
        3960, "snapshot conflict", _STALE, False, _TRANSACTION, "a transaction beside this one changed what it read"
    ),
)

# https://docs.oracle.com/error-help/db/
_ORACLE: Final = _table(
    LockCode(
        54, "ORA-00054", _HELD, True, _STATEMENT, "another session holds the resource (NOWAIT, or its timeout was over)"
    ),
    LockCode(30006, "ORA-30006", _HELD, True, _STATEMENT, "another session holds the row (WAIT was over)"),
    LockCode(60, "ORA-00060", _DEADLOCK, True, _TRANSACTION, "a deadlock, and the statement was undone"),
    LockCode(8177, "ORA-08177", _STALE, False, _TRANSACTION, "a transaction beside this one changed what it read"),
    LockCode(4020, "ORA-04020", _DEADLOCK, True, _STATEMENT, "a deadlock over an object in the library cache"),
    LockCode(4021, "ORA-04021", _HELD, True, _STATEMENT, "another session holds an object in the library cache"),
    LockCode(2049, "ORA-02049", _HELD, True, _TRANSACTION, "a distributed transaction waited too long for a lock"),
)

CODES: Final[Mapping[Dialect, Mapping[int | str, LockCode]]] = MappingProxyType(
    {
        Dialect.SQLITE: _SQLITE,
        Dialect.POSTGRESQL: _POSTGRESQL,
        Dialect.MYSQL: _MYSQL,
        Dialect.MSSQL: _MSSQL,
        Dialect.ORACLE: _ORACLE,
    }
)
"""Every code that means "locked", by dialect."""


def code_of(dialect: Dialect, code: int | str) -> LockCode | None:
    """What `code` means; None where it does not mean "locked". An extended code of SQLite that is not known counts as its primary one.

    >>> code_of(Dialect.SQLITE, 517).retry
    <RetryUnit.TRANSACTION: 'transaction'>
    >>> code_of(Dialect.MYSQL, 1146) is None
    True
    """
    table = CODES[dialect]
    found = table.get(code)
    if found is None and dialect is Dialect.SQLITE and isinstance(code, int) and code & 0xFF in {5, 6, 15}:
        return table.get(code & 0xFF)
    return found
