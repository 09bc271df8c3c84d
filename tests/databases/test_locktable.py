"""LockTable: one holder at a time in every database, fencing tokens that only rise, and writes that a lost lock does not let through."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import Depth, EventKind, LockScope
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.databases import (
    AsyncLockTable,
    LockLostError,
    LockTable,
    NotHolderError,
    ResourceLockedError,
    begin_immediate,
)
from holdfast.databases.lockrows import DatabaseNow
from holdfast.wire.locked import locked_response, parse_locked_problem, retry_after
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database

ROOT = Path(__file__).parents[2]
DATABASES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.process),
    pytest.param("mariadb", marks=[pytest.mark.process, pytest.mark.tool("mariadbd")]),
    pytest.param("mysql", marks=[pytest.mark.process, pytest.mark.tool("mysqld")]),
]
HOUR_MS = 3_600_000


@pytest.fixture(name="url", params=DATABASES)
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    server: Database = request.getfixturevalue(request.param)
    url = server.postgres() if request.param == "postgres" else server.mariadb()
    return url.render_as_string(hide_password=False)


@pytest.fixture(name="engine")
def make_engine(url: str, engine_for: MakeEngine) -> Engine:
    return engine_for(url)


@pytest.fixture(name="locks")
def make_locks(engine: Engine) -> LockTable:
    locks = LockTable(engine)
    locks.create()
    return locks


@pytest.fixture(name="orders")
def make_orders(engine: Engine) -> Table:
    orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
    orders.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(orders).values(id=42, n=0))
    return orders


def later(engine: Engine, milliseconds: int = HOUR_MS) -> LockTable:
    """The same locks, seen when this time has gone by."""
    return LockTable(engine, now=DatabaseNow() + milliseconds)


# -- the rules ---------------------------------------------------------------------------------------


def test_a_second_one_is_told_who_has_it_since_when_and_until_when(locks: LockTable):
    lock = locks.acquire("/orders/42", "ada", reason="invoice", client="backoffice/2", ttl=600)
    assert lock.expires_at is not None
    assert lock.expires_at - lock.created_at == timedelta(seconds=600)
    assert abs(datetime.now(UTC) - lock.created_at) < timedelta(minutes=1)
    with pytest.raises(ResourceLockedError) as caught:
        locks.acquire("/orders/42", "bob")
    assert str(caught.value).startswith("ada has locked /orders/42 (backoffice) since ")
    assert "reason: invoice" in str(caught.value)
    response = locked_response(caught.value.answer, "application/json")
    problem = parse_locked_problem(bytes(response.body))
    assert response.status == 423
    assert problem is not None
    assert (problem.locks[0].holder.name, problem.retry_after) == ("ada", 60)
    assert lock.token not in str(response)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("held", "asked", "granted"),
    [
        (("/orders", Depth.INFINITY), ("/orders/42", Depth.ZERO), False),
        (("/orders/42", Depth.ZERO), ("/orders", Depth.INFINITY), False),
        (("/", Depth.INFINITY), ("/orders/42", Depth.ZERO), False),
        (("/orders/42", Depth.ZERO), ("/", Depth.INFINITY), False),
        (("/orders", Depth.ZERO), ("/orders/42", Depth.ZERO), True),
        (("/orders/42", Depth.ZERO), ("/orders/43", Depth.ZERO), True),
        (("/orders", Depth.INFINITY), ("/orders2/42", Depth.ZERO), True),
        (("/orders-2", Depth.ZERO), ("/orders", Depth.INFINITY), True),
        (("/Orders/42", Depth.ZERO), ("/orders/42", Depth.ZERO), True),
        (("/größe/ß", Depth.ZERO), ("/größe/ss", Depth.ZERO), True),
        (("/größe/\U0001f512", Depth.ZERO), ("/größe", Depth.INFINITY), False),
        (("/orders/a%", Depth.ZERO), ("/orders/a_", Depth.INFINITY), True),
    ],
)
def test_what_covers_what_is_the_servers_own_rule(locks: LockTable, held: tuple, asked: tuple, granted: bool):
    locks.acquire(held[0], "ada", depth=held[1])
    with nullcontext() if granted else pytest.raises(ResourceLockedError):
        locks.acquire(asked[0], "bob", depth=asked[1])


def test_shared_locks_stand_beside_each_other_and_not_beside_an_exclusive_one(locks: LockTable):
    locks.acquire("/report", "ada", scope=LockScope.SHARED)
    locks.acquire("/report", "bob", scope=LockScope.SHARED)
    with pytest.raises(ResourceLockedError) as caught:
        locks.acquire("/report", "eve")
    assert [lock.holder.name for lock in caught.value.answer.locks] == ["ada", "bob"]


def test_a_change_is_let_through_for_the_holder_with_the_token_alone(locks: LockTable):
    lock = locks.acquire("/orders", "ada", depth=Depth.INFINITY)
    assert locks.in_the_way("/orders/42", [lock.token], "ada") is None
    assert locks.in_the_way("/elsewhere") is None
    for tokens, holder in (([], "ada"), ([lock.token], "bob"), (["urn:uuid:none"], "ada")):
        answer = locks.in_the_way("/orders/42", tokens, holder)
        assert answer is not None
        assert 1 <= retry_after(answer) <= 60
    tree = Effect(ResourcePath("/"), Reach.TREE)
    assert locks.check([tree], [], "bob") is not None
    assert locks.check([tree], [lock.token], "ada") is None


def test_an_expired_lock_is_none(locks: LockTable, engine: Engine):
    lock = locks.acquire("/orders/42", "ada", ttl=60)
    future = later(engine)
    assert future.in_the_way("/orders/42") is None
    assert future.find("/orders/42") == []
    with pytest.raises(LockLostError, match="has expired at"):
        future.refresh(lock)
    assert future.acquire("/orders/42", "bob").fencing_token == 2
    with pytest.raises(LockLostError, match="has expired"):
        future.release(lock)


def test_a_refresh_counts_from_now_on(locks: LockTable, engine: Engine):
    lock = locks.acquire("/orders/42", "ada", ttl=7200)
    again = later(engine).refresh(lock, ttl=7200)
    assert again.expires_at is not None
    assert lock.expires_at is not None
    assert timedelta(minutes=59) < again.expires_at - lock.expires_at < timedelta(minutes=61)
    assert (again.token, again.fencing_token) == (lock.token, lock.fencing_token)


def test_release_is_harmless_when_repeated_and_only_the_holders(locks: LockTable):
    lock = locks.acquire("/orders/42", "ada")
    with pytest.raises(NotHolderError, match="ada holds"):
        locks.release(lock.token, holder="bob")
    with pytest.raises(LockLostError):
        locks.release("urn:uuid:guessed")
    with pytest.raises(LockLostError):
        locks.release(lock.id)  # the id is public, and opens nothing
    locks.release(lock.token, holder="ada")
    locks.release(lock)
    assert locks.find("/", below=True) == []


def test_a_former_holder_is_told_who_broke_the_lock_and_why(locks: LockTable):
    lock = locks.acquire("/orders/42", "ada")
    with pytest.raises(NotHolderError):
        locks.break_(lock.id, "bob", "mine now", may_break=False)
    locks.break_(lock.id, "root", "deploy")
    for ask in (locks.refresh, locks.release):
        with pytest.raises(LockLostError, match=r"has been broken by root at .*: deploy") as caught:
            ask(lock)
        assert caught.value.ended is not None
        assert caught.value.ended.how is EventKind.BROKEN
    locks.acquire("/orders/42", "bob")
    answer = locks.in_the_way("/orders/42", [lock.token], "ada")
    assert answer is not None
    assert "Your lock was broken by root" in answer.note


def test_a_break_with_a_grace_ends_the_lock_then_and_no_refresh_helps(locks: LockTable, engine: Engine):
    lock = locks.acquire("/orders/42", "ada", ttl=7200)
    told, ended = locks.break_(lock.id, "root", "deploy", after=600)
    assert ended is None
    assert told.expires_at is not None
    assert locks.refresh(lock, ttl=7200).expires_at == told.expires_at
    assert locks.in_the_way("/orders/42") is not None
    with pytest.raises(LockLostError, match="broken by root"):
        later(engine).refresh(lock)


def test_breaking_first_takes_ones_own_lock_over_and_others_only_where_that_is_allowed(locks: LockTable):
    ada = locks.acquire("/orders/42", "ada")
    assert locks.acquire("/orders/42", "ada", break_first="other window").fencing_token == ada.fencing_token + 1
    with pytest.raises(ResourceLockedError):
        locks.acquire("/orders/42", "bob", break_first="me")
    locks.acquire("/orders/42", "root", break_first="deploy", may_break=True)


def test_the_same_id_again_is_the_same_lock(locks: LockTable):
    lock = locks.acquire("/orders/42", "ada", lock_id="form-7")
    assert locks.acquire("/orders/42", "ada", lock_id="form-7") == lock
    with pytest.raises(ValueError, match="already"):
        locks.acquire("/orders/42", "bob", lock_id="form-7")
    found = locks.describe("form-7")
    assert found == (lock, None)
    assert locks.describe("form-8") is None


def test_a_lock_is_waited_for(locks: LockTable, engine: Engine):
    lock = locks.acquire("/orders/42", "ada")
    with pytest.raises(ResourceLockedError):
        locks.acquire("/orders/42", "bob", wait=0.01)
    releasing = threading.Timer(0.05, lambda: LockTable(engine).release(lock))
    releasing.start()
    assert locks.acquire("/orders/42", "bob", wait=30).principal == "bob"
    releasing.join()


def test_a_block_holds_a_lock_and_learns_at_its_end_that_it_was_lost(locks: LockTable):
    with locks.hold("/nightly", "cron", reason="backup"):
        assert locks.in_the_way("/nightly") is not None
    assert locks.in_the_way("/nightly") is None
    with pytest.raises(LockLostError), locks.hold("/nightly", "cron") as lock:
        locks.break_(lock.id, "root", "too slow")
    with (
        pytest.raises(ZeroDivisionError),
        locks.hold("/nightly", "cron") as lock,
    ):  # what went wrong first is what is told
        _ = locks.break_(lock.id, "root", "too slow"), 1 / 0


@pytest.mark.parametrize(
    ("resource", "holder", "wish", "error"),
    [
        ("orders", "ada", {}, InvalidPathError),
        ("/" + "x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + "/" + "w" * 200, "ada", {}, InvalidPathError),
        ("/orders", "", {}, ValueError),
        ("/orders", "a" * 256, {}, ValueError),
        ("/orders", "ada", {"lock_id": "no/slash"}, ValueError),
    ],
)
def test_what_cannot_be_kept_is_refused_before_it_is_tried(
    resource: str, holder: str, wish: dict, error: type[Exception]
):
    with pytest.raises(error):
        LockTable(MetaData()).acquire(resource, holder, **wish)


def test_an_unbound_table_says_what_is_missing():
    with pytest.raises(RuntimeError, match="bind"):
        LockTable(MetaData()).acquire("/orders", "ada")


# -- writes under a lock -----------------------------------------------------------------------------


def write(session: Session, locks: LockTable, orders: Table, lock, value: int) -> int:
    return session.execute(update(orders).where(orders.c.id == 42, locks.guard(lock)).values(n=value)).rowcount


def test_a_guarded_update_changes_nothing_once_the_lock_is_lost(locks: LockTable, engine: Engine, orders: Table):
    lock = locks.acquire("/orders/42", "ada", ttl=60)
    with Session(engine) as session, session.begin():
        assert write(session, locks, orders, lock, 1) == 1
        assert write(session, later(engine), orders, lock, 2) == 0
    locks.break_(lock.id, "root", "deploy")
    with Session(engine) as session, session.begin():
        assert write(session, locks, orders, lock, 3) == 0
        with pytest.raises(LockLostError, match="broken by root"):
            locks.confirm(session, lock)
        assert session.scalar(select(orders.c.n)) == 1


@pytest.mark.parametrize("how", ["guard", "confirm"])
def test_nobody_gets_the_lock_before_a_guarded_transaction_has_ended(
    locks: LockTable, engine: Engine, orders: Table, how: str
):
    """Its time may run out between the check and the commit: the next holder waits for the commit, and sees what it wrote."""
    lock = locks.acquire("/orders/42", "ada", ttl=60)
    granted = threading.Event()
    seen: list[int] = []

    def take() -> None:
        later(engine).acquire("/orders/42", "bob")
        granted.set()
        with engine.connect() as connection:
            seen.append(connection.execute(select(orders.c.n)).scalar_one())

    taking = threading.Thread(target=take)
    with Session(engine) as session, session.begin():
        if how == "guard":
            assert write(session, locks, orders, lock, 7) == 1
        else:
            locks.confirm(session, lock)
            session.execute(update(orders).values(n=7))
        taking.start()
        assert not granted.wait(0.3)
    taking.join(30)
    assert granted.is_set()
    assert seen == [7]


# -- many at once ------------------------------------------------------------------------------------


@contextmanager
def workers(work: str, url: str, count: int, number: int = 3) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready, and begin when a line is sent."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.databases.locking_worker", work, url, f"worker{index}", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for index in range(number)
    ]
    try:
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


@pytest.mark.process
def test_of_processes_that_want_the_same_one_gets_it(locks: LockTable, url: str):
    with workers("acquire", url, 10) as started:
        for one in started:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        told = [one.communicate(timeout=100)[0] for one in started]
        assert [one.returncode for one in started] == [0] * 3
    granted = [tuple(map(int, line.split())) for text in told for line in text.splitlines()]
    assert sorted(number for number, _ in granted) == list(range(10))
    assert sorted(token for _, token in granted) == list(range(1, 11))
    for text_ in told:
        tokens = [int(line.split()[1]) for line in text_.splitlines()]
        assert tokens == sorted(tokens)


@pytest.mark.process
def test_a_fencing_token_is_never_given_twice_whoever_is_killed(locks: LockTable, url: str):
    seen: list[int] = []
    with workers("churn", url, 0) as started:
        for one in started:
            assert one.stdin is not None
            assert one.stdout is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        for one in started:
            assert one.stdout is not None
            seen += [int(one.stdout.readline()) for _ in range(5)]
            one.kill()
            seen += [int(line) for line in one.stdout.read().splitlines()]
    assert len(seen) == len(set(seen))
    assert locks.acquire("/of/nobody", "ada").fencing_token > max(seen)


def test_the_counter_begins_above_what_was_given_out_where_somebody_has_emptied_it(locks: LockTable, engine: Engine):
    locks.acquire("/a", "ada")
    locks.acquire("/b", "ada")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM holdfast_locks_counter"))
    assert locks.acquire("/c", "ada").fencing_token == 3


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_the_applications_level_of_isolation_makes_no_difference(url: str, engine_for: MakeEngine, level: str):
    engine = engine_for(url, isolation_level=level, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    locks = LockTable(engine, deadline=60)
    locks.create()
    winners: list[int] = []
    together = threading.Barrier(4)

    def take(index: int) -> None:
        together.wait(30)
        try:
            locks.acquire("/one", f"thread{index}")
        except ResourceLockedError:
            return
        winners.append(index)

    threads = [threading.Thread(target=take, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


def test_it_goes_together_with_begin_immediate(tmp_path: Path, engine_for: MakeEngine):
    engine = engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0})
    begin_immediate(engine)
    locks = LockTable(engine)
    locks.create()
    lock = locks.acquire("/orders/42", "ada")
    with engine.begin():  # somebody writes: whoever only asks does not wait for that
        assert LockTable(engine, deadline=0).in_the_way("/orders/42") is not None
    locks.release(lock)


# -- asynchronously ----------------------------------------------------------------------------------

ASYNC = {"sqlite": "sqlite+aiosqlite", "postgresql+psycopg": "postgresql+asyncpg", "mysql+pymysql": "mysql+aiomysql"}


def test_the_asynchronous_twin_does_the_same(url: str):
    scheme, _, rest = url.partition("://")

    async def program(engine: AsyncEngine) -> None:
        locks = AsyncLockTable(engine)
        await locks.create()
        orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
        lock = await locks.acquire("/orders/42", "ada", ttl=60)
        with pytest.raises(ResourceLockedError):
            await locks.acquire("/orders", "bob", depth=Depth.INFINITY)
        assert await locks.in_the_way("/orders/42", [lock.token], "ada") is None
        assert await locks.in_the_way("/orders/42") is not None
        async with engine.begin() as connection:
            await connection.run_sync(orders.create)
            await locks.confirm(connection, lock)
            await connection.execute(insert(orders).values(id=42, n=0))
            found = await connection.execute(update(orders).where(locks.guard(lock)).values(n=1))
            assert found.rowcount == 1
        await locks.refresh(lock, ttl=600)
        assert [one.id for one in await locks.find("/orders/42")] == [lock.id]
        await locks.break_(lock.id, "root", "deploy")
        with pytest.raises(LockLostError):
            await locks.release(lock)
        async with locks.hold("/orders/42", "bob") as held:
            assert held.fencing_token == 2
        assert (await locks.describe(held.id) or (None, None))[1] is not None
        results = await asyncio.gather(
            *(locks.acquire("/one", f"task{index}") for index in range(4)), return_exceptions=True
        )
        assert [isinstance(one, ResourceLockedError) for one in results].count(True) == 3
        await engine.dispose()

    asyncio.run(program(create_async_engine(f"{ASYNC[scheme]}://{rest}")))
