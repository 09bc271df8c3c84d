"""Waiting for a lock of a LockTable: first come, first served in every database, and whoever is gone blocks nobody for long."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import BigInteger, Engine, bindparam, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from holdfast.core.model import Depth, LockScope
from holdfast.core.queueing import PARKED_LEASE
from holdfast.databases import (
    AsyncLockTable,
    DatabaseLockedError,
    LockTable,
    ResourceLockedError,
    TableMissingError,
)
from holdfast.databases.lockasking import Asking
from holdfast.databases.lockrows import DatabaseNow
from holdfast.databases.lockwaiting import Look, Step
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.test_locktable import ASYNC, make_engine, make_locks, workers

__all__ = ["make_engine", "make_locks"]

LEASE_MS = round(PARKED_LEASE.total_seconds() * 1000)
PATIENCE_S = 60
EXCLUSIVE, SHARED = LockScope.EXCLUSIVE, LockScope.SHARED


@pytest.fixture(
    name="url",
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.process),
        pytest.param("mariadb", marks=[pytest.mark.process, pytest.mark.tool("mariadbd")]),
        pytest.param("mysql", marks=[pytest.mark.process, pytest.mark.tool("mysqld")]),
    ],
)
def make_url(request: pytest.FixtureRequest, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    server: Database = request.getfixturevalue(request.param)
    return getattr(server, request.param)().render_as_string(hide_password=False)


def line(locks: LockTable) -> list[str]:
    """Who stands in line, lapsed or not."""
    table = locks.places.table
    with locks.engine.connect() as connection:
        return list(connection.execute(select(table.c.principal).order_by(table.c.seq)).scalars())


def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come."""
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def standing(locks: LockTable, resource: str, holder: str, **wish) -> Asking:
    """Somebody in line, of whom the test says when each step is taken."""
    asked = locks.asking(resource, holder, wish)
    assert go(locks, asked, Step.TRY) is Look.NEAR
    return asked


def go(locks: LockTable, asked: Asking, step: Step) -> Look:
    do = locks._read if step is Step.LOOK else locks._run
    return do(lambda connection: asked.go(connection, step))


def later(engine: Engine, milliseconds: int) -> LockTable:
    return LockTable(engine, now=DatabaseNow() + milliseconds)


@contextmanager
def refusal() -> Iterator[list[ResourceLockedError]]:
    caught: list[ResourceLockedError] = []
    with pytest.raises(ResourceLockedError) as found:
        yield caught
    caught.append(found.value)


# -- order ---------------------------------------------------------------------------------------------


def test_threads_are_granted_the_lock_in_the_order_in_which_they_came(locks: LockTable):
    held = locks.acquire("/a", "ada")
    granted: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def stand(number: int) -> None:
        with locks.hold("/a", f"waiter{number}", wait=PATIENCE_S) as lock:
            granted.put((number, lock.fencing_token))

    threads = [threading.Thread(target=stand, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(line(locks)) == number + 1)
    locks.release(held)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [granted.get(timeout=1) for _ in threads] == [(number, number + 2) for number in range(5)]
    assert line(locks) == []


@pytest.mark.process
def test_processes_are_granted_the_lock_in_the_order_in_which_they_came(locks: LockTable, url: str):
    held = locks.acquire("/a", "ada")
    with workers("wait", url, 0) as started:
        for number, one in enumerate(started):
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
            until(lambda number=number: len(line(locks)) == number + 1)
        assert line(locks) == ["worker0", "worker1", "worker2"]
        locks.release(held)
        tokens = [int(one.communicate(timeout=PATIENCE_S)[0]) for one in started]
    assert tokens == [2, 3, 4]
    assert line(locks) == []


def test_nobody_in_the_line_tries_before_those_who_came_first(locks: LockTable):
    held = locks.acquire("/a", "ada")
    first, second = standing(locks, "/a", "bob"), standing(locks, "/a", "cyd")
    assert [go(locks, one, Step.LOOK) for one in (first, second)] == [Look.NEAR, Look.NEAR]
    locks.release(held)
    assert [go(locks, one, Step.LOOK) for one in (second, first)] == [Look.NEAR, Look.TURN]
    assert go(locks, second, Step.TRY) is Look.NEAR
    assert go(locks, first, Step.TRY) is Look.GRANTED
    assert line(locks) == ["cyd"]


@pytest.mark.parametrize(
    ("waits", "asks", "passes"),
    [
        (("/a", EXCLUSIVE, Depth.ZERO), ("/a", EXCLUSIVE, Depth.ZERO), False),
        (("/a", EXCLUSIVE, Depth.ZERO), ("/a", SHARED, Depth.ZERO), False),
        (("/a", SHARED, Depth.ZERO), ("/a", EXCLUSIVE, Depth.ZERO), False),
        (("/a", SHARED, Depth.ZERO), ("/a", SHARED, Depth.ZERO), True),
        (("/a", EXCLUSIVE, Depth.INFINITY), ("/a/b", SHARED, Depth.ZERO), False),
        (("/a/b", EXCLUSIVE, Depth.ZERO), ("/a", EXCLUSIVE, Depth.INFINITY), False),
        (("/a", EXCLUSIVE, Depth.ZERO), ("/a/b", EXCLUSIVE, Depth.ZERO), True),
        (("/a", EXCLUSIVE, Depth.ZERO), ("/A", EXCLUSIVE, Depth.ZERO), True),
        (("/a/b", EXCLUSIVE, Depth.ZERO), ("/a/c", EXCLUSIVE, Depth.ZERO), True),
    ],
)
def test_a_newcomer_who_does_not_wait_passes_nobody_with_whom_it_conflicts(
    locks: LockTable, waits: tuple, asks: tuple, passes: bool
):
    held = locks.acquire("/", "ada", depth=Depth.INFINITY)
    place = standing(locks, waits[0], "bob", scope=waits[1], depth=waits[2])
    locks.release(held)
    if passes:
        locks.acquire(asks[0], "cyd", scope=asks[1], depth=asks[2])
        return
    with refusal() as caught:
        locks.acquire(asks[0], "cyd", scope=asks[1], depth=asks[2])
    answer = caught[0].answer
    assert answer.locks == ()
    assert answer.line is not None
    assert answer.line.first is not None
    assert (answer.line.first.principal, answer.line.length, answer.line.position) == ("bob", 1, None)
    assert "bob is next in line" in str(caught[0])
    assert go(locks, place, Step.TRY) is Look.GRANTED


def test_no_reader_passes_a_waiting_writer_and_readers_are_granted_together(locks: LockTable):
    held = locks.acquire("/a", "ada", scope=SHARED)
    writer = standing(locks, "/a", "bob")
    readers = [standing(locks, "/a", name, scope=SHARED) for name in ("cyd", "dee")]
    assert [go(locks, one, Step.LOOK) for one in readers] == [Look.NEAR, Look.NEAR]
    locks.release(held)
    assert go(locks, writer, Step.TRY) is Look.GRANTED
    assert writer.lock is not None
    locks.release(writer.lock)
    assert [go(locks, one, Step.LOOK) for one in reversed(readers)] == [Look.TURN, Look.TURN]
    assert [go(locks, one, Step.TRY) for one in reversed(readers)] == [Look.GRANTED, Look.GRANTED]


def test_whoever_breaks_what_is_held_passes_the_line(locks: LockTable):
    locks.acquire("/a", "ada")
    standing(locks, "/a", "bob")
    assert locks.acquire("/a", "ada", break_first="other window").fencing_token == 2
    assert line(locks) == ["bob"]


def test_a_line_is_looked_through_to_its_end(locks: LockTable):
    """Many stand in it who are in nobody's way, and the one who is stands before them all."""
    held = locks.acquire("/", "ada", depth=Depth.INFINITY)
    standing(locks, "/a/b", "bob")
    for number in range(20):
        standing(locks, f"/a/{number}", "cyd", scope=SHARED)
    last = standing(locks, "/a", "dee", scope=SHARED, depth=Depth.INFINITY)
    locks.release(held)
    assert go(locks, last, Step.LOOK) is Look.NEAR
    assert go(locks, last, Step.TRY) is Look.NEAR


# -- what an answer tells of it --------------------------------------------------------------------------


def test_a_refusal_tells_the_length_of_the_line_and_the_place_in_it(locks: LockTable):
    held = locks.acquire("/a", "ada")
    standing(locks, "/a", "bob")
    place = standing(locks, "/a", "cyd")
    answer = locks.in_the_way("/a")
    assert answer is not None
    assert [lock.queue_length for lock in answer.locks] == [2]
    assert locks._read(locks.counting([held]))[1] == {held.id: 2}
    assert go(locks, place, Step.LAST) is Look.REFUSED
    with pytest.raises(ResourceLockedError, match="You are number 2 in the line, with 1 other waiting") as caught:
        locks.outcome(place)
    told = caught.value.answer
    assert told.line is not None
    assert (told.line.length, told.line.position, told.locks[0].queue_length) == (2, 2, 2)


# -- leaving ---------------------------------------------------------------------------------------------


def test_who_has_waited_long_enough_leaves_no_place_and_uses_no_fencing_token(locks: LockTable):
    held = locks.acquire("/a", "ada")
    for wait in (0.0, 0.001, 0.3):
        with refusal():
            locks.acquire("/a", "bob", wait=wait)
        assert line(locks) == []
    locks.release(held)
    assert locks.acquire("/a", "cyd").fencing_token == 2


def test_an_error_during_the_wait_leaves_no_place(locks: LockTable, engine: Engine):
    """The application's own code runs in the statement: a hook of the engine, a signal."""
    locks.acquire("/a", "ada")

    def interrupt(_connection, _cursor, statement: str, *_: object) -> None:
        if statement.startswith("SELECT holdfast_locks_places.id") and "DESC" in statement:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            locks.acquire("/a", "bob", wait=PATIENCE_S)
    finally:
        event.remove(engine, "before_cursor_execute", interrupt)
    assert line(locks) == []


def test_what_was_granted_unheard_is_given_up_too(locks: LockTable):
    held = locks.acquire("/a", "ada")
    asked = standing(locks, "/a", "bob")
    locks.release(held)
    assert go(locks, asked, Step.TRY) is Look.GRANTED
    locks._run(asked.leave)
    assert locks.find("/a") == []


@pytest.mark.process
def test_the_place_of_a_process_that_was_killed_lapses(locks: LockTable, engine: Engine, url: str):
    held = locks.acquire("/a", "ada")
    with workers("wait", url, 0, number=1) as [one]:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
        until(lambda: line(locks) == ["worker0"])
        one.kill()
        one.wait()
    locks.release(held)
    with refusal() as caught:
        locks.acquire("/a", "bob")
    assert "worker0 is next in line" in str(caught[0])
    assert later(engine, LEASE_MS).acquire("/a", "bob").principal == "bob"


def test_one_who_comes_back_too_late_stands_at_the_end(locks: LockTable, engine: Engine):
    locks.acquire("/a", "ada", ttl=3600)
    late = standing(locks, "/a", "bob")
    future = later(engine, LEASE_MS)
    standing(future, "/a", "cyd")
    late_now = future.asking("/a", "bob", {"lock_id": "mine"})
    assert go(future, late_now, Step.TRY) is Look.NEAR
    assert line(locks) == ["cyd", "bob"]
    assert go(locks, late, Step.LOOK) is Look.TURN  # its place is lost: it tries, and gets another
    assert go(locks, late, Step.TRY) is Look.NEAR
    assert line(locks) == ["cyd", "bob", "bob"]


def test_a_sign_of_life_keeps_the_place_and_is_too_late_once_it_has_lapsed(locks: LockTable, engine: Engine):
    locks.acquire("/a", "ada")
    asked = standing(locks, "/a", "bob")
    assert go(locks, asked, Step.LOOK) is Look.NEAR
    assert go(later(engine, 4000), other_side(asked, later(engine, 4000)), Step.LOOK) is Look.FADING
    soon = later(engine, LEASE_MS - 2000)
    assert go(soon, other_side(asked, soon), Step.RENEW) is Look.NEAR
    after = later(engine, LEASE_MS + 4000)
    assert go(after, other_side(asked, after), Step.LOOK) is Look.FADING
    lapsed = later(engine, 3 * LEASE_MS)
    assert go(lapsed, other_side(asked, lapsed), Step.RENEW) is Look.TURN
    assert go(lapsed, other_side(asked, lapsed), Step.LOOK) is Look.TURN


def other_side(asked: Asking, locks: LockTable) -> Asking:
    """The same request, as it goes on when the clock of `locks` tells the time."""
    moved = locks.asking(asked.root, asked._wanted.principal, {})
    moved._wanted, moved._seq = asked._wanted, asked._seq
    return moved


def test_whoever_waits_gives_signs_of_life_by_the_databases_clock(engine: Engine):
    """Three spans of 5 seconds are longer than a place is kept without one."""
    now = [1_000_000]
    clock = bindparam("now", callable_=lambda: now[0], type_=BigInteger)
    locks = LockTable(engine, now=clock)
    locks.create()
    held = locks.acquire("/a", "ada")
    kept_until = select(func.max(locks.places.table.c.kept_until_ms))

    def kept() -> int | None:
        with engine.connect() as connection:
            return connection.execute(kept_until).scalar_one()

    granted: list[int] = []
    waiting = threading.Thread(target=lambda: granted.append(locks.acquire("/a", "bob", wait=PATIENCE_S).fencing_token))
    waiting.start()
    until(lambda: kept() == now[0] + LEASE_MS)
    for _ in range(3):
        now[0] += 5000
        until(lambda: kept() == now[0] + LEASE_MS)
    with refusal():
        locks.acquire("/a", "cyd")
    locks.release(held)
    waiting.join(PATIENCE_S)
    assert granted == [2]


def test_an_id_is_that_of_one_place_and_a_repeated_request_goes_on_with_it(locks: LockTable):
    held = locks.acquire("/a", "ada")
    standing(locks, "/a", "bob", lock_id="form-7")
    standing(locks, "/a", "cyd")
    again = standing(locks, "/a", "bob", lock_id="form-7")
    assert line(locks) == ["bob", "cyd"]
    for resource, holder in (("/a", "cyd"), ("/b", "bob")):
        with pytest.raises(ValueError, match="in line already"):
            locks.acquire(resource, holder, lock_id="form-7", wait=PATIENCE_S)
    assert line(locks) == ["bob", "cyd"]
    with refusal() as caught:
        locks.acquire("/a", "bob", lock_id="form-7")  # asks once, and keeps the place
    assert caught[0].answer.line is not None
    assert caught[0].answer.line.position == 1
    locks.release(held)
    assert go(locks, again, Step.TRY) is Look.GRANTED
    assert locks.acquire("/a", "bob", lock_id="form-7") == again.lock
    assert line(locks) == ["cyd"]


# -- what it costs -----------------------------------------------------------------------------------------


def test_who_has_somebody_before_them_looks_with_one_select(locks: LockTable, engine: Engine):
    locks.acquire("/a", "ada")
    for _ in range(30):
        standing(locks, "/a", "bob")
    last = standing(locks, "/a", "cyd")
    statements: list[str] = []

    def note(_connection, _cursor, statement: str, *_: object) -> None:
        if "holdfast_locks" in statement:
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    found = locks._read(lambda connection: last.go(connection, Step.LOOK))
    event.remove(engine, "before_cursor_execute", note)
    assert found is Look.FAR
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


def test_what_was_left_behind_is_removed_by_who_comes_next(locks: LockTable, engine: Engine):
    locks.acquire("/a", "ada", ttl=3600)
    for number in range(3):
        standing(locks, "/a", f"gone{number}")
    standing(later(engine, LEASE_MS), "/a", "bob")
    assert line(locks) == ["bob"]


# -- a database without the table ----------------------------------------------------------------------------


def test_a_database_without_the_table_is_told_with_what_makes_it(engine: Engine):
    locks = LockTable(engine)
    for names in ((), (locks.rows.table.name, locks.rows.counter.name)):
        locks.metadata.create_all(engine, tables=[locks.metadata.tables[name] for name in names])
        missing = [table.name for table in locks.tables if table.name not in names]
        with pytest.raises(TableMissingError) as caught:
            locks.acquire("/a", "ada")
        assert list(caught.value.names) == missing
        assert "create()" in str(caught.value)
        assert "alembic upgrade head" in str(caught.value)
    assert str(caught.value).startswith("The database has no table holdfast_locks_places. ")
    locks.create()
    assert locks.acquire("/a", "ada").fencing_token == 1


# -- asynchronously --------------------------------------------------------------------------------------------


def asynchronous(url: str, program: Callable[[AsyncLockTable], object]) -> None:
    """Run it with a table that is made, and an engine that is disposed of."""
    scheme, _, rest = url.partition("://")

    async def run() -> None:
        engine: AsyncEngine = create_async_engine(f"{ASYNC[scheme]}://{rest}")
        try:
            locks = AsyncLockTable(engine)
            await locks.create()
            await program(locks)  # type: ignore[misc]
        finally:
            await engine.dispose()

    asyncio.run(run())


async def line_async(locks: AsyncLockTable) -> list[str]:
    table = locks.places.table
    async with locks.engine.connect() as connection:
        return list((await connection.execute(select(table.c.principal).order_by(table.c.seq))).scalars())


async def until_async(locks: AsyncLockTable, names: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await line_async(locks) != names:  # noqa: ASYNC110 - the database tells no event of it
            await asyncio.sleep(0.005)


def test_tasks_are_granted_the_lock_in_the_order_in_which_they_came(url: str):
    async def program(locks: AsyncLockTable) -> None:
        held = await locks.acquire("/a", "ada")
        granted: list[str] = []

        async def stand(name: str) -> None:
            async with locks.hold("/a", name, wait=PATIENCE_S):
                granted.append(name)

        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(stand(f"task{number}"))
                await until_async(locks, [f"task{before}" for before in range(number + 1)])
            with pytest.raises(ResourceLockedError):
                await locks.acquire("/a", "bob", wait=0.01)
            await locks.release(held)
        assert granted == ["task0", "task1", "task2"]
        assert await line_async(locks) == []

    asynchronous(url, program)


@pytest.mark.parametrize("again", [False, True])
def test_a_task_that_is_cancelled_leaves_the_line(url: str, again: bool):
    """Also where it is cancelled once more while it leaves."""

    async def program(locks: AsyncLockTable) -> None:
        await locks.acquire("/a", "ada")
        waiting = asyncio.create_task(locks.acquire("/a", "bob", wait=PATIENCE_S))
        await until_async(locks, ["bob"])
        waiting.cancel()
        if again:
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until_async(locks, [])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await locks.acquire("/a", "cyd", wait=PATIENCE_S)
        await until_async(locks, [])

    asynchronous(url, program)


def test_a_task_that_is_cancelled_while_it_releases_has_released(url: str):
    async def program(locks: AsyncLockTable) -> None:
        async def hold() -> None:
            async with locks.hold("/a", "ada"):
                held.set()

        held = asyncio.Event()
        holding = asyncio.create_task(hold())
        await held.wait()
        await asyncio.sleep(0)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert (await locks.acquire("/a", "bob", wait=PATIENCE_S)).principal == "bob"

    asynchronous(url, program)


def test_a_database_without_the_table_is_told_asynchronously_too(url: str):
    async def program(locks: AsyncLockTable) -> None:
        async with locks.engine.begin() as connection:
            await connection.run_sync(locks.places.table.drop)
        with pytest.raises(TableMissingError, match="holdfast_locks_places"):
            await locks.acquire("/a", "ada")
        await locks.create()
        assert (await locks.acquire("/a", "ada")).fencing_token == 1

    asynchronous(url, program)


# -- together with what else holds a database ----------------------------------------------------------------------


def test_a_place_is_kept_where_the_database_is_locked_for_a_moment(tmp_path, engine_for: MakeEngine):
    """A locked database is waited for as ever; one that stays locked is what is told, and the place is left once it can be."""
    engine = engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0.05})
    locks = LockTable(engine, deadline=0.1)
    locks.create()
    held = locks.acquire("/a", "ada")
    asked = standing(locks, "/a", "bob")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        assert go(locks, asked, Step.LOOK) is Look.NEAR  # only reads
        with pytest.raises(DatabaseLockedError):
            locks.acquire("/a", "cyd", wait=PATIENCE_S)
    assert line(locks) == ["bob"]
    locks.release(held)
    assert go(locks, asked, Step.TRY) is Look.GRANTED
