"""Retries watch the engine that they are given, so that a program which is in its own way is told where in its code."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import sessionmaker

from holdfast.databases import (
    DatabaseLockedError,
    begin_immediate,
    open_transactions,
    retry_locked,
    retrying,
    retrying_async,
    run_locked,
    run_locked_async,
    watch,
)
from holdfast.databases.watching import is_watched
from tests.databases.conftest import MakeEngine

ONE = text("SELECT 1")


@pytest.fixture(name="engine")
def make_engine(tmp_path: Path, engine_for: MakeEngine) -> Engine:
    return engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0})


def test_a_decorated_function_watches_its_engine_from_the_beginning(engine: Engine):
    retry_locked(engine)(lambda session: session.scalar(ONE))
    assert is_watched(engine)


def test_so_do_a_factory_a_call_and_a_block(tmp_path: Path, engine_for: MakeEngine):
    first, second, third = (engine_for(f"sqlite:///{tmp_path}/app{number}.db") for number in range(3))
    retry_locked(sessionmaker(first))(lambda session: session.scalar(ONE))
    run_locked(second, lambda session: session.scalar(ONE))
    for attempt in retrying(third):
        with attempt as session:
            session.scalar(ONE)
    assert all(map(is_watched, (first, second, third)))


def test_asynchronous_engines_too(tmp_path: Path):
    async def program() -> list[bool]:
        engines = [create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app{number}.db") for number in range(2)]
        await run_locked_async(engines[0], lambda session: session.scalar(ONE))
        async for attempt in retrying_async(engines[1]):
            async with attempt as session:
                await session.scalar(ONE)
        for engine in engines:
            await engine.dispose()
        return [is_watched(engine) for engine in engines]

    assert asyncio.run(program()) == [True, True]


def test_who_wants_no_holders_named_has_nothing_watched(engine: Engine):
    run_locked(engine, lambda session: session.scalar(ONE), name_holders=False)
    assert not is_watched(engine)


def test_it_listens_once_however_often_it_is_asked_to(engine: Engine):
    for _ in range(3):
        run_locked(engine, lambda session: session.scalar(ONE))
    watch(engine)
    with engine.connect() as connection:
        connection.execute(ONE)
        begun = [found for found in engine.dispatch.begin if "watching" in getattr(found, "__module__", "")]
    assert len(begun) <= 1


@pytest.mark.process
def test_the_log_and_the_error_name_the_place_in_this_program(engine: Engine, caplog: pytest.LogCaptureFixture):
    begin_immediate(engine)

    @retry_locked(engine, attempts=2, sleep=lambda _: None)
    def count(session) -> None:
        session.execute(text("CREATE TABLE t (a)"))

    with engine.connect() as forgotten:
        forgotten.execute(ONE)
        with caplog.at_level(logging.INFO, "holdfast.databases"), pytest.raises(DatabaseLockedError) as caught:
            count()
    here = f"{os.path.basename(__file__)}:"
    assert here in str(caught.value)
    assert "test_the_log_and_the_error_name_the_place_in_this_program" in str(caught.value)
    assert any("began at" in record.getMessage() and here in record.getMessage() for record in caplog.records)


@pytest.mark.process
def test_who_still_waits_to_begin_is_not_taken_for_the_holder(engine: Engine):
    """Whichever came first, the retry or begin_immediate: what waits in BEGIN IMMEDIATE has begun nothing."""
    run_locked(engine, lambda session: session.scalar(ONE))
    begin_immediate(engine)
    reached = threading.Event()

    @event.listens_for(engine, "before_cursor_execute")
    def tell(_connection, _cursor, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN") and threading.current_thread() is not threading.main_thread():
            reached.set()

    def wait() -> None:
        with pytest.raises(DatabaseLockedError):
            run_locked(engine, lambda session: session.scalar(ONE), deadline=0.3)

    waiter = threading.Thread(target=wait)
    with engine.connect() as holder:
        holder.execute(ONE)
        waiter.start()
        assert reached.wait(20)
        assert [found.thread for found in open_transactions()] == ["MainThread"]
        waiter.join(20)


class TestMethods:
    """A method's own object comes first, the session after it."""

    def test_a_method_gets_the_session_behind_its_object(self, engine: Engine):
        class Accounts:
            name = "accounts"

            @retry_locked(engine)
            def add(self, session, amount: int, *, times: int = 1) -> str:
                return f"{self.name} {session.scalar(ONE)} {amount * times}"

            @classmethod
            @retry_locked(engine)
            def of(cls, session, amount: int) -> str:
                return f"{cls.name} {session.scalar(ONE)} {amount}"

            @staticmethod
            @retry_locked(engine)
            def free(session, amount: int) -> str:
                return f"{session.scalar(ONE)} {amount}"

        assert Accounts().add(7, times=6) == "accounts 1 42"
        assert Accounts.of(7) == "accounts 1 7"
        assert Accounts.free(7) == "1 7"

    def test_an_asynchronous_one_too(self, tmp_path: Path):
        async def program() -> str:
            engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app.db")

            class Accounts:
                name = "accounts"

                @retry_locked(engine)
                async def add(self, session, amount: int) -> str:
                    return f"{self.name} {await session.scalar(ONE)} {amount}"

            found = await Accounts().add(7)
            await engine.dispose()
            return found

        assert asyncio.run(program()) == "accounts 1 7"

    def test_without_an_engine_it_is_called_as_it_is(self):
        class Accounts:
            @retry_locked()
            def add(self, amount: int) -> int:
                return 6 * amount

        assert Accounts().add(7) == 42
