"""LockTable beside the application's own transactions: whatever the driver is set to, however long one of them is open, one holder alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from holdfast.databases import AsyncLockTable, LockTable, ResourceLockedError
from tests.databases.conftest import MakeEngine
from tests.databases.test_locktable import ASYNC, make_engine, make_locks, make_orders
from tests.databases.test_locktable_line import make_url

__all__ = ["make_engine", "make_locks", "make_orders", "make_url"]


# -- the driver's own autocommit ---------------------------------------------------------------------


def in_autocommit(url: str) -> dict[str, object]:
    """What puts the driver itself into autocommit, behind SQLAlchemy's back."""
    return {"isolation_level": None} if url.startswith("sqlite") else {"autocommit": True}


def test_one_holder_alone_where_the_driver_is_in_autocommit(url: str, engine_for: MakeEngine):
    """The one who comes later looks while the one before is between its look and its grant."""
    engine = engine_for(url, connect_args=in_autocommit(url))
    LockTable(engine).create()
    before, after = LockTable(engine), LockTable(engine)
    looked, ended = threading.Event(), threading.Event()
    put, tokens, refused = before.rows.put, [], []

    def later() -> None:
        looked.wait(60)
        try:
            tokens.append(after.acquire("/a", "bob").fencing_token)
        except ResourceLockedError as error:
            refused.append(str(error))
        ended.set()

    def put_late(*args) -> None:
        before.rows.put = put
        looked.set()
        assert not ended.wait(0.3)
        put(*args)

    before.rows.put = put_late
    thread = threading.Thread(target=later)
    thread.start()
    try:
        tokens.append(before.acquire("/a", "ada").fencing_token)
    finally:
        looked.set()
        thread.join(60)
    assert tokens == [1]
    assert [one.startswith("ada has locked /a") for one in refused] == [True]
    with pytest.raises(ResourceLockedError):
        after.acquire("/a", "cyd")  # and a refusal was rolled back
    assert before.acquire("/b", "ada").fencing_token == 2


def test_who_asks_in_autocommit_that_the_lock_stays_is_told_that_it_does_not(url: str, engine_for: MakeEngine):
    LockTable(engine_for(url)).create()
    lock = LockTable(engine_for(url)).acquire("/a", "ada")
    for options in ({"connect_args": in_autocommit(url)}, {"isolation_level": "AUTOCOMMIT"}):
        engine = engine_for(url, **options)
        locks = LockTable(engine)
        with engine.connect() as connection, pytest.raises(RuntimeError, match="the connection is in autocommit"):
            locks.confirm(connection, lock)
    engine = engine_for(url)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        LockTable(engine).confirm(connection, lock)


def test_asynchronous_drivers_in_autocommit_grant_a_lock_once(url: str):
    scheme, _, rest = url.partition("://")
    options = {} if scheme.startswith("postgresql") else {"connect_args": in_autocommit(url)}

    async def program(engine: AsyncEngine) -> None:
        locks = AsyncLockTable(engine)
        await locks.create()
        lock = await locks.acquire("/a", "ada")
        for _ in range(2):
            with pytest.raises(ResourceLockedError):
                await locks.acquire("/a", "bob")  # its turn was undone: no fencing token is used
        await locks.release(lock)
        lock = await locks.acquire("/a", "bob")
        assert lock.fencing_token == 2
        async with engine.begin() as connection:
            if options:
                with pytest.raises(RuntimeError, match="autocommit"):
                    await locks.confirm(connection, lock)
        await engine.dispose()

    asyncio.run(program(create_async_engine(f"{ASYNC[scheme]}://{rest}", **options)))


def test_a_driver_whose_commit_ends_nothing_is_refused(tmp_path, engine_for: MakeEngine):
    """autocommit=True of Python 3.12's sqlite3, here by a connection that says so."""

    class Connection(sqlite3.Connection):
        autocommit = True

    engine = engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"factory": Connection})
    locks = LockTable(engine)
    locks.create()
    with pytest.raises(RuntimeError, match="autocommit=True in connect_args"):
        locks.acquire("/a", "ada")
