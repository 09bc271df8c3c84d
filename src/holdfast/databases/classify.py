"""Is this error a lock, whose, and what must be done again: told by the code that the database gave.

Owns: finding that code in what any driver, SQLAlchemy or Django raises. Must not know: connections; none of these libraries is imported.
A class or a message never decides: the same refusal comes as OperationalError, DBAPIError, InternalError or DatabaseError,
depending on the way that was taken. The module that an error's class comes from tells only whose codes they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, cast

import msgspec

from holdfast.databases.codes import CODES, Dialect, LockCode, LockKind, RetryUnit, code_of

__all__ = ["LockedDatabase", "classify"]

_DIALECTS: Final = {
    "sqlite3": Dialect.SQLITE,
    "pysqlite3": Dialect.SQLITE,
    "apsw": Dialect.SQLITE,
    "psycopg": Dialect.POSTGRESQL,
    "psycopg2": Dialect.POSTGRESQL,
    "asyncpg": Dialect.POSTGRESQL,
    "pg8000": Dialect.POSTGRESQL,
    "pymysql": Dialect.MYSQL,
    "MySQLdb": Dialect.MYSQL,
    "aiomysql": Dialect.MYSQL,
    "asyncmy": Dialect.MYSQL,
    "mysql": Dialect.MYSQL,
    "mariadb": Dialect.MYSQL,
    "pyodbc": Dialect.MSSQL,
    "pymssql": Dialect.MSSQL,
    "oracledb": Dialect.ORACLE,
    "cx_Oracle": Dialect.ORACLE,
}
_SQLALCHEMY: Final = re.compile(r"sqlalchemy\.dialects\.(sqlite|postgresql|mysql|mssql|oracle)\b")
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}", re.ASCII)
_ODBC_NUMBER: Final = re.compile(r"\((\d{1,6})\) \(SQL", re.ASCII)
_ODBC_STATES: Final[dict[str, int]] = {"HYT00": 1222, "40001": 1205}
_DEEPEST: Final = 6
_NO_SAVEPOINT: Final = 1305
"""MySQL, on ROLLBACK TO SAVEPOINT: a deadlock has undone the whole transaction, and the savepoint with it. What came before tells."""


class LockedDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as locked. `code` and `name` are the database's own; `resource` is what it names (a table, a row), where it does.

    `wait_helps` is False where the same could never succeed by itself: a stale snapshot needs a new transaction, one's own cursor
    to be closed. `retry` is the smallest unit that may be done again.
    """

    dialect: Dialect
    code: int | str
    name: str
    kind: LockKind
    wait_helps: bool
    retry: RetryUnit
    sentence: str
    resource: str = ""
    detail: str = ""
    """What the database adds (PostgreSQL's DETAIL, which names the processes of a deadlock); empty where it adds nothing."""

    @property
    def is_retryable(self) -> bool:
        """True where doing `retry` again is right."""
        return self.retry is not RetryUnit.NEVER

    def __str__(self) -> str:
        """One line for a log: `database is locked: another connection has locked the database (SQLITE_BUSY, 5)`."""
        return f"database is locked: {self.sentence} ({self.name}, {self.code})"


def classify(error: BaseException, *, statement: str | None = None) -> LockedDatabase | None:
    """What `error` says of a lock; None where it is about something else.

    `error` is what SQLAlchemy, Django or a driver raised. `statement` is what was being done, where the caller knows better than the
    error: "COMMIT", "BEGIN IMMEDIATE". SQLite says the same of all three, and what may be done again differs.

    >>> import sqlite3
    >>> error = sqlite3.OperationalError("database is locked")
    >>> error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    >>> print(classify(error))
    database is locked: another connection has locked the database (SQLITE_BUSY, 5)
    >>> classify(error, statement="COMMIT").retry
    <RetryUnit.COMMIT: 'commit'>
    """
    said = statement
    for one in _chain(error):
        if said is None:
            said = _text(one, "statement")
        dialect = _dialect_of(one)
        code = None if dialect is None else _code_in(one, dialect)
        if dialect is None or code is None:
            continue
        if dialect is Dialect.MYSQL and code == _NO_SAVEPOINT and one.__context__ is not None:
            return classify(one.__context__, statement=statement)
        found = code_of(dialect, code)
        return None if found is None else _told(one, dialect, code, found, (said or "").lstrip()[:16].upper())
    return None


def _told(error: BaseException, dialect: Dialect, code: int | str, found: LockCode, statement: str) -> LockedDatabase:
    retry = found.retry
    if dialect is Dialect.SQLITE and found.kind is LockKind.HELD:
        if statement.startswith(("COMMIT", "END")):
            retry = RetryUnit.COMMIT
        elif statement.startswith("BEGIN"):
            retry = RetryUnit.STATEMENT
    diagnostics = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    table = _text(diagnostics, "table_name") or _text(error, "table_name")
    return LockedDatabase(
        dialect=dialect,
        code=code,
        name=found.name,
        kind=found.kind,
        wait_helps=found.wait_helps,
        retry=retry,
        sentence=found.sentence,
        resource=table or "",
        detail=_text(diagnostics, "message_detail") or _text(error, "detail") or "",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it wraps, outermost first: SQLAlchemy's `orig`, Django's and asyncpg's `__cause__`."""
    one: BaseException | None = error
    for _ in range(_DEEPEST):
        if one is None:
            return
        yield one
        inner = getattr(one, "orig", None)
        one = inner if isinstance(inner, BaseException) and inner is not one else one.__cause__


def _dialect_of(error: BaseException) -> Dialect | None:
    """Whose codes the error carries, by where its class comes from; SQLAlchemy's and Django's own errors carry none."""
    for kind in type(error).__mro__:
        module = kind.__module__
        found = _SQLALCHEMY.match(module)
        if found is not None:
            return Dialect(found[1])
        known = _DIALECTS.get(module.partition(".")[0])
        if known is not None:
            return known
    return None


def _code_in(error: BaseException, dialect: Dialect) -> int | str | None:
    match dialect:
        case Dialect.SQLITE:
            return _number(error, "sqlite_errorcode", "extendedresult", "result")
        case Dialect.POSTGRESQL:
            return _sqlstate(error)
        case Dialect.MYSQL:
            return _number(error, "errno") or _first_number(error)
        case Dialect.MSSQL:
            return _mssql(error)
        case Dialect.ORACLE:
            return _number(error.args[0], "code") if error.args else None


def _number(source: object, *names: str) -> int | None:
    for name in names:
        value = getattr(source, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _first_number(error: BaseException) -> int | None:
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else None


def _sqlstate(error: BaseException) -> str | None:
    for name in ("sqlstate", "pgcode"):
        value = _text(error, name)
        if value is not None and _SQLSTATE.fullmatch(value):
            return value
    first = error.args[0] if error.args else None
    code = cast("dict[str, object]", first).get("C") if isinstance(first, dict) else None  # pg8000
    return code if isinstance(code, str) else None


def _mssql(error: BaseException) -> int | None:
    """The number, which pymssql gives; of pyodbc an SQLSTATE, and the number in the text that the server wrote."""
    number = _first_number(error)
    if number is not None or not error.args:
        return number
    found = _ODBC_NUMBER.search(str(error.args[-1]))
    if found is not None and int(found[1]) in CODES[Dialect.MSSQL]:
        return int(found[1])
    return _ODBC_STATES.get(str(error.args[0]))


def _text(source: object, name: str) -> str | None:
    value = getattr(source, name, None)
    return value if isinstance(value, str) else None
