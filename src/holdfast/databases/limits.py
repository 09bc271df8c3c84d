"""The waits inside a driver, cut to what a retry has left; and SQLite's COMMIT, done again by itself where it is refused.

Owns: busy_timeout, lock_timeout and innodb_lock_wait_timeout while a retry is at work on an engine, and its COMMIT. Must not
know: what the transaction does, or whether it is begun anew.

Theory of operation: an engine that is retried on gets three listeners, once. When a transaction begins within a retry, no single wait
in it may outlast the deadline: what the application has set is kept where it is shorter. PostgreSQL forgets that by itself
(SET LOCAL); the others get their own setting back when the next transaction begins outside of a retry. Nothing is asked or
set for transactions that no retry has touched.

A busy COMMIT of SQLite (readers are still at work, in rollback-journal mode) leaves the transaction open with all that it did, so
it is tried again before SQLAlchemy sees it, for after a refusal SQLAlchemy would only roll back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import RetryUnit
from holdfast.databases.patience import Patience

__all__ = ["at_work", "follow"]

_AT_WORK: Final[ContextVar[Patience | None]] = ContextVar("holdfast_patience", default=None)
_KEY: Final = "holdfast_waits"
_SPAN: Final = re.compile(r"(\d+)(us|ms|s|min|h|d)?", re.ASCII)
_MILLISECONDS: Final = {"us": 0.001, None: 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def follow(engine: Engine) -> None:
    """Listen to this engine, from now on."""
    if not event.contains(engine, "begin", _on_begin):
        event.listen(engine, "begin", _on_begin, insert=True)  # before begin_immediate's: its BEGIN is such a wait
        if engine.dialect.name == "sqlite":
            event.listen(engine, "commit", _on_commit)


@contextmanager
def at_work(patience: Patience) -> Generator[None]:
    """What begins in this block, here or in a greenlet of SQLAlchemy's, is bound by what `patience` has left."""
    token = _AT_WORK.set(patience)
    try:
        yield
    finally:
        _AT_WORK.reset(token)


def _on_begin(connection: Connection) -> None:
    patience = _AT_WORK.get()
    if patience is None and _KEY not in connection.info:
        return
    match connection.dialect.name:
        case "sqlite":
            _limit_sqlite(connection, patience)
        case "postgresql" if patience is not None:
            _limit_postgres(connection, patience)
        case "mysql" | "mariadb":
            _limit_mysql(connection, patience)
        case _:
            pass


def _limit_sqlite(connection: Connection, patience: Patience | None) -> None:
    now = int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())
    own, put = connection.info.get(_KEY, (now, now))
    if now != put:  # the application has set another one since
        own = now
    wanted = own if patience is None else min(own, math.ceil(patience.left * 1000))
    if wanted != now:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {wanted}")
    connection.info[_KEY] = (own, wanted)


def _limit_postgres(connection: Connection, patience: Patience) -> None:
    if _is_autocommit(connection):
        return  # there, SET LOCAL would last for itself alone
    own = connection.info.get(_KEY)
    if own is None:
        found = _SPAN.fullmatch(str(connection.exec_driver_sql("SHOW lock_timeout").scalar_one()))
        own = connection.info[_KEY] = 0 if found is None else math.ceil(int(found[1]) * _MILLISECONDS[found[2]])
    wanted = max(1, math.ceil(patience.left * 1000))
    if own == 0 or wanted < own:  # 0: for ever
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wanted}")


def _limit_mysql(connection: Connection, patience: Patience | None) -> None:
    """For rows, and for tables that are being altered; whole seconds, one at least."""
    if _KEY in connection.info:
        own, put = connection.info[_KEY]
    else:
        row = connection.exec_driver_sql("SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout").one()
        own = put = (int(row[0]), int(row[1]))
    left = None if patience is None else max(1, math.floor(patience.left))
    wanted = own if left is None else (min(own[0], left), min(own[1], left))
    if wanted != put:
        connection.exec_driver_sql(
            f"SET SESSION innodb_lock_wait_timeout = {wanted[0]}, SESSION lock_wait_timeout = {wanted[1]}"
        )
    connection.info[_KEY] = (own, wanted)


def _is_autocommit(connection: Connection) -> bool:
    level = connection.get_execution_options().get("isolation_level")
    return (level or getattr(connection.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"


def _on_commit(connection: Connection) -> None:
    patience = _AT_WORK.get()
    if patience is None:
        return
    driver: Any = connection.connection.dbapi_connection
    while True:
        _limit_sqlite(connection, patience)
        try:
            driver.commit()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises has a code, or is raised again
            found = classify(error, statement="COMMIT")
            if found is None or found.retry is not RetryUnit.COMMIT:
                return  # SQLAlchemy's own COMMIT meets the same, and says so in its own way
            if hasattr(driver, "run_async"):
                driver.run_async(partial(_settle_async, patience, found, error, connection.engine))
            else:
                patience.settle(found, error, RetryUnit.COMMIT, connection.engine)
            patience.attempts += 1
        else:
            return


async def _settle_async(
    patience: Patience, found: LockedDatabase, error: Exception, engine: Engine, _driver: object
) -> None:
    await patience.settle_async(found, error, RetryUnit.COMMIT, engine)
