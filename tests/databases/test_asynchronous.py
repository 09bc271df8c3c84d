"""The asynchronous twins: what the plain functions do, over the engine's own driver, with the event loop going on meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import holdfast.databases
from holdfast.databases import Examination, TerminationError, examine_async, terminate_async, who, who_async
from tests.databases.servers import Database
from tests.databases.sessions import eventually, mariadb_holder, postgres_holder, sqlite_holder

pytestmark = pytest.mark.process
T = TypeVar("T")
TABLE = "CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, n int)"


def with_engine(url: URL | str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def program() -> T:
        engine = create_async_engine(url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(program())


async def end_all(engine: AsyncEngine) -> tuple[list[bool], bool]:
    """Whether each holder was ended, and whether ending the first once more did anything."""
    holders = await who_async(engine)
    ended = [await terminate_async(one, reason="test", engine=engine) for one in holders]
    return ended, await terminate_async(holders[0], reason="test", engine=engine)


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


def test_every_question_and_every_deed_has_its_twin():
    """What asks or waits for a database; the rest is done without one, or is for both colours."""
    plain = {"answer_error", "examine", "retrying", "run_locked", "terminate", "who"}
    for_both = {
        "begin_immediate",
        "classify",
        "is_immediate",
        "locked_answer",
        "open_transactions",
        "retry_locked",
        "watch",
    }
    functions = {name for name in holdfast.databases.__all__ if name[0].islower()}
    assert functions == plain | for_both | {f"{name}_async" for name in plain}


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_postgresql_is_examined_and_its_holder_ended(postgres: Database, driver: str):
    with postgres_holder(postgres, TABLE):
        found = with_engine(postgres.postgres(driver), examine_async)
        assert found.version.startswith("PostgreSQL")
        assert [one.program for one in found.holders] == ["reports"]
        assert with_engine(postgres.postgres(driver), end_all) == ([True], False)
        assert who(postgres.postgres()) == []


@pytest.mark.tool("mariadbd")
def test_mariadb_too(mariadb: Database):
    with mariadb_holder(mariadb, TABLE, "LOCK TABLES orders WRITE", "BEGIN", "INSERT INTO orders VALUES (1, 0)"):
        found = with_engine(mariadb.mariadb("aiomysql"), examine_async)
        assert "MariaDB" in found.version
        ended, again = with_engine(mariadb.mariadb("aiomysql"), end_all)
    assert (all(ended), again) == (True, False)
    eventually(lambda: who(mariadb.mariadb()) == [])  # InnoDB's views are somewhat behind


def test_the_settings_of_asynchronous_sqlite_connections_are_told(path: Path):
    found = with_engine(f"sqlite+aiosqlite:///{path}?timeout=3", examine_async)
    told = {one.name: one.value for one in found.settings}
    assert (told["busy_timeout"], told["transactions"]) == ("3000 ms", "deferred")


def test_a_process_is_ended_while_the_loop_goes_on(path: Path):
    async def end(engine: AsyncEngine) -> bool:
        [holder] = await who_async(engine)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        beating = asyncio.create_task(beat())
        ended = await terminate_async(holder, reason="test", engine=engine, signal=signal.SIGTERM)
        beating.cancel()
        return ended and beats > 1

    with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
        assert with_engine(f"sqlite+aiosqlite:///{path}", end)
        assert process.wait(20) == -signal.SIGTERM


def test_what_has_no_asynchronous_driver_is_asked_in_a_thread(path: Path, postgres: Database):
    async def ask() -> list[Examination]:
        return [await examine_async(path), await examine_async(postgres.postgres("psycopg2"))]

    file, server = asyncio.run(ask())
    assert (file.version, server.version.split()[0]) == ("SQLite", "PostgreSQL")


def test_a_deed_without_a_reason_is_refused_there_too(postgres: Database):
    async def end(engine: AsyncEngine) -> None:
        [holder] = await who_async(engine)
        await terminate_async(holder, reason=" ", engine=engine)

    with postgres_holder(postgres, TABLE), pytest.raises(TerminationError, match="A reason is needed"):
        with_engine(postgres.postgres("asyncpg"), end)
