"""What a driver waits by itself, cut to what is left of a deadline; SQLite's COMMIT alone, again where it is refused; and what is committed.

Owns: busy_timeout, lock_timeout and innodb_lock_wait_timeout while a retry is at work on an engine, and its COMMIT. Must not
know: what the transaction does, or whether it is begun anew.

Theory of operation: an engine that is retried on gets its listeners once; engines made from it by execution_options() share its
connections, so they are of the engine below them. Before the first statement that a retry runs over a connection, which may be a BEGIN
IMMEDIATE or a SAVEPOINT, no single wait may outlast the deadline any more: what the application has set is kept where it is
shorter. It is cut again before a later statement only where a tenth of what is left has gone meanwhile, so a transaction that nobody keeps
waiting pays once. PostgreSQL forgets it with the transaction (SET LOCAL); otherwise the first statement that no retry runs gives
the connection its own setting back. Nothing is asked or set for connections that no retry has touched.

A busy COMMIT of SQLite (readers are still at work, in rollback-journal mode) leaves the transaction open with all that it did, so
it is tried again before SQLAlchemy sees it, for after a refusal SQLAlchemy would only roll back. Once a unit's COMMIT is through, nothing of
it may be done again, whatever fails afterwards (an after_commit hook, say); `heeding` lets the retry know.
"""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, CursorResult, Engine, event

from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import RetryUnit
from holdfast.databases.patience import Patience

if TYPE_CHECKING:
    from sqlalchemy import ExceptionContext
    from sqlalchemy.orm import Session

__all__ = ["at_work", "follow", "heeding", "root_of"]

_AT_WORK: Final[ContextVar[Patience | None]] = ContextVar("holdfast_patience", default=None)
_KEY: Final = "holdfast_waits"
_SPAN: Final = re.compile(r"(\d+)(us|ms|s|min|h|d)?", re.ASCII)
_MILLISECONDS: Final = {"us": 0.001, None: 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNDOING: Final = re.compile(r"\s*(ROLLBACK|RELEASE)\b", re.IGNORECASE)
"""These never wait, and in a transaction that has failed PostgreSQL takes nothing else."""
_MOST_OVER: Final = 1.1
_MOST_OVER_S: Final = 0.05
_units: Final[weakref.WeakKeyDictionary[Connection, Patience]] = weakref.WeakKeyDictionary()
"""The connections whose transactions are units that may be begun anew."""


class _Waits:
    """What is known of one connection: what the application has set, what was put instead, and for whom.

    PostgreSQL: `session` is what transactions begin with, `puts` is all that was put in this one, for a savepoint may bring it back.
    """

    def __init__(self) -> None:
        """Nothing, yet."""
        self.own: tuple[int, ...] | None = None
        self.put: tuple[int, ...] | None = None
        self.session: int | None = None
        self.puts: set[int] = set()
        self.at_most_s = math.inf
        self.patience: Patience | None = None
        self.is_being_set = False

    def is_due(self, patience: Patience | None) -> bool:
        """Whether something else is to be in force now."""
        if self.patience is not patience:
            return True
        return patience is not None and self.at_most_s > patience.left * _MOST_OVER + _MOST_OVER_S

    def begin(self) -> None:
        """A transaction begins with what the session has."""
        self.own = self.patience = None
        self.puts.clear()


def root_of(engine: Engine) -> Engine:
    """The engine below those that execution_options() has made of it: they share its connections, and its listeners hear of all of them.

    >>> from sqlalchemy import create_engine
    >>> engine = create_engine("sqlite://")
    >>> root_of(engine.execution_options(a=1).execution_options(b=2)) is engine
    True
    """
    below = getattr(engine, "_proxied", None)  # SQLAlchemy tells it in no public place
    return root_of(below) if isinstance(below, Engine) else engine


def follow(engine: Engine) -> None:
    """Listen to this engine, from now on."""
    root = root_of(engine)
    if event.contains(root, "before_cursor_execute", _on_statement):
        return
    event.listen(root, "before_cursor_execute", _on_statement)
    event.listen(root, "commit", _on_commit)
    event.listen(root, "commit_twophase", _on_commit)
    event.listen(root, "handle_error", _on_error)
    if root.dialect.name == "postgresql":
        event.listen(root, "begin", _on_begin)
        event.listen(root, "rollback_savepoint", _on_rollback_savepoint)


@contextmanager
def at_work(patience: Patience) -> Generator[None]:
    """What is done in this block, here or in a greenlet of SQLAlchemy's, is bound by what `patience` has left."""
    before = _AT_WORK.get()
    _AT_WORK.set(patience)
    try:
        yield
    finally:
        _AT_WORK.set(before)  # and no token: a generator's end may be run in another context than its beginning


@contextmanager
def heeding(source: Session | Connection, patience: Patience) -> Generator[None]:
    """The transaction that begins in this block is a unit of `patience`, which is told once it is committed."""
    patience.is_committed = False
    known: list[Connection] = []

    def heed(connection: Connection) -> None:
        follow(connection.engine)
        known.append(connection)
        _units[connection] = patience

    def on_begin(_session: Session, _transaction: object, connection: Connection) -> None:
        heed(connection)

    if isinstance(source, Connection):
        heed(source)
    else:
        event.listen(source, "after_begin", on_begin)
    try:
        yield
    finally:
        if not isinstance(source, Connection):
            event.remove(source, "after_begin", on_begin)
        for connection in known:
            _units.pop(connection, None)


def _patience_of(connection: Connection) -> Patience | None:
    return _AT_WORK.get() or _units.get(connection)


def _on_statement(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    patience = _patience_of(connection)
    waits: _Waits | None = connection.info.get(_KEY)
    if waits is None:
        if patience is None:
            return
        waits = connection.info[_KEY] = _Waits()
    if not waits.is_being_set and waits.is_due(patience) and _UNDOING.match(statement) is None:
        _limit(connection, waits, patience)


def _limit(connection: Connection, waits: _Waits, patience: Patience | None) -> None:
    waits.is_being_set = True
    try:
        match connection.dialect.name:
            case "sqlite":
                _limit_sqlite(connection, waits, patience)
            case "postgresql":
                _limit_postgres(connection, waits, patience)
            case "mysql" | "mariadb":
                _limit_mysql(connection, waits, patience)
            case _:
                pass
    finally:
        waits.is_being_set = False
    waits.patience = patience


def _limit_sqlite(connection: Connection, waits: _Waits, patience: Patience | None) -> None:
    now = (int(_run(connection, "PRAGMA busy_timeout").scalar_one()),)
    own = (
        waits.own if waits.own is not None and now == waits.put else now
    )  # or the application has set another one since
    wanted = own if patience is None else (min(own[0], math.ceil(patience.left * 1000)),)
    if wanted != now:
        _run(connection, f"PRAGMA busy_timeout = {wanted[0]}")
    waits.own, waits.put, waits.at_most_s = own, wanted, wanted[0] / 1000


def _limit_postgres(connection: Connection, waits: _Waits, patience: Patience | None) -> None:
    """Neither statement takes a snapshot, so the transaction's isolation level may still be set after them."""
    if _is_autocommit(connection):
        return  # there, SET LOCAL would last for itself alone
    if (
        waits.own is None and _units.get(connection) is patience
    ):  # its own transaction, in which nobody has set anything
        if waits.session is None:
            waits.session = _lock_timeout(connection)
        now = own = waits.session
    else:
        now = _lock_timeout(connection)
        own = waits.own[0] if waits.own is not None and now in waits.puts else now
    wanted = own
    if patience is not None:
        left = max(1, math.ceil(patience.left * 1000))
        wanted = min(own or left, left)  # 0: for ever
    if wanted != now:
        _run(connection, f"SET LOCAL lock_timeout = {wanted}")
    waits.own, waits.at_most_s = (own,), wanted / 1000
    waits.puts.add(wanted)


def _run(connection: Connection, statement: str) -> CursorResult[*tuple[Any, ...]]:
    """At once, even where the connection's results are streamed, over cursors that know no such statements."""
    return connection.exec_driver_sql(statement, execution_options={"stream_results": False, "yield_per": None})


def _lock_timeout(connection: Connection) -> int:
    found = _SPAN.fullmatch(str(_run(connection, "SHOW lock_timeout").scalar_one()))
    return 0 if found is None else math.ceil(int(found[1]) * _MILLISECONDS[found[2]])


def _limit_mysql(connection: Connection, waits: _Waits, patience: Patience | None) -> None:
    """For rows, and for tables that are being altered; whole seconds, one at least."""
    own, now = waits.own, waits.put
    if own is None or now is None or waits.patience is patience:
        row = _run(connection, "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout").one()
        read = (int(row[0]), int(row[1]))
        own = (
            read
            if own is None or now is None
            else tuple(b if b != c else a for a, b, c in zip(own, read, now, strict=True))
        )
        now = read
    left = None if patience is None else max(1, math.floor(patience.left))
    wanted = own if left is None else tuple(min(one, left) for one in own)
    if wanted != now:
        _run(connection, f"SET SESSION innodb_lock_wait_timeout = {wanted[0]}, SESSION lock_wait_timeout = {wanted[1]}")
    waits.own, waits.put, waits.at_most_s = own, wanted, max(wanted) - 1


def _is_autocommit(connection: Connection) -> bool:
    level = connection.get_execution_options().get("isolation_level")
    return (level or getattr(connection.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"


def _on_begin(connection: Connection, *_: object) -> None:
    waits: _Waits | None = connection.info.get(_KEY)
    if waits is not None:
        waits.begin()


def _on_rollback_savepoint(connection: Connection, *_: object) -> None:
    """What was put after it is in force no more."""
    waits: _Waits | None = connection.info.get(_KEY)
    if waits is not None:
        waits.patience = None


def _on_commit(connection: Connection, *_: object) -> None:
    if connection.dialect.name == "sqlite":
        _commit_sqlite(connection)
    unit = _units.get(connection)
    if unit is not None:
        unit.is_committed = True  # unless it is refused, which `_on_error` hears of


def _on_error(refused: ExceptionContext) -> None:
    unit = None if refused.connection is None else _units.get(refused.connection)
    if unit is not None:
        unit.is_committed = False


def _commit_sqlite(connection: Connection) -> None:
    patience = _patience_of(connection)
    if patience is None:
        return
    waits = connection.info.setdefault(_KEY, _Waits())
    driver: Any = connection.connection.dbapi_connection
    while True:
        _limit(connection, waits, patience)
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
