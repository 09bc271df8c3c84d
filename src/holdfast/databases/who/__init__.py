"""Who holds the database: one question for SQLite, PostgreSQL, MySQL and MariaDB.

Owns: `who` and `who_async`, and asking on purpose where nobody waits any more. Must not know: what any database's views look like.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from holdfast.databases.codes import Dialect
from holdfast.databases.connecting import (
    Target,
    dialect_of,
    is_async,
    own_connection,
    own_connection_async,
    sqlite_path,
)
from holdfast.databases.holders import Holder
from holdfast.databases.who import sqlite
from holdfast.databases.who.probes import check_probe

if TYPE_CHECKING:
    from sqlalchemy import ClauseElement, Connection, Executable

__all__ = ["who", "who_async"]

PROBE_S: Final = 2.0
_MYSQL_PROBE_S: Final = 2
_FIRST_PAUSE_S: Final = 0.02


def who(
    target: Target, *, waiter: int | None = None, table: str = "", probe: str | Executable | None = None
) -> list[Holder]:
    """Who holds the database, those in the way first.

    `target` is an engine, a connection, a session, a URL, or the path of a SQLite file. It is asked over a connection of its own.

    On a server these are the sessions for which others wait, walked to where the queue begins, prepared transactions, and sessions that
    are idle in a transaction; one at work that keeps nobody waiting is not among them. `waiter` narrows it to those whom
    one session waits for (its pid, or MySQL's connection id), `table` to those who have locked a table, at work or not. Where nobody
    waits any more (NOWAIT, or a lock_timeout that is over), nobody knows who holds a row: `probe` is a statement that wants the same,
    `SELECT 1 FROM orders WHERE id = 42 FOR UPDATE`; it is run for up to 2 s in a transaction that is rolled back. It is one statement, and
    on MySQL one that changes or locks rows of InnoDB, for most others end the transaction there.

    On SQLite these are the processes that have locked the file, by the kernel's list; it is not opened. `waiter`, `table` and
    `probe` have no meaning there.

    Raises WhoError: MissingDriverError, UnreachableDatabaseError, or where the account may not see other sessions.
    """
    dialect = dialect_of(target)
    if dialect is Dialect.SQLITE:
        return _of_sqlite(target)
    with own_connection(target) as connection:
        if probe is None:
            return _placed(_look(dialect)(connection, waiter=waiter, table=table))
        with own_connection(target) as prober:
            return _placed(_probed(dialect, connection, prober, probe))


async def who_async(
    target: Target, *, waiter: int | None = None, table: str = "", probe: str | Executable | None = None
) -> list[Holder]:
    """`who` for asynchronous code, over the engine's own asynchronous driver where it has one."""
    dialect = dialect_of(target)
    if dialect is Dialect.SQLITE or not is_async(target):
        return await asyncio.to_thread(who, target, waiter=waiter, table=table, probe=probe)
    look = _look(dialect)
    async with own_connection_async(target) as connection:
        if probe is None:
            found = await connection.run_sync(lambda plain: look(plain, waiter=waiter, table=table))
            return _placed(found)
        async with own_connection_async(target) as prober:
            number = await prober.run_sync(lambda plain: _begin_probe(dialect, plain, probe))
            running = asyncio.create_task(prober.run_sync(lambda plain: _run_probe(plain, probe)))
            found = []
            try:
                while not found and not running.done():
                    await asyncio.sleep(_pause(dialect))
                    found = await connection.run_sync(lambda plain: look(plain, waiter=number))
                if found and not running.done():
                    await connection.run_sync(lambda plain: _end_probe(dialect, plain, number))
            finally:  # it is bounded by itself, and its connection must not be closed under it
                await running
            return _placed(found)


def _of_sqlite(target: Target) -> list[Holder]:
    path = sqlite_path(target)
    return [] if path is None else sqlite.look(path)


def _look(dialect: Dialect) -> Callable[..., list[Holder]]:
    if dialect is Dialect.POSTGRESQL:
        from holdfast.databases.who import postgres

        return postgres.look
    from holdfast.databases.who import mysql

    return mysql.look


def _pause(dialect: Dialect) -> float:
    return _FIRST_PAUSE_S if dialect is Dialect.POSTGRESQL else 0.15


def _probed(dialect: Dialect, connection: Connection, prober: Connection, probe: str | Executable) -> list[Holder]:
    """Wait on purpose, and see for whom."""
    number = _begin_probe(dialect, prober, probe)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _run_probe(prober, probe)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=run, name="holdfast-probe", daemon=True)
    thread.start()
    found: list[Holder] = []
    look = _look(dialect)
    try:
        while not found and thread.is_alive():
            time.sleep(_pause(dialect))
            found = look(connection, waiter=number)
        if found and thread.is_alive():
            _end_probe(dialect, connection, number)
    finally:  # it is bounded by itself, and its connection must not be closed under it
        thread.join()
    if failures:
        raise failures[0]
    return found


def _begin_probe(dialect: Dialect, connection: Connection, probe: str | Executable) -> int:
    """Bound how long it may wait; its number. Raises WhoError for one that could not be rolled back."""
    check_probe(dialect, probe if isinstance(probe, str) else str(cast("ClauseElement", probe).compile(connection)))
    if dialect is Dialect.POSTGRESQL:
        connection.exec_driver_sql(f"SET lock_timeout = {int(PROBE_S * 1000)}")
        connection.exec_driver_sql(f"SET statement_timeout = {int(PROBE_S * 2000)}")
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {_MYSQL_PROBE_S}")
    connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {_MYSQL_PROBE_S}")
    return int(connection.exec_driver_sql("SELECT connection_id()").scalar_one())


def _run_probe(connection: Connection, probe: str | Executable) -> None:
    """Want what is held, and take it back. That it is refused in the end is no failure."""
    from sqlalchemy.exc import DBAPIError

    from holdfast.databases.classify import classify

    connection.exec_driver_sql("BEGIN")
    try:
        if isinstance(probe, str):  # as it is: neither a colon nor a percent sign in it is a parameter
            connection.execution_options(no_parameters=True).exec_driver_sql(probe)
        else:
            connection.execute(probe)
    except DBAPIError as error:
        if classify(error) is None and not _was_ended(error):
            raise
    finally:
        connection.exec_driver_sql("ROLLBACK")


def _was_ended(error: Any) -> bool:
    """The statement was ended by who had seen enough: 57014 query_canceled, 1317 ER_QUERY_INTERRUPTED."""
    original = error.orig
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    arguments = getattr(original, "args", ())
    return code == "57014" or 1317 in {getattr(original, "errno", None), arguments[0] if arguments else None}


def _end_probe(dialect: Dialect, connection: Connection, number: int) -> None:
    if dialect is Dialect.POSTGRESQL:
        connection.exec_driver_sql(f"SELECT pg_cancel_backend({number})")
    else:
        connection.exec_driver_sql(f"KILL QUERY {number}")


def _placed(holders: list[Holder]) -> list[Holder]:
    """With the place in the code for those that are sessions of this very process."""
    watching = sys.modules.get("holdfast.databases.watching")
    if watching is None:
        return holders
    # A number counts within one server; two servers of one process with the same number are told apart by the name of the database.
    known = {one.session: one for one in watching.open_transactions() if one.session is not None}
    return [
        holder
        if holder.pid not in known or not _is_of(known[holder.pid].database, holder)
        else msgspec.structs.replace(holder, is_this_process=True, began_at=known[holder.pid].place)
        for holder in holders
    ]


def _is_of(url: str, holder: Holder) -> bool:
    name = url.partition("?")[0].rpartition("/")[2]
    return dialect_of(url) is holder.dialect and (not name or not holder.database or name == holder.database)
