"""Fencing at the resource: a write with an older token than one that was seen is refused.

Owns: FencingGuard and where it remembers the highest token. Must not know: locks, servers, HTTP. This is the side that the
lock cannot do by itself: a holder that slept through the end of its lock does not know it, but its number is lower than that
of the one who came after it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from holdfast.client.errors import ClientError

__all__ = ["Connection", "Cursor", "FencingGuard", "StaleTokenError"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_MARKS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class StaleTokenError(ClientError):
    """A write came with a fencing token that is lower than one before it: its writer holds the lock no more.

    >>> str(StaleTokenError("/accounts/1", 3, 4))
    'a write to /accounts/1 came with fencing token 3, after one with 4: its lock is lost'
    """

    def __init__(self, resource: str, token: int, highest: int) -> None:
        """`highest` is what was seen before."""
        super().__init__(resource, token, highest)
        self.resource = resource
        self.token = token
        self.highest = highest

    def __str__(self) -> str:
        return f"a write to {self.resource} came with fencing token {self.token}, after one with {self.highest}: its lock is lost"


class Cursor(Protocol):
    """A cursor of the DB-API (PEP 249), as far as it is used here."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        ...

    def execute(self, operation: str, parameters: Sequence[Any], /) -> object:
        """Run a statement."""
        ...

    def fetchone(self) -> Any:
        """The next row."""
        ...

    def close(self) -> object:
        """Give it up."""
        ...


class Connection(Protocol):
    """A connection of the DB-API (PEP 249), as far as it is used here."""

    def cursor(self) -> Any:
        """A Cursor."""
        ...


class FencingGuard:
    """Remembers the highest fencing token for each resource, and refuses lower ones.

    Without arguments it remembers in this process' memory: fit for a resource that lives there too. With a DB-API connection it
    is a table of the database, and `check` runs in the transaction that is open on the connection: commit it together with the
    write, and the two are one step. `paramstyle` is that of the driver: `qmark` for sqlite3, `format` for psycopg.

    >>> guard = FencingGuard()
    >>> guard.check("/accounts/1", 4)
    >>> guard.check("/accounts/1", 3)
    Traceback (most recent call last):
    holdfast.client.fencing.StaleTokenError: a write to /accounts/1 came with fencing token 3, after one with 4: its lock is lost

    >>> import sqlite3
    >>> connection = sqlite3.connect(":memory:")
    >>> guard = FencingGuard(connection)
    >>> guard.create_table()
    >>> with connection:
    ...     guard.check("/accounts/1", 4)
    ...     # ... and the write, in the same transaction
    >>> guard.highest("/accounts/1")
    4
    >>> connection.close()
    """

    def __init__(
        self, connection: Connection | None = None, *, table: str = "fencing_tokens", paramstyle: str = "qmark"
    ) -> None:
        """Raises ValueError for a table name that is none, or an unknown paramstyle."""
        if not _NAME.fullmatch(table):
            msg = f"{table!r} is no name of a table"
            raise ValueError(msg)
        if paramstyle not in _MARKS:
            msg = f"paramstyle must be one of {', '.join(_MARKS)}"
            raise ValueError(msg)
        self._connection = connection
        self._table = table
        self._mark = _MARKS[paramstyle]
        self._mutex = threading.RLock()
        self._highest: dict[str, int] = {}

    def create_table(self) -> None:
        """Make the table where it does not exist; without a connection there is nothing to make."""
        if self._connection is not None:
            statement = (
                f"CREATE TABLE IF NOT EXISTS {self._table} (resource VARCHAR(512) PRIMARY KEY, token BIGINT NOT NULL)"
            )
            cursor: Cursor = self._connection.cursor()
            try:
                cursor.execute(statement, ())
            finally:
                cursor.close()

    @contextmanager
    def admitting(self, resource: str, token: int) -> Generator[None]:
        """The same around the write: for what is kept in memory, no other write gets in between.

        >>> guard = FencingGuard()
        >>> with guard.admitting("/accounts/1", 4):
        ...     balance = 120
        """
        if self._connection is not None:
            self.check(resource, token)
            yield
            return
        with self._mutex:
            self.check(resource, token)
            yield

    def check(self, resource: str, token: int) -> None:
        """Let a write with this token pass, and remember it. Raises StaleTokenError for a lower one than was seen.

        The same token may come as often as its holder writes. Where two writers are the first at a new resource at one
        moment, a database refuses the second one's insert with an error of its own: try that transaction again.
        """
        if self._connection is None:
            with self._mutex:
                highest = self._highest.get(resource, token)
                if token < highest:
                    raise StaleTokenError(resource, token, highest)
                self._highest[resource] = token
            return
        cursor: Cursor = self._connection.cursor()
        try:
            self._check(cursor, resource, token)
        finally:
            cursor.close()

    def highest(self, resource: str) -> int | None:
        """The highest token that was seen; None before the first."""
        if self._connection is None:
            with self._mutex:
                return self._highest.get(resource)
        cursor: Cursor = self._connection.cursor()
        try:
            return self._seen(cursor, resource)
        finally:
            cursor.close()

    def _check(self, cursor: Cursor, resource: str, token: int) -> None:
        mark = self._mark
        # The update comes first, so that the row is locked until the transaction ends, and nobody gets in between.
        cursor.execute(
            f"UPDATE {self._table} SET token = {mark} WHERE resource = {mark} AND token <= {mark}",  # noqa: S608 - checked
            (token, resource, token),
        )
        if cursor.rowcount > 0:
            return
        highest = self._seen(cursor, resource)
        if highest is None:
            cursor.execute(
                f"INSERT INTO {self._table} (resource, token) VALUES ({mark}, {mark})",  # noqa: S608 - checked
                (resource, token),
            )
        elif highest > token:  # some databases count no row where the value stays what it was
            raise StaleTokenError(resource, token, highest)

    def _seen(self, cursor: Cursor, resource: str) -> int | None:
        cursor.execute(
            f"SELECT token FROM {self._table} WHERE resource = {self._mark}",  # noqa: S608 - checked
            (resource,),
        )
        row = cursor.fetchone()
        return None if row is None else int(row[0])
