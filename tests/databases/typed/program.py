"""What the types of `holdfast.databases` tell a checker: signatures stay as they were written, but for the session that is put in."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, assert_type

from sqlalchemy import Connection, Engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast.databases import (
    Examination,
    Holder,
    classify,
    examine_async,
    retry_locked,
    retrying,
    retrying_async,
    run_locked,
    run_locked_async,
    terminate_async,
    who,
    who_async,
)


class OwnSession(Session):
    """A session class of the application's own."""

    tenant: str = "shop"


class OwnAsyncSession(AsyncSession):
    """The same, asynchronous."""

    tenant: str = "shop"


def synchronous(engine: Engine, factory: sessionmaker[OwnSession], scoped: scoped_session[OwnSession]) -> None:
    @retry_locked()
    def bare(order: int, *, paid: bool = False) -> str:
        return f"{order} {paid}"

    @retry_locked(deadline=10, attempts=3)
    async def bare_async(order: int) -> str:
        return str(order)

    @retry_locked(engine)
    def with_engine(session: Session, order: int, *, paid: bool = False) -> str:
        return f"{session.scalar(text('SELECT 1'))} {order} {paid}"

    @retry_locked(factory, deadline=10)
    def with_factory(session: OwnSession, order: int) -> str:
        return f"{session.tenant} {order}"

    @retry_locked(scoped)
    def with_scoped(session: OwnSession) -> list[str]:
        return [session.tenant]

    assert_type(bare(42, paid=True), str)
    waiting: Coroutine[Any, Any, str] = bare_async(42)
    waiting.close()
    assert_type(with_engine(42, paid=True), str)
    assert_type(with_factory(42), str)
    assert_type(with_scoped(), list[str])
    given: Callable[[int], str] = with_engine
    assert given(42)


class Orders:
    """Methods keep their object, and get the session behind it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @retry_locked()
    def bare(self, order: int) -> str:
        return f"{self.engine} {order}"

    @retry_locked(deadline=1)
    async def bare_async(self, order: int) -> str:
        return f"{self.engine} {order}"


async def methods(engine: Engine, asynchronous: AsyncEngine) -> None:
    class Accounts:
        name: str = "accounts"

        @retry_locked(engine)
        def add(self, session: Session, amount: int) -> str:
            return f"{self.name} {session.scalar(text('SELECT 1'))} {amount}"

        @classmethod
        @retry_locked(engine)
        def of(cls, session: Session, name: str) -> bool:
            return session.scalar(text(name)) is not None and bool(cls.name)

        @retry_locked(asynchronous)
        async def add_async(self, session: AsyncSession, amount: int) -> str:
            return f"{self.name} {await session.scalar(text('SELECT 1'))} {amount}"

    assert_type(Orders(engine).bare(42), str)
    assert_type(await Orders(engine).bare_async(42), str)
    assert_type(Accounts().add(42), str)
    assert_type(Accounts.of("ada"), bool)
    assert_type(await Accounts().add_async(42), str)


async def asynchronous(engine: AsyncEngine, factory: async_sessionmaker[OwnAsyncSession]) -> None:
    @retry_locked(engine)
    async def with_engine(session: AsyncSession, order: int, *, paid: bool = False) -> str:
        return f"{await session.scalar(text('SELECT 1'))} {order} {paid}"

    @retry_locked(factory, deadline=10)
    async def with_factory(session: OwnAsyncSession) -> str:
        return session.tenant

    assert_type(await with_engine(42, paid=True), str)
    assert_type(await with_factory(), str)
    given: Callable[[int], Awaitable[str]] = with_engine
    assert_type(await given(42), str)


def blocks(engine: Engine, connection: Connection, factory: sessionmaker[OwnSession], own: OwnSession) -> None:
    def count(session: Session) -> int:
        return int(session.scalar(text("SELECT 1")) or 0)

    assert_type(run_locked(engine, count, deadline=10), int)
    assert_type(run_locked(connection, lambda given: given.scalar(text("SELECT 1")) is None), bool)
    assert_type(run_locked(factory, lambda session: session.tenant), str)
    assert_type(run_locked(own, lambda session: session.tenant), str)
    for attempt in retrying(engine):
        with attempt as session:
            assert_type(session, Session)
    for attempt_of_factory in retrying(factory):
        with attempt_of_factory as own_session:
            assert_type(own_session, OwnSession)
    for bare_attempt in retrying(deadline=1):
        with bare_attempt as nothing:
            assert_type(nothing, None)


async def blocks_async(engine: AsyncEngine, connection: AsyncConnection) -> None:
    async def count(session: AsyncSession) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    async def count_by(given: AsyncConnection) -> int:
        return int(await given.scalar(text("SELECT 1")) or 0)

    assert_type(await run_locked_async(engine, count, deadline=10), int)
    assert_type(await run_locked_async(connection, count_by), int)
    async for attempt in retrying_async(engine):
        async with attempt as session:
            assert_type(session, AsyncSession)


async def asking(engine: Engine, asynchronous: AsyncEngine, error: Exception) -> None:
    assert_type(who(engine), list[Holder])
    found = await who_async(asynchronous, table="orders")
    assert_type(found, list[Holder])
    assert_type(await examine_async(asynchronous), Examination)
    assert_type(await terminate_async(found[0], reason="forgotten", engine=asynchronous), bool)
    locked = classify(error)
    if locked is not None:
        assert_type(locked.is_retryable, bool)
