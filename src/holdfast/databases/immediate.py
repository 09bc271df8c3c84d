"""SQLite transactions that take the write lock when they begin, so that they wait for it instead of failing half-way.

Owns: that switch. Must not know: retries, holders.

Theory of operation: a deferred transaction that has read and then writes cannot wait: where another connection wrote in the
meantime, SQLite refuses at once, whatever busy_timeout says (SQLITE_BUSY_SNAPSHOT, or SQLITE_BUSY for fear of a deadlock). With
BEGIN IMMEDIATE the one who comes later waits at the beginning, when nothing is lost, for as long as busy_timeout allows.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from holdfast.databases.limits import root_of
from holdfast.databases.watching import watch_last

__all__ = ["READ_ONLY", "begin_immediate", "is_immediate"]

READ_ONLY: Final = "holdfast_read_only"
"""The execution option of a connection whose transactions only read: they begin with a plain BEGIN, and wait for no writer."""

_BEGIN: Final = "BEGIN IMMEDIATE"


def begin_immediate(engine: Engine | AsyncEngine) -> None:
    """Let every transaction of a SQLite engine begin with BEGIN IMMEDIATE; harmless where that is so already.

    Where each begins is remembered (`holdfast.databases.watch`), so that `who` can tell the place in the code.

    Transactions that only read may say so, and then wait for nobody and keep nobody waiting:
    `engine.execution_options(holdfast_read_only=True)`, which is a part of this engine, so the switch is for both. Connections in AUTOCOMMIT are left alone. Raises ValueError for an engine of
    another database, which has no need of it.

    >>> from sqlalchemy import create_engine, text
    >>> engine = create_engine("sqlite://")
    >>> begin_immediate(engine)
    >>> with engine.begin() as connection:
    ...     connection.execute(text("SELECT 1")).scalar()
    1
    """
    plain = _plain(engine)
    if plain.dialect.name != "sqlite":
        msg = f"begin_immediate is for SQLite; this engine is of {plain.dialect.name}, where a transaction may always wait"
        raise ValueError(msg)
    if not is_immediate(plain):
        event.listen(plain, "connect", _on_connect)
        event.listen(plain, "begin", _on_begin)
        watch_last(plain)  # after it: whoever still waits for the lock holds nothing


def is_immediate(engine: Engine | AsyncEngine) -> bool:
    """True where `begin_immediate` was called for this engine."""
    return event.contains(_plain(engine), "begin", _on_begin)


def _plain(engine: Engine | AsyncEngine) -> Engine:
    """The engine below: those that execution_options() makes share its connections, which begin in one way alone."""
    return root_of(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)


def _on_connect(connection: Any, _record: object) -> None:
    # The driver would begin a transaction of its own, deferred, before the first statement that writes.
    connection.isolation_level = None


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    # Of the connection, else of create_engine(isolation_level=...), which SQLAlchemy tells in no public place.
    level = options.get("isolation_level") or getattr(connection.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        return
    driver: Any = connection.connection.dbapi_connection
    if driver.isolation_level is not None:
        driver.isolation_level = None  # it was in the pool before the switch
    connection.exec_driver_sql("BEGIN" if options.get(READ_ONLY) else _BEGIN)
