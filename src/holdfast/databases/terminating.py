"""Ending a holder by force: its session on a server, its process on this machine.

Owns: how, the guards against hitting another that has taken its number meanwhile, and the record of it. Must not know: how a holder was found.
What it has not committed is lost, which is why a reason is asked for and logged (`holdfast.databases`, level WARNING).
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal as signals
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

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
from holdfast.local.processes import ProcessTable

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["TerminationError", "terminate", "terminate_async"]

_log: Final = logging.getLogger("holdfast.databases")
_PAUSE_S: Final = 0.05
_FIRST_ADDRESS: Final = 1 << 48
_CLOCK_STEP: Final = timedelta(seconds=2)
"""How far the reckoned start of a process may move when the machine's clock is set."""


class TerminationError(Exception):
    """The holder was not ended, or is still there; the text is a plain sentence."""


def terminate(
    holder: Holder, *, reason: str, engine: Target, signal: signals.Signals | None = None, wait_s: float = 10.0
) -> bool:
    """End `holder` by force, and wait up to `wait_s` seconds until it is gone. What it has not committed is lost.

    True where it was ended; False where there was nothing left to do: its session, its process, or the transaction that it was told
    with is over, so whoever has its number now is left alone. `engine` is what was given to `who`. On PostgreSQL its session is
    ended (pg_terminate_backend), or the prepared transaction rolled back; on MySQL its connection (KILL). A process that holds a SQLite
    file is sent `signal`, which must be said: another user's program is not ours to choose for.

    Raises TerminationError: no reason, no signal, not allowed, this very process, or still there when the time is over.
    """
    _check(holder, reason, engine)
    if holder.dialect is Dialect.SQLITE:
        was_ended = _end_process(holder, engine, signal, wait_s)
    else:
        was_ended = _end_session(holder, engine, wait_s)
    return _told(holder, reason, was_ended=was_ended)


async def terminate_async(
    holder: Holder, *, reason: str, engine: Target, signal: signals.Signals | None = None, wait_s: float = 10.0
) -> bool:
    """`terminate` for asynchronous code, over the engine's own asynchronous driver where it has one."""
    if holder.dialect is Dialect.SQLITE or not is_async(engine):
        return await asyncio.to_thread(terminate, holder, reason=reason, engine=engine, signal=signal, wait_s=wait_s)
    _check(holder, reason, engine)
    return _told(holder, reason, was_ended=await _end_session_async(holder, engine, wait_s))


def _check(holder: Holder, reason: str, engine: Target) -> None:
    if not reason.strip():
        msg = "A reason is needed: it is what the log, and whoever lost their work, will be told."
        raise TerminationError(msg)
    if dialect_of(engine) is not holder.dialect:
        msg = f"That holder was seen in {holder.dialect}, and this is another database."
        raise TerminationError(msg)


def _told(holder: Holder, reason: str, *, was_ended: bool) -> bool:
    if was_ended:
        _log.warning("ended by force: %s; reason: %s", holder.brief, reason)
    return was_ended


def _end_session(holder: Holder, engine: Target, wait_s: float) -> bool:
    with _refusals_told(holder), own_connection(engine) as connection:
        return _end_of(holder)(connection, holder, wait_s, time.sleep)


async def _end_session_async(holder: Holder, engine: Target, wait_s: float) -> bool:
    with _refusals_told(holder):
        async with own_connection_async(engine) as connection:
            return await connection.run_sync(lambda plain: _end_of(holder)(plain, holder, wait_s, _sleep_of(plain)))


def _sleep_of(connection: Connection) -> Callable[[float], None]:
    """A sleep in the event loop, for code that SQLAlchemy runs in a greenlet."""
    driver: Any = connection.connection.dbapi_connection

    def sleep(seconds: float) -> None:
        driver.run_async(partial(_sleep, seconds))

    return sleep


async def _sleep(seconds: float, _driver: object) -> None:
    await asyncio.sleep(seconds)


@contextmanager
def _refusals_told(holder: Holder) -> Generator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0]
        msg = f"{holder.name} was not ended: {said}"
        raise TerminationError(msg) from error


def _end_of(holder: Holder) -> Callable[[Connection, Holder, float, Callable[[float], None]], bool]:
    return _end_postgres if holder.dialect is Dialect.POSTGRESQL else _end_mysql


def _end_postgres(connection: Connection, holder: Holder, wait_s: float, sleep: Callable[[float], None]) -> bool:
    from sqlalchemy import text

    if holder.prepared:
        return _end_prepared(connection, holder)
    if holder.started_at is None:  # nothing would tell it from whoever has its number now
        if not _count(connection, text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), pid=holder.pid):
            return False
        msg = f"{holder.name} is of another role, which this one may not see: GRANT pg_read_all_stats, and look again."
        raise TerminationError(msg)
    # The number, the session's begin and the transaction's begin are compared in the very statement that ends it.
    ended = connection.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid"
            " AND backend_start IS NOT DISTINCT FROM CAST(:started_at AS timestamptz)"
            " AND xact_start IS NOT DISTINCT FROM CAST(:since AS timestamptz)"
        ),
        {"pid": holder.pid, "started_at": holder.started_at, "since": holder.since},
    ).scalar_one_or_none()
    if ended is None:
        unseen = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND backend_start IS NULL")
        if not _count(connection, unseen, pid=holder.pid):
            return False
        msg = f"{holder.name} is of another role, which this one may neither see nor end: GRANT pg_read_all_stats, pg_signal_backend."
        raise TerminationError(msg)
    there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND backend_start = :started_at")
    _await_end(
        holder, wait_s, sleep, lambda: not _count(connection, there, pid=holder.pid, started_at=holder.started_at)
    )
    return True


def _end_prepared(connection: Connection, holder: Holder) -> bool:
    from sqlalchemy import text

    found = connection.execute(
        text("SELECT database = current_database() FROM pg_prepared_xacts WHERE gid = :gid AND prepared = :since"),
        {"gid": holder.prepared, "since": holder.since},
    ).scalar_one_or_none()
    if found is None:
        return False
    if not found:
        msg = f"{holder.name} is of database {holder.database}: connect to that one to end it."
        raise TerminationError(msg)
    quoted = holder.prepared.replace("'", "''")
    connection.exec_driver_sql(f"ROLLBACK PREPARED '{quoted}'".replace("%", "%%"))
    return True


def _end_mysql(connection: Connection, holder: Holder, wait_s: float, sleep: Callable[[float], None]) -> bool:
    from sqlalchemy import text

    from holdfast.databases.who.mysql import processlist

    if holder.pid is None:
        msg = f"{holder.name} has no session: XA RECOVER tells its name, and XA ROLLBACK or XA COMMIT ends it."
        raise TerminationError(msg)
    sessions = processlist(connection)
    # A connection's number is not used again while the server runs; user, host and transaction tell its next life apart.
    same = text(
        f"SELECT count(*) FROM {sessions} p LEFT JOIN information_schema.innodb_trx t"  # noqa: S608 - a name of ours
        " ON t.trx_mysql_thread_id = p.id WHERE p.id = :pid AND p.user = :user AND p.host = :host AND"
        " timestampadd(SECOND, timestampdiff(SECOND, now(), utc_timestamp()), t.trx_started) <=> :since"
        " AND (:transaction = '' OR cast(t.trx_id AS char) = :transaction)"
    )
    since = None if holder.since is None else holder.since.replace(tzinfo=None)
    known = {"pid": holder.pid, "user": holder.user, "host": holder.host, "since": since}
    if not _count(connection, same, **known, transaction=_lasting_number(holder)):
        return False
    if holder.held_s is not None and holder.held_s < 1 and not _lasting_number(holder):
        msg = f"{holder.name} had begun its transaction within the second, and might be at its next one: look again."
        raise TerminationError(msg)
    connection.exec_driver_sql(f"KILL CONNECTION {holder.pid}")
    there = text(f"SELECT count(*) FROM {sessions} WHERE id = :pid")  # noqa: S608 - a name of ours
    _await_end(holder, wait_s, sleep, lambda: not _count(connection, there, pid=holder.pid))
    return True


def _lasting_number(holder: Holder) -> str:
    """The transaction's own number: it has one from its first change on. Before, it is told by an address, and its beginning to the second."""
    number = holder.transaction
    return number if number.isdecimal() and 0 < int(number) < _FIRST_ADDRESS else ""


def _count(connection: Connection, question: Any, **values: object) -> int:
    return int(connection.execute(question, values).scalar_one())


def _await_end(holder: Holder, wait_s: float, sleep: Callable[[float], None], is_gone: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + wait_s
    while not is_gone():
        if time.monotonic() >= ends_at:
            msg = f"{holder.name} was told to end, and is still undoing its work after {wait_s:g} s."
            raise TerminationError(msg)
        sleep(_PAUSE_S)


def _end_process(holder: Holder, target: Target, signal: signals.Signals | None, wait_s: float) -> bool:
    path = sqlite_path(target)
    if holder.pid is None or path is None:
        msg = f"It cannot be ended from here: {holder.note or 'its process is not known'}."
        raise TerminationError(msg)
    if holder.pid == os.getpid():
        place = f", which began at {holder.began_at}" if holder.began_at else ""
        msg = f"It is this very process that holds it: end its transaction{place}."
        raise TerminationError(msg)
    if signal is None:
        msg = f"{holder.name} is a program of this machine: say which signal it is to be sent, such as SIGTERM."
        raise TerminationError(msg)
    try:
        handle = os.pidfd_open(holder.pid)  # from here on the number can mean no other process
    except ProcessLookupError:
        return False
    try:
        if not _is_same(holder) or all(one.pid != holder.pid for one in sqlite.look(path)):
            return False
        signals.pidfd_send_signal(handle, signal)
        _await_release(holder, path, handle, signal, wait_s)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        msg = f"{holder.name} belongs to another user: it takes that user, or root, to end it."
        raise TerminationError(msg) from error
    finally:
        os.close(handle)
    return True


def _is_same(holder: Holder) -> bool:
    """Whether the process of this number began when the holder did."""
    process = ProcessTable().process(holder.pid or 0)
    if process is None:
        return False
    return _is_close(process.started_at, holder.started_at)


def _is_close(one: datetime | None, other: datetime | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= _CLOCK_STEP)


def _await_release(holder: Holder, path: Any, handle: int, signal: signals.Signals, wait_s: float) -> None:
    """Until the process has ended, or holds the file no more."""
    ends_at = time.monotonic() + wait_s
    while not select.select([handle], [], [], _PAUSE_S)[0]:
        if all(one.pid != holder.pid for one in sqlite.look(path)):
            return
        if time.monotonic() >= ends_at:
            msg = f"{holder.name} was sent {signal.name}, and still holds it after {wait_s:g} s."
            raise TerminationError(msg)
