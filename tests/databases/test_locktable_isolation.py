"""LockTable beside the application's own transactions: whatever the driver is set to, however long one of them is open, one holder alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool, SingletonThreadPool, StaticPool

from holdfast.core.model import Depth, Lock
from holdfast.databases import AsyncLockTable, DatabaseLockedError, LockLostError, LockTable, ResourceLockedError
from holdfast.databases.lockrows import DatabaseNow
from tests.databases.conftest import MakeEngine
from tests.databases.test_locktable import ASYNC, HOUR_MS, later, make_engine, make_locks, make_orders
from tests.databases.test_locktable_line import make_url

__all__ = ["make_engine", "make_locks", "make_orders", "make_url"]

SERVERS = [
    pytest.param("postgres", marks=pytest.mark.process),
    pytest.param("mariadb", marks=[pytest.mark.process, pytest.mark.tool("mariadbd")]),
    pytest.param("mysql", marks=[pytest.mark.process, pytest.mark.tool("mysqld")]),
]
"""Where rows are locked, and not the whole database."""


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


@pytest.mark.parametrize("pool", [StaticPool, SingletonThreadPool])
def test_a_transaction_outside_on_the_only_connection_is_not_committed_with_a_lock(
    pool: type[Pool], engine_for: MakeEngine
):
    engine = engine_for("sqlite://", poolclass=pool, connect_args={"check_same_thread": False})
    locks = LockTable(engine)
    locks.create()
    orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True))
    orders.create(engine)
    with engine.connect() as connection:
        connection.execute(orders.insert().values(id=1))
        with pytest.raises(RuntimeError, match="Commit first"):
            locks.acquire("/a", "ada")
    with engine.begin() as connection:
        assert connection.execute(select(orders)).all() == []
        locks.acquire("/a", "ada")  # it has only read: nothing was begun


# -- beside a transaction that writes under a lock -----------------------------------------------------


def writing_under(how: str, connection: Connection, locks: LockTable, orders: Table, lock: Lock) -> None:
    if how == "guard":
        assert connection.execute(update(orders).where(locks.guard(lock)).values(n=7)).rowcount == 1
    else:
        locks.confirm(connection, lock)
        connection.execute(update(orders).values(n=7))


@contextmanager
def at_the_same_time(work: Callable[[], object]) -> Iterator[threading.Event]:
    """Somebody else does this; the event is set when it is done, which it is at the end of the block at the latest."""
    done = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            errors.append(error)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        thread.join(60)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("how", ["guard", "confirm"])
@pytest.mark.parametrize("ends", ["break with a grace", "break with a grace, and expiry before it"])
def test_a_break_with_a_grace_does_not_end_the_lock_within_a_guarded_transaction(
    locks: LockTable, engine: Engine, orders: Table, how: str, ends: str
):
    """The grace is over while the transaction is at work: the next holder waits for the commit, and sees what it wrote."""
    lock = locks.acquire("/orders/42", "ada", ttl=7200)
    locks.break_(lock.id, "root", "deploy", after=600)
    if "expiry" in ends:
        lock = locks.refresh(lock, ttl=60)
    after = later(engine, 300_000 if "expiry" in ends else HOUR_MS)
    seen: list[int] = []

    def take() -> None:
        after.acquire("/orders/42", "bob")
        with engine.connect() as connection:
            seen.append(connection.execute(select(orders.c.n)).scalar_one())

    with ExitStack() as stack:
        with engine.begin() as connection:
            writing_under(how, connection, locks, orders, lock)
            taken = stack.enter_context(at_the_same_time(take))
            assert not taken.wait(0.3)
    assert seen == [7]
    with pytest.raises(LockLostError, match="has expired" if "expiry" in ends else "broken by root at .*: deploy"):
        after.release(lock)


@pytest.mark.parametrize("how", ["guard", "confirm"])
@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_a_guarded_transaction_keeps_no_other_lock_from_being_granted_refreshed_or_ended(
    locks: LockTable, engine: Engine, orders: Table, how: str
):
    """Neither those on the resources beside it, on whatever side of it they sort."""
    others = LockTable(engine, deadline=2)
    before, behind = others.acquire("/orders/1", "bob"), others.acquire("/orders/5", "bob")
    lock = locks.acquire("/orders/3", "ada")
    gone = others.acquire("/orders/6", "bob", ttl=60)
    with engine.begin() as connection:
        writing_under(how, connection, locks, orders, lock)
        for place in ("/order", "/orders/2", "/orders/30", "/orders/4", "/z"):
            others.acquire(place, "bob")
        others.refresh(before)
        others.break_(behind.id, "root", "deploy")
        others.release(before)
        for place in ("/orders/1", "/orders/5"):
            others.acquire(place, "cyd")
        LockTable(engine, deadline=2, now=DatabaseNow() + 120_000).acquire(gone.root, "cyd")
        with pytest.raises(ResourceLockedError):
            others.acquire("/orders/3", "bob")
        with pytest.raises(ResourceLockedError):
            others.acquire("/orders", "bob", depth=Depth.INFINITY)
        assert others.in_the_way("/orders/3") is not None


@pytest.mark.parametrize("url", SERVERS, indirect=True)
@pytest.mark.parametrize("what", ["break", "break first", "release", "refresh", "grant"])
def test_whoever_waits_for_a_guarded_transaction_keeps_nobody_else_waiting(
    locks: LockTable, engine: Engine, orders: Table, what: str
):
    lock = locks.acquire("/orders/3", "ada", ttl=60)
    work = {
        "break": lambda: locks.break_(lock.id, "root", "deploy"),
        "break first": lambda: locks.acquire("/orders/3", "root", break_first="deploy", may_break=True),
        "release": lambda: locks.release(lock),
        "refresh": lambda: locks.refresh(lock),
        "grant": lambda: later(engine).acquire("/orders/3", "bob"),
    }[what]
    others = LockTable(engine, deadline=2)
    with ExitStack() as stack:
        with engine.begin() as connection:
            writing_under("guard", connection, locks, orders, lock)
            done = stack.enter_context(at_the_same_time(work))
            assert not done.wait(0.3)
            for place in ("/orders/2", "/other"):
                others.release(others.acquire(place, "bob"))
            assert not done.is_set()
    holder = locks.find("/orders/3") if what != "grant" else later(engine).find("/orders/3")
    told = {"break first": ["root"], "refresh": ["ada"], "grant": ["bob"]}.get(what, [])
    assert [one.principal for one in holder] == told


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_who_waits_for_a_guarded_transaction_in_vain_learns_that_the_database_is_locked(
    locks: LockTable, engine: Engine, orders: Table
):
    """A refresh from within one's own transaction, say: on another connection it waits for itself."""
    lock = locks.acquire("/orders/3", "ada", ttl=60)
    hasty = LockTable(engine, deadline=0.2)
    with engine.begin() as connection:
        locks.confirm(connection, lock)
        with pytest.raises(DatabaseLockedError):
            hasty.refresh(lock)
        with pytest.raises(DatabaseLockedError):
            LockTable(engine, deadline=0.2, now=DatabaseNow() + HOUR_MS).acquire("/orders/3", "bob")
    hasty.refresh(lock)


def test_a_lock_that_was_refreshed_before_its_place_was_given_away_is_held(
    url: str, engine: Engine, engine_for: MakeEngine, locks: LockTable
):
    """Between the look at what has expired and its row somebody has refreshed it, which was in time: whoever asks looks again."""
    lock = locks.acquire("/a", "ada", ttl=60)
    hour = later(engine)
    find, seize = hour.rows.seize, []

    def refresh_first(connection: Connection, ids: list[str], now: int, *, live: bool) -> list:
        if not seize:
            seize.append(ids)
            if url.startswith("sqlite"):  # where nobody can come between
                connection.execute(update(locks.rows.table).values(expires_at_ms=now + HOUR_MS))
            else:
                locks.refresh(lock, ttl=7200)
        return find(connection, ids, now, live=live)

    hour.rows.seize = refresh_first
    if url.startswith("sqlite"):
        assert hour.acquire("/a", "bob").fencing_token == 2  # that was rolled back
        return
    with pytest.raises(ResourceLockedError):
        hour.acquire("/a", "bob")
    assert seize == [[lock.id]]
