"""Asynchronous transactions that deadlock, or find a row locked, in real servers: both get through, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from holdfast.databases import (
    DatabaseLockedError,
    LockKind,
    Retry,
    RetryUnit,
    retry_locked,
    retrying_async,
    run_locked_async,
)
from tests.databases.servers import Database

pytestmark = pytest.mark.process

ADD = text("UPDATE accounts SET n = n + :n WHERE id = :id")
TAKE = text("SELECT n FROM accounts WHERE id = :id FOR UPDATE")
PATIENCE_S = 60

BOTH_KINDS = pytest.mark.parametrize(
    "url",
    [
        "postgres asyncpg",
        "postgres psycopg",
        pytest.param("mariadb aiomysql", marks=pytest.mark.tool("mariadbd")),
        pytest.param("mysql aiomysql", marks=pytest.mark.tool("mysqld")),
    ],
    indirect=True,
)
FORMS = pytest.mark.parametrize("form", ["run", "decorator", "context", "sessionmaker"])


@pytest.fixture(name="url")
def make_url(request: pytest.FixtureRequest) -> URL:
    """An empty database, by an asynchronous driver."""
    server, driver = request.param.split()
    database: Database = request.getfixturevalue(server)
    return database.postgres(driver) if server == "postgres" else database.mysql(driver)


@asynccontextmanager
async def filled(url: URL) -> AsyncIterator[AsyncEngine]:
    """An engine on two accounts with 30 in all."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE accounts (id INTEGER PRIMARY KEY, n INTEGER)"))
            await connection.execute(text("INSERT INTO accounts VALUES (1, 10), (2, 20)"))
        yield engine
    finally:
        await engine.dispose()


async def balances(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT n FROM accounts ORDER BY id"))).scalars())


class Meeting:
    """The first attempts of two meet when each has its first row; after that nobody waits for anybody."""

    def __init__(self) -> None:
        self._came = 0
        self._both = asyncio.Event()

    async def come(self) -> None:
        self._came += 1
        if self._came == 2:
            self._both.set()
        await asyncio.wait_for(self._both.wait(), PATIENCE_S)


class Transfer:
    """Moves 1 from the first account to the second."""

    def __init__(self, first: int, second: int, meeting: Meeting) -> None:
        self.attempts = 0
        self._first, self._second, self._meeting = first, second, meeting

    async def __call__(self, session) -> int:
        self.attempts += 1
        await session.execute(ADD, {"id": self._first, "n": -1})
        if self.attempts == 1:
            await self._meeting.come()
        await session.execute(ADD, {"id": self._second, "n": 1})
        return self._first


async def done(engine: AsyncEngine, form: str, work: Transfer, told: list[Retry]) -> int:
    """What `work` returns, begun anew in one of the four ways."""

    async def decorated(session) -> int:
        return await work(session)

    if form == "run":
        return await run_locked_async(engine, work, deadline=PATIENCE_S, on_retry=told.append)
    if form == "sessionmaker":
        return await run_locked_async(async_sessionmaker(engine), work, deadline=PATIENCE_S, on_retry=told.append)
    if form == "decorator":
        return await retry_locked(engine, deadline=PATIENCE_S, on_retry=told.append)(decorated)()
    async for attempt in retrying_async(engine, deadline=PATIENCE_S, on_retry=told.append):
        async with attempt as session:
            return await work(session)
    raise AssertionError


@BOTH_KINDS
@FORMS
def test_of_two_tasks_that_deadlock_both_get_through(url: URL, form: str):
    told: list[Retry] = []

    async def program() -> tuple[list[int], list[int], list[int]]:
        meeting = Meeting()
        there, back = Transfer(1, 2, meeting), Transfer(2, 1, meeting)
        async with filled(url) as engine:
            returned = await asyncio.gather(*(done(engine, form, one, told) for one in (there, back)))
            return returned, sorted((there.attempts, back.attempts)), await balances(engine)

    returned, attempts, left = asyncio.run(program())
    assert returned == [1, 2]
    assert left == [10, 20]
    assert attempts == [1, 2]
    assert [(one.locked.kind, one.unit) for one in told] == [(LockKind.DEADLOCK, RetryUnit.TRANSACTION)]


@BOTH_KINDS
def test_four_tasks_that_go_through_the_rows_in_both_directions_lose_nothing(url: URL):
    async def program() -> list[int]:
        async with filled(url) as engine:

            @retry_locked(engine, deadline=PATIENCE_S)
            async def transfer(session, first: int, second: int) -> None:
                taken = (await session.execute(TAKE, {"id": first})).scalar_one()
                await asyncio.sleep(0)
                given = (await session.execute(TAKE, {"id": second})).scalar_one()
                set_to = text("UPDATE accounts SET n = :n WHERE id = :id")
                await session.execute(set_to, {"id": first, "n": taken - 1})
                await session.execute(set_to, {"id": second, "n": given + 1})

            async def often(first: int, second: int) -> None:
                for _ in range(5):
                    await transfer(first, second)

            await asyncio.gather(often(1, 2), often(2, 1), often(1, 2), often(1, 2))
            return await balances(engine)

    assert asyncio.run(program()) == [0, 30]


@BOTH_KINDS
def test_a_row_that_is_not_given_back_is_told_with_its_holder(url: URL):
    nowait = text("SELECT n FROM accounts WHERE id = 1 FOR UPDATE NOWAIT")

    async def program() -> DatabaseLockedError:
        async with filled(url) as engine, engine.begin() as holder:
            await holder.execute(ADD, {"id": 1, "n": 5})
            with pytest.raises(DatabaseLockedError) as caught:
                await run_locked_async(engine, lambda session: session.execute(nowait), deadline=0.5)
            return caught.value

    error = asyncio.run(program())
    assert error.locked.kind is LockKind.HELD
    assert error.attempts > 1
    assert [holder.is_waiting for holder in error.holders] == [False]


@BOTH_KINDS
def test_a_task_that_is_cancelled_while_it_waits_for_a_row_leaves_nothing_locked(url: URL):
    async def program() -> list[int]:
        async with filled(url) as engine:
            waits = asyncio.Event()

            async def work(session) -> None:
                await session.execute(ADD, {"id": 2, "n": 7})
                waits.set()
                await session.execute(ADD, {"id": 1, "n": 7})

            async with engine.begin() as holder:
                await holder.execute(ADD, {"id": 1, "n": 5})
                task = asyncio.create_task(run_locked_async(engine, work, deadline=PATIENCE_S))
                await asyncio.wait_for(waits.wait(), PATIENCE_S)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await run_locked_async(engine, lambda session: session.execute(ADD, {"id": 2, "n": 1}), deadline=PATIENCE_S)
            return await balances(engine)

    assert asyncio.run(program()) == [15, 21]
