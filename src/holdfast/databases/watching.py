"""The transactions that this process has open, each with the place in the code that began it.

Owns: that list, kept by SQLAlchemy's events for engines that are watched. Must not know: who else holds anything. Nothing is kept
alive by it: a connection that is forgotten is forgotten here too.

Theory of operation: when a transaction begins, the frames of the stack are walked up to the first that belongs to no library in between;
its file, line and function are kept, which costs a few microseconds, and no source is read. When the transaction ends, it goes.
"""

from __future__ import annotations

import sys
import threading
import weakref
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["OpenTransaction", "is_watched", "open_transactions", "watch"]

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
    last = frame
    for one in _stacks(frame):
        last = one
        if one.f_globals.get("__name__", "").partition(".")[0] not in _BETWEEN:
            return one
    return last


def _stacks(frame: FrameType | None) -> list[FrameType]:
    frames = _frames(frame)
    greenlet = sys.modules.get("greenlet")
    parent: Any = None if greenlet is None else greenlet.getcurrent().parent
    while parent is not None and len(frames) < _DEEPEST:
        frames += _frames(parent.gr_frame)
        parent = parent.parent
    return frames


def _frames(frame: FrameType | None) -> list[FrameType]:
    found: list[FrameType] = []
    while frame is not None and len(found) < _DEEPEST:
        found.append(frame)
        frame = frame.f_back
    return found


def _told(connection: Connection, begun: _Begun) -> OpenTransaction:
    return OpenTransaction(
        place=f"{begun.file}:{begun.line} in {begun.function}",
        since=begun.since,
        thread=begun.thread,
        database=connection.engine.url.render_as_string(hide_password=True),
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
