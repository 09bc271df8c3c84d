"""Locks for the rows and the operations of an application, kept in three tables of its own database.

Owns: LockTable and AsyncLockTable: where each transaction runs, and for how long a lock is waited for. Must not know: SQL (`lockrows`),
the rules (`lockdecisions`), HTTP.

A lock is on a resource: a path such as `/orders/42` that the application chooses. With depth infinity it covers everything below, so
one on `/orders` closes all orders for maintenance. It has a holder, a reason, an end by the database's own clock, a secret token, and a
fencing token that rises with every lock that was ever granted. A lock is advice until a write asks for it: `guard` puts it into the
UPDATE itself, `confirm` at the beginning of a transaction, and from then on it cannot be taken away before that transaction has ended.

Whoever waits for a lock stands in line: first come, first served among those whose locks conflict, as at a Holdfast server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from typing import Final, Self, TypeVar, Unpack

from sqlalchemy import ColumnElement, Connection, Engine, MetaData
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import Lock
from holdfast.core.paths import ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.databases.answering import LockedAnswer
from holdfast.databases.lockasking import Asking, TurnedDownError
from holdfast.databases.lockdecisions import (
    LockDecisions,
    LockLostError,
    LockWish,
    NotHolderError,
    ResourceLockedError,
    TableMissingError,
    answer_of,
    path_of,
)
from holdfast.databases.lockrows import Ended, RowsBusyError
from holdfast.databases.locktransactions import begun, engines_of
from holdfast.databases.lockwaiting import Look, Step, following, waiting
from holdfast.databases.retrying import run_locked, run_locked_async
from holdfast.wire.davxml_write import Condition

__all__ = [
    "AsyncLockTable",
    "LockLostError",
    "LockTable",
    "LockWish",
    "NotHolderError",
    "ResourceLockedError",
    "TableMissingError",
]

T = TypeVar("T")

_LEAVING_S: Final = 1.0
"""For how long a locked database is waited for by one who only gives a place up; it lapses by itself."""


class LockTable(LockDecisions):
    """The locks of an application, in its own database (SQLite, PostgreSQL, MySQL or MariaDB). Safe from any thread and process.

    `where` is an Engine; or a MetaData, such as `Base.metadata`, in which the tables are then part of the application's own, for
    `create_all` and Alembic: bind an engine before the first use. `deadline` (seconds) is for how long a locked database is waited for.

    >>> from sqlalchemy import create_engine
    >>> locks = LockTable(create_engine("sqlite://"))
    >>> locks.create()
    >>> lock = locks.acquire("/orders/42", "ada", reason="invoice")
    >>> lock.fencing_token
    1
    >>> try:
    ...     locks.acquire("/orders/42", "bob")
    ... except ResourceLockedError as error:
    ...     print(str(error).partition(" since ")[0])
    ada has locked /orders/42
    >>> locks.release(lock)
    """

    def __init__(
        self,
        where: Engine | MetaData,
        name: str = "holdfast_locks",
        *,
        timeouts: TimeoutPolicy | None = None,
        deadline: float = 10.0,
        now: ColumnElement[int] | None = None,
    ) -> None:
        """Ask nothing of the database yet. `now` stands in for the database's clock, in tests."""
        super().__init__(where if isinstance(where, MetaData) else MetaData(), name, timeouts, now)
        self._deadline = deadline
        self._engines: tuple[Engine, Engine] | None = None
        if not isinstance(where, MetaData):
            self.bind(where)

    def bind(self, engine: Engine) -> Self:
        """Keep the locks in the database of this engine, from now on."""
        self._engines = engines_of(engine)
        return self

    @property
    def engine(self) -> Engine:
        """The engine in use. Raises RuntimeError before one is bound."""
        return _bound(self._engines)[0]

    def create(self) -> None:
        """Make the tables, where they are not there; needless where migrations make them."""
        self.metadata.create_all(self.engine, tables=list(self.tables))

    def acquire(
        self, resource: str | ResourcePath, holder: str, *, wait: float = 0.0, **wish: Unpack[LockWish]
    ) -> Lock:
        """Grant `holder` a lock; with `wait`, stand in line for it for up to so many seconds. Who does not wait passes nobody either.

        Raises ResourceLockedError; ValueError for a path, a name or an id that cannot be; DatabaseLockedError, TableMissingError.
        """
        with closing(self.acquiring(resource, holder, wait=wait, **wish)) as steps:
            while True:
                try:
                    pause = next(steps)
                except StopIteration as granted:
                    return granted.value
                time.sleep(pause)

    def acquiring(
        self, resource: str | ResourcePath, holder: str, *, wait: float = 0.0, **wish: Unpack[LockWish]
    ) -> Generator[float, None, Lock]:
        """As `acquire`, in steps, each a short transaction: the numbers are the pauses between them, in seconds.

        Closed early it leaves the line.
        """
        asked = self.asking(resource, holder, wish)
        steps = waiting(wait)
        try:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Step):
                    found = self._take(asked, step)
                else:
                    yield step
                    found = Look.NEAR
                step = following(steps, found)
        except BaseException as error:
            if asked.may_have_place or not isinstance(error, Exception):
                with suppress(Exception):  # what has ended the wait is what the caller is to learn
                    self._run(asked.leave, min(self._deadline, _LEAVING_S))
            raise
        return self.outcome(asked)

    def refresh(self, lock: Lock | str, *, ttl: float | None = None, holder: str | None = None) -> Lock:
        """Restart the time of a lock, known by itself or by its token. `holder`, where given, must be the lock's.

        Raises LockLostError, which tells how it ended; NotHolderError.
        """
        return self._run(self.refreshing(lock, holder, ttl))

    def release(self, lock: Lock | str, *, holder: str | None = None) -> None:
        """End a lock; harmless when repeated. Raises LockLostError where it was lost before, NotHolderError."""
        self._run(self.releasing(lock, holder))

    def break_(
        self, lock_id: str, by: str, reason: str, *, after: float = 0.0, may_break: bool = True
    ) -> tuple[Lock, Ended | None]:
        """End somebody's lock by force, at once or `after` seconds; its former holder is told who did it, and why.

        The lock, and how it ended if it has. Raises LockLostError; NotHolderError without `may_break`, where it is another one's.
        """
        return self._run(self.breaking(lock_id, by, reason, after, may_break=may_break))

    def describe(self, lock_id: str) -> tuple[Lock, Ended | None] | None:
        """A lock by its id, with how it ended if it has; None where nothing is known of it. The lock holds its secret token."""
        return self._read(lambda connection: self.rows.find(connection, lock_id, self.rows.time(connection)))

    def find(self, resource: str | ResourcePath, *, below: bool = False) -> list[Lock]:
        """The locks that cover a resource, and with `below` those beneath it, in the order of their grant; with their secret tokens."""
        path = path_of(resource)
        return self._read(lambda connection: self.rows.held(connection, path, self.rows.time(connection), below=below))

    def check(self, effects: Sequence[Effect], tokens: Sequence[str] = (), holder: str = "") -> LockedAnswer | None:
        """May `holder`, who submits these lock tokens, make these changes now? None for yes, else the LockedAnswer.

        The answer may be out of date when it arrives: `guard` and `confirm` are what a write is sure with.
        """
        found = self._read(self.checking(effects, tokens, holder))
        return None if found is None else answer_of(*found, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)

    def in_the_way(
        self, resource: str | ResourcePath, tokens: Sequence[str] = (), holder: str = ""
    ) -> LockedAnswer | None:
        """`check` for a change of one resource's content."""
        return self.check((Effect(path_of(resource), Reach.CONTENT),), tokens, holder)

    def confirm(self, connection: Connection | Session, lock: Lock) -> None:
        """Raise LockLostError unless `lock` is held now; if so, it is until the end of the transaction on `connection`.

        Raises RuntimeError where that is in autocommit, and so has none.
        """
        self.confirming(connection.connection() if isinstance(connection, Session) else connection, lock)

    @contextmanager
    def hold(
        self, resource: str | ResourcePath, holder: str, *, wait: float = 0.0, **wish: Unpack[LockWish]
    ) -> Generator[Lock]:
        """A lock for the time of a block. Raises LockLostError at its end where the lock was lost meanwhile."""
        lock = self.acquire(resource, holder, wait=wait, **wish)
        try:
            yield lock
        except BaseException:
            with _ignoring_loss():
                self.release(lock)
            raise
        self.release(lock)

    def _take(self, asked: Asking, step: Step) -> Look:
        try:
            do = self._read if step is Step.LOOK else self._run
            return do(lambda connection: asked.go(connection, step))
        except TurnedDownError:
            return Look.REFUSED

    def _run(self, work: Callable[[Connection], T], deadline: float | None = None) -> T:
        engine, until = _bound(self._engines)[0], time.monotonic() + (self._deadline if deadline is None else deadline)
        while True:
            try:
                return self._on(engine, begun(work), max(0.0, until - time.monotonic()))
            except RowsBusyError as busy:
                self._on(engine, begun(partial(self.waiting_for, busy)), max(0.0, until - time.monotonic()))

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._on(_bound(self._engines)[1], work, self._deadline)

    def _on(self, engine: Engine, work: Callable[[Connection], T], deadline: float) -> T:
        try:
            return run_locked(engine, lambda session: work(session.connection()), deadline=deadline)
        except (OperationalError, ProgrammingError) as error:
            missing = None
            with suppress(DBAPIError), engine.connect() as connection:
                missing = self.missing(connection)
            if missing is None:
                raise
            raise missing from error


class AsyncLockTable(LockDecisions):
    """LockTable for asynchronous code: `where` is an AsyncEngine, or a MetaData."""

    def __init__(
        self,
        where: AsyncEngine | MetaData,
        name: str = "holdfast_locks",
        *,
        timeouts: TimeoutPolicy | None = None,
        deadline: float = 10.0,
        now: ColumnElement[int] | None = None,
    ) -> None:
        """As LockTable."""
        super().__init__(where if isinstance(where, MetaData) else MetaData(), name, timeouts, now)
        self._deadline = deadline
        self._engines: tuple[AsyncEngine, AsyncEngine] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        if not isinstance(where, MetaData):
            self.bind(where)

    def bind(self, engine: AsyncEngine) -> Self:
        """As LockTable.bind."""
        plain, reading = engines_of(engine.sync_engine)
        self._engines = AsyncEngine(plain), AsyncEngine(reading)
        return self

    @property
    def engine(self) -> AsyncEngine:
        """As LockTable.engine."""
        return _bound(self._engines)[0]

    async def create(self) -> None:
        """As LockTable.create."""
        async with self.engine.begin() as connection:
            await connection.run_sync(lambda plain: self.metadata.create_all(plain, tables=list(self.tables)))

    async def acquire(
        self, resource: str | ResourcePath, holder: str, *, wait: float = 0.0, **wish: Unpack[LockWish]
    ) -> Lock:
        """As LockTable.acquire. A task that is cancelled leaves the line."""
        asked = self.asking(resource, holder, wish)
        steps = waiting(wait)
        try:
            step = next(steps, None)
            while step is not None:
                step = following(steps, await self._take(asked, step))
        except BaseException as error:
            if asked.may_have_place or not isinstance(error, Exception):
                await self._through(self._leave(asked))
            raise
        return self.outcome(asked)

    async def refresh(self, lock: Lock | str, *, ttl: float | None = None, holder: str | None = None) -> Lock:
        """As LockTable.refresh."""
        return await self._run(self.refreshing(lock, holder, ttl))

    async def release(self, lock: Lock | str, *, holder: str | None = None) -> None:
        """As LockTable.release."""
        await self._run(self.releasing(lock, holder))

    async def break_(
        self, lock_id: str, by: str, reason: str, *, after: float = 0.0, may_break: bool = True
    ) -> tuple[Lock, Ended | None]:
        """As LockTable.break_."""
        return await self._run(self.breaking(lock_id, by, reason, after, may_break=may_break))

    async def describe(self, lock_id: str) -> tuple[Lock, Ended | None] | None:
        """As LockTable.describe."""
        return await self._read(lambda connection: self.rows.find(connection, lock_id, self.rows.time(connection)))

    async def find(self, resource: str | ResourcePath, *, below: bool = False) -> list[Lock]:
        """As LockTable.find."""
        path = path_of(resource)
        return await self._read(
            lambda connection: self.rows.held(connection, path, self.rows.time(connection), below=below)
        )

    async def check(
        self, effects: Sequence[Effect], tokens: Sequence[str] = (), holder: str = ""
    ) -> LockedAnswer | None:
        """As LockTable.check."""
        found = await self._read(self.checking(effects, tokens, holder))
        return None if found is None else answer_of(*found, effects[0].resource, Condition.LOCK_TOKEN_SUBMITTED)

    async def in_the_way(
        self, resource: str | ResourcePath, tokens: Sequence[str] = (), holder: str = ""
    ) -> LockedAnswer | None:
        """As LockTable.in_the_way."""
        return await self.check((Effect(path_of(resource), Reach.CONTENT),), tokens, holder)

    async def confirm(self, connection: AsyncConnection | AsyncSession, lock: Lock) -> None:
        """As LockTable.confirm."""
        plain = await connection.connection() if isinstance(connection, AsyncSession) else connection
        await plain.run_sync(self.confirming, lock)

    @asynccontextmanager
    async def hold(
        self, resource: str | ResourcePath, holder: str, *, wait: float = 0.0, **wish: Unpack[LockWish]
    ) -> AsyncGenerator[Lock]:
        """As LockTable.hold. A task that is cancelled releases the lock, also where it is cancelled while it does so."""
        lock = await self.acquire(resource, holder, wait=wait, **wish)
        try:
            yield lock
        except BaseException:
            with _ignoring_loss():
                await self._through(self.release(lock))
            raise
        await self._through(self.release(lock))

    async def _take(self, asked: Asking, step: Step | float) -> Look:
        if not isinstance(step, Step):
            await asyncio.sleep(step)
            return Look.NEAR
        try:
            do = self._read if step is Step.LOOK else self._run
            return await do(lambda connection: asked.go(connection, step))
        except TurnedDownError:
            return Look.REFUSED

    async def _leave(self, asked: Asking) -> None:
        with suppress(Exception):  # what has ended the wait is what the caller is to learn
            await self._run(asked.leave, min(self._deadline, _LEAVING_S))

    async def _through(self, work: Coroutine[object, object, None]) -> None:
        """Wait for its end; where this task is cancelled meanwhile, it goes on all the same."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)

    async def _run(self, work: Callable[[Connection], T], deadline: float | None = None) -> T:
        engine, until = _bound(self._engines)[0], time.monotonic() + (self._deadline if deadline is None else deadline)
        while True:
            try:
                return await self._on(engine, begun(work), max(0.0, until - time.monotonic()))
            except RowsBusyError as busy:
                await self._on(engine, begun(partial(self.waiting_for, busy)), max(0.0, until - time.monotonic()))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._on(_bound(self._engines)[1], work, self._deadline)

    async def _on(self, engine: AsyncEngine, work: Callable[[Connection], T], deadline: float) -> T:
        def asked(session: AsyncSession) -> Awaitable[T]:
            return session.run_sync(lambda plain: work(plain.connection()))

        try:
            return await run_locked_async(engine, asked, deadline=deadline)
        except (OperationalError, ProgrammingError) as error:
            missing = None
            with suppress(DBAPIError):
                async with engine.connect() as connection:
                    missing = await connection.run_sync(self.missing)
            if missing is None:
                raise
            raise missing from error


@contextmanager
def _ignoring_loss() -> Generator[None]:
    """What ended the block is what its caller is to learn."""
    try:
        yield
    except LockLostError:
        return


def _bound(engines: tuple[T, T] | None) -> tuple[T, T]:
    if engines is None:
        msg = "this table of locks has no database yet: call bind(engine)"
        raise RuntimeError(msg)
    return engines
