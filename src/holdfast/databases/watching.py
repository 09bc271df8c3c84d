"""The transactions that this process has open, each with the place in the code that began it.

Owns: that list, kept by SQLAlchemy's events for engines that are watched. Must not know: who else holds anything. Nothing is kept
alive by it: a connection that is forgotten is forgotten here too.

Theory of operation: when a transaction begins, the frames of the stack are walked up to the first that belongs to no library in between;
its file, line and function are kept, and no source is read. When the transaction ends, it goes. Measured: some 10 microseconds a
transaction, where the shortest one through a Session takes 230; SQLAlchemy's part in it is the larger one.
"""

from __future__ import annotations

import sys
import threading
import weakref
from datetime import UTC, datetime
from functools import cache
from types import FrameType
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from holdfast.databases.connecting import shown_url

__all__ = ["OpenTransaction", "is_watched", "open_transactions", "watch", "watch_last"]

_BETWEEN: Final = (
    "sqlalchemy",
    "sqlmodel",
    "alembic",
    "contextlib",
    "holdfast",
    "asyncio",
    "greenlet",
    "threading",
    "concurrent",
)
_DEEPEST: Final = 200


class OpenTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction of this process. `place` is `file:line in function`; `session` is the server's number of the connection.

    `session` is None for SQLite and for drivers that do not tell it.
    """

    place: str
    since: datetime
    thread: str
    database: str
    session: int | None


class _Begun(msgspec.Struct, frozen=True):
    file: str
    line: int
    function: str
    since: datetime
    thread: str


_begun: Final[weakref.WeakKeyDictionary[Connection, _Begun]] = weakref.WeakKeyDictionary()
_lock: Final = threading.Lock()


def watch(engine: Engine | AsyncEngine) -> None:
    """Remember where the transactions of `engine` begin, so that a holder in this process is told with its place; harmless if repeated.

    `retry_locked`, `run_locked`, `retrying` and `begin_immediate` do it for the engine that they are given.

    >>> from sqlalchemy import create_engine
    >>> engine = create_engine("sqlite://")
    >>> watch(engine)
    >>> with engine.begin() as connection:
    ...     _ = connection.exec_driver_sql("CREATE TEMPORARY TABLE t AS SELECT 1")
    ...     _ = connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    ...     [found.thread for found in open_transactions()]
    ['MainThread']
    """
    plain = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if is_watched(plain):
        return
    event.listen(plain, "begin", _on_begin)
    event.listen(plain, "begin_twophase", _on_begin)
    for name in ("commit", "rollback", "commit_twophase", "rollback_twophase", "prepare_twophase"):
        event.listen(plain, name, _on_end)


def watch_last(engine: Engine) -> None:
    """The same, after all that listens to its transactions' beginnings so far, even where it is watched already."""
    if is_watched(engine):
        event.remove(engine, "begin", _on_begin)
        event.listen(engine, "begin", _on_begin)
    else:
        watch(engine)


def is_watched(engine: Engine | AsyncEngine) -> bool:
    """True where `watch` was called for this engine."""
    return event.contains(engine.sync_engine if isinstance(engine, AsyncEngine) else engine, "begin", _on_begin)


def open_transactions() -> list[OpenTransaction]:
    """The open transactions of all watched engines, the oldest first."""
    with _lock:
        known = list(_begun.items())
    found = [_told(connection, begun) for connection, begun in known if _is_open(connection)]
    return sorted(found, key=lambda one: one.since)


def _on_begin(connection: Connection, *_: object) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return
    frame = _place(sys._getframe(1))
    if frame is None:
        return
    begun = _Begun(
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_code.co_qualname,
        datetime.now(UTC),
        threading.current_thread().name,
    )
    with _lock:
        _begun[connection] = begun


def _on_end(connection: Connection, *_: object) -> None:
    with _lock:
        _begun.pop(connection, None)


def _place(frame: FrameType | None) -> FrameType | None:
    """The first frame that is the application's, going through the greenlets under which SQLAlchemy runs asynchronous drivers."""
    last, left = frame, _DEEPEST
    parent: Any = None
    while left:
        while frame is not None and left:
            if not _is_between(frame.f_globals.get("__name__", "")):
                return frame
            last, frame, left = frame, frame.f_back, left - 1
        if parent is None:
            greenlet = sys.modules.get("greenlet")
            parent = None if greenlet is None else greenlet.getcurrent()
        parent = None if parent is None else parent.parent
        if parent is None:
            break
        frame = parent.gr_frame
    return last


@cache
def _is_between(module: str) -> bool:
    return module.partition(".")[0] in _BETWEEN


def _told(connection: Connection, begun: _Begun) -> OpenTransaction:
    return OpenTransaction(
        place=f"{begun.file}:{begun.line} in {begun.function}",
        since=begun.since,
        thread=begun.thread,
        database=shown_url(connection.engine.url),
        session=_session(_driver_connection(connection)),
    )


def _is_open(connection: Connection) -> bool:
    """False for a connection that was closed, or whose driver says that no transaction has begun yet (SQLite's deferred BEGIN)."""
    driver = _driver_connection(connection)
    return driver is not None and getattr(driver, "in_transaction", True) is not False


def _driver_connection(connection: Connection) -> DBAPIConnection | None:
    """What the driver knows it as; found without a word to the database."""
    try:
        fairy = None if connection.closed or connection.invalidated else connection._dbapi_connection
        return None if fairy is None else getattr(fairy, "driver_connection", None)
    except Exception:  # noqa: BLE001 - another thread may be closing it at this moment
        return None


def _session(driver: object) -> int | None:
    """The number by which the server knows the session."""
    info = getattr(driver, "info", None)  # psycopg
    for source, name in (
        (info, "backend_pid"),
        (driver, "get_backend_pid"),  # psycopg2
        (driver, "get_server_pid"),  # asyncpg
        (driver, "thread_id"),  # PyMySQL, aiomysql, mysqlclient
        (driver, "connection_id"),  # mysql-connector
    ):
        value: Any = getattr(source, name, None)
        try:
            found = value() if callable(value) else value
        except Exception:  # noqa: BLE001, S112 - closed meanwhile
            continue
        if isinstance(found, int):
            return found
    return None
