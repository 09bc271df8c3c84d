"""retry_locked: the right unit is begun anew, with the time passed in, and what is raised in the end names who it was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from holdfast.budget import Budget
from holdfast.databases import (
    DatabaseLockedError,
    LockKind,
    Retry,
    RetryUnit,
    begin_immediate,
    retry_locked,
    retrying,
    retrying_async,
    run_locked,
    run_locked_async,
)
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database

READ = text("SELECT n FROM counter")
WRITE = text("UPDATE counter SET n = :n")


class Time:
    """A clock that moves when somebody sleeps; `when` calls something at the nth sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.when: dict[int, Callable[[], object]] = {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.when.pop(len(self.slept), lambda: None)()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture(name="time")
def make_time() -> Time:
    return Time()


def busy(code: int = sqlite3.SQLITE_BUSY, text: str = "database is locked") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def put_counter(path: Path, journal: str = "WAL") -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE counter (n INTEGER)")
    connection.execute("INSERT INTO counter VALUES (0)")
    connection.commit()
    connection.close()


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    put_counter(tmp_path / "app.db")
    return tmp_path / "app.db"


@pytest.fixture(name="engine")
def make_engine(path: Path, engine_for: MakeEngine) -> Engine:
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0})
    begin_immediate(engine)
    return engine


@pytest.fixture(name="holder")
def make_holder(path: Path) -> Iterator[sqlite3.Connection]:
    """Another connection, which holds the write lock."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def count_up(session) -> int:
    number = session.execute(READ).scalar_one() + 1
    session.execute(WRITE, {"n": number})
    return number


def counted(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(READ).scalar_one()


# -- when, and how often -----------------------------------------------------------------------------


def test_the_span_between_two_attempts_doubles_up_to_the_cap_and_its_jitter_is_drawn_anew(time: Time):
    draws = iter([1.0, 0.5, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])

    @retry_locked(
        deadline=60, attempts=8, floor=0.1, cap=0.5, clock=time.clock, sleep=time.sleep, chance=lambda: next(draws)
    )
    def refused():
        raise busy()

    with pytest.raises(DatabaseLockedError) as caught:
        refused()
    assert time.slept == pytest.approx([0.1, 0.1, 0.4, 0.0, 0.5, 0.5, 0.5])
    assert caught.value.attempts == 8


def test_the_last_attempt_is_made_when_the_deadline_is_reached_and_no_later(time: Time):
    tried = []

    @retry_locked(deadline=1, floor=0.4, cap=0.4, jitter=0, clock=time.clock, sleep=time.sleep)
    def refused():
        tried.append(time.now - 100)
        raise busy()

    with pytest.raises(DatabaseLockedError) as caught:
        refused()
    assert tried == pytest.approx([0, 0.4, 0.8, 1.0])
    assert caught.value.waited == pytest.approx(1.0)


def test_what_the_work_itself_took_counts_towards_the_deadline(time: Time):
    @retry_locked(deadline=5, clock=time.clock, sleep=time.sleep)
    def slow():
        time.now += 6
        raise busy()

    with pytest.raises(DatabaseLockedError) as caught:
        slow()
    assert caught.value.attempts == 1
    assert time.slept == []


def test_the_error_is_a_sentence_and_keeps_the_last_refusal(time: Time):
    with pytest.raises(DatabaseLockedError) as caught:
        retry_locked(deadline=0, clock=time.clock)(lambda: (_ for _ in ()).throw(busy()))()
    error = caught.value
    assert str(error) == (
        "The database is still locked after 0.0 s and 1 attempt: another connection has locked the database (SQLITE_BUSY, 5)."
    )
    assert isinstance(error.__cause__, sqlite3.OperationalError)
    assert error.locked.kind is LockKind.HELD
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.attempts) == (str(error), 1)


@pytest.mark.parametrize(
    "error",
    [busy(sqlite3.SQLITE_LOCKED), busy(sqlite3.SQLITE_CONSTRAINT), ValueError("no database at all")],
    ids=["own cursor", "constraint", "other"],
)
def test_what_waiting_cannot_help_is_raised_at_once_as_it_came(time: Time, error: Exception):
    with pytest.raises(type(error)) as caught:
        retry_locked(clock=time.clock, sleep=time.sleep)(lambda: (_ for _ in ()).throw(error))()
    assert caught.value is error
    assert time.slept == []


def test_ones_own_cursor_is_named_in_a_note():
    error = busy(sqlite3.SQLITE_LOCKED)
    with pytest.raises(sqlite3.OperationalError):
        retry_locked()(lambda: (_ for _ in ()).throw(error))()
    assert "finish or close its cursor" in error.__notes__[0]


def test_all_who_share_a_budget_retry_no_more_than_it_allows(time: Time):
    budget = Budget(capacity=2, per_second=0.001)
    tried = []

    @retry_locked(deadline=30, budget=budget, clock=time.clock, sleep=time.sleep)
    def refused():
        tried.append(1)
        raise busy()

    for _ in range(2):
        with pytest.raises(DatabaseLockedError):
            refused()
    assert len(tried) == 2 + 2  # two calls, and two retries for both


def test_on_retry_is_told_what_was_refused_and_how_long_it_will_be(time: Time):
    told: list[Retry] = []
    errors = iter([busy(), busy(sqlite3.SQLITE_BUSY_SNAPSHOT)])

    @retry_locked(deadline=10, floor=0.25, jitter=0, on_retry=told.append, clock=time.clock, sleep=time.sleep)
    def third_time_lucky():
        for error in errors:
            raise error
        return "done"

    assert third_time_lucky() == "done"
    assert [(one.locked.name, one.attempts, one.delay, one.unit) for one in told] == [
        ("SQLITE_BUSY", 1, 0.25, RetryUnit.TRANSACTION),
        ("SQLITE_BUSY_SNAPSHOT", 2, 0.5, RetryUnit.TRANSACTION),
    ]
    assert told[1].left == pytest.approx(9.75)


def test_a_generator_is_refused_when_it_is_decorated():
    with pytest.raises(TypeError, match="is a generator"):

        @retry_locked()
        def numbers():
            yield 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"deadline": -1}, ValueError),
        ({"floor": 2, "cap": 1}, ValueError),
        ({"attempts": 0}, ValueError),
        ({"timeout": 3}, TypeError),
    ],
)
def test_a_slip_of_the_pen_is_found_where_it_was_made(options: dict, error: type[Exception]):
    with pytest.raises(error):
        retry_locked(**options)


def test_an_engine_of_the_other_colour_is_refused_when_it_is_named(engine: Engine):
    asynchronous = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(TypeError, match="asynchronous twin"):
        retry_locked(asynchronous)(lambda session: None)
    with pytest.raises(TypeError, match="AsyncEngine"):

        @retry_locked(engine)
        async def work(session):
            """Never called."""

    with pytest.raises(TypeError, match="parentheses"):
        retry_locked(lambda: None)


# -- SQLite, for real --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["run", "decorator", "context", "sessionmaker", "scoped"])
def test_a_transaction_that_may_not_begin_is_begun_anew(
    engine: Engine, holder: sqlite3.Connection, time: Time, form: str
):
    time.when[2] = lambda: holder.execute("ROLLBACK")
    options = {"clock": time.clock, "sleep": time.sleep, "deadline": 10}
    if form == "run":
        assert run_locked(engine, count_up, **options) == 1
    elif form == "decorator":
        assert retry_locked(engine, **options)(count_up)() == 1
    elif form == "context":
        for attempt in retrying(engine, **options):
            with attempt as session:
                assert count_up(session) == 1
    elif form == "sessionmaker":
        assert run_locked(sessionmaker(engine), count_up, **options) == 1
    else:
        registry = scoped_session(sessionmaker(engine))
        assert run_locked(registry, count_up, **options) == 1
        registry.remove()
    assert len(time.slept) == 2
    assert counted(engine) == 1


def test_the_error_and_the_log_name_the_process_that_holds_it(
    engine: Engine, holder: sqlite3.Connection, time: Time, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "holdfast.databases")
    with pytest.raises(DatabaseLockedError) as caught:
        run_locked(engine, count_up, deadline=0.05, floor=0.05, jitter=0, clock=time.clock, sleep=time.sleep)
    assert [one.is_this_process for one in caught.value.holders] == [True]
    assert "Held by" in str(caught.value)
    assert "held by" in caplog.messages[0]
    assert "transaction again in 0.05 s (attempt 1" in caplog.messages[0]


def test_a_stale_transaction_is_rolled_back_and_begun_anew_with_what_it_reads(path: Path, engine_for: MakeEngine):
    """SQLITE_BUSY_SNAPSHOT: waiting inside of it could never help."""
    engine = engine_for(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    between = iter([7])

    def work(session):
        number = session.execute(READ).scalar_one()
        for other in between:
            with sqlite3.connect(path) as connection:
                connection.execute("UPDATE counter SET n = ?", [other])
            connection.close()
        session.execute(WRITE, {"n": number + 1})

    told: list[Retry] = []
    run_locked(engine, work, on_retry=told.append)
    assert [one.locked.name for one in told] == ["SQLITE_BUSY_SNAPSHOT"]
    assert counted(engine) == 8


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_a_busy_commit_is_tried_again_by_itself(tmp_path: Path, engine_for: MakeEngine, time: Time, driver: str):
    """A reader keeps the writer of a rollback journal from committing; what it has written still stands."""
    put_counter(tmp_path / "app.db", "DELETE")
    reader = sqlite3.connect(tmp_path / "app.db", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT n FROM counter").fetchone()
    time.when[3] = lambda: reader.execute("ROLLBACK")
    url = f"{driver}:///{tmp_path}/app.db"
    calls, told = [], []

    def work(session):
        calls.append(1)
        return count_up(session)

    options = {"on_retry": told.append, "clock": time.clock, "deadline": 60}
    if driver == "sqlite":
        engine = engine_for(url, connect_args={"timeout": 0})
        begin_immediate(engine)
        assert run_locked(engine, work, sleep=time.sleep, **options) == 1
    else:

        async def program() -> None:
            engine = create_async_engine(url, connect_args={"timeout": 0})
            begin_immediate(engine)
            found = await run_locked_async(
                engine, lambda session: session.run_sync(work), sleep=time.sleep_async, **options
            )
            assert found == 1
            await engine.dispose()

        asyncio.run(program())
    assert calls == [1]
    assert [one.unit for one in told] == [RetryUnit.COMMIT] * 3
    assert reader.execute("SELECT n FROM counter").fetchone() == (1,)
    reader.close()


def test_a_commit_that_stays_busy_is_rolled_back_in_the_end(tmp_path: Path, engine_for: MakeEngine, time: Time):
    put_counter(tmp_path / "app.db", "DELETE")
    reader = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT n FROM counter").fetchone()
    engine = engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0})
    with pytest.raises(DatabaseLockedError) as caught:
        run_locked(engine, count_up, clock=time.clock, sleep=time.sleep, deadline=1)
    assert caught.value.locked.retry is RetryUnit.COMMIT
    reader.execute("ROLLBACK")
    assert counted(engine) == 0
    reader.close()


def test_another_refusal_of_the_commit_comes_as_sqlalchemy_says_it(engine: Engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE child (p REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    with engine.connect() as connection:
        connection.connection.dbapi_connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(IntegrityError):
            run_locked(connection, lambda given: given.exec_driver_sql("INSERT INTO child VALUES (9)"))


def test_the_driver_waits_no_longer_than_what_is_left_and_has_its_own_time_back_afterwards(
    path: Path, engine_for: MakeEngine, time: Time
):
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 30}, pool_size=1, max_overflow=0)
    timeout = text("PRAGMA busy_timeout")
    assert run_locked(engine, lambda session: session.scalar(timeout), deadline=4, clock=time.clock) == 4000
    with engine.connect() as connection:
        assert connection.scalar(timeout) == 30_000
    assert run_locked(engine, lambda session: session.scalar(timeout), deadline=90, clock=time.clock) == 30_000


@pytest.mark.parametrize("leaving", ["falls out", "return", "break"])
def test_the_block_of_an_attempt_is_committed_however_it_is_left(engine: Engine, leaving: str):
    def block() -> None:
        for attempt in retrying(engine):
            with attempt as session:
                count_up(session)
                if leaving == "return":
                    return
                if leaving == "break":
                    break

    block()
    assert counted(engine) == 1


def test_whatever_else_the_work_raises_rolls_back_and_passes(engine: Engine):
    def work(session):
        count_up(session)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        run_locked(engine, work)
    attempt = next(iter(retrying(engine)))
    with pytest.raises(KeyError), attempt as session:
        work(session)
    assert counted(engine) == 0


def test_who_has_waited_inside_is_not_waited_for_again_outside(engine: Engine, holder: sqlite3.Connection, time: Time):
    tried = []

    def inner(session):
        tried.append(1)
        count_up(session)

    options = {"clock": time.clock, "sleep": time.sleep}
    with pytest.raises(DatabaseLockedError):
        retry_locked(deadline=60, **options)(lambda: run_locked(engine, inner, attempts=2, **options))()
    assert time.now - 100 < 2


@pytest.mark.parametrize("form", ["run", "decorator", "context", "sessionmaker"])
def test_the_asynchronous_twins_do_the_same(path: Path, holder: sqlite3.Connection, time: Time, form: str):
    time.when[2] = lambda: holder.execute("ROLLBACK")
    options = {"clock": time.clock, "sleep": time.sleep_async, "deadline": 10}

    async def work(session) -> int:
        return await session.run_sync(count_up)

    async def program() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 0})
        begin_immediate(engine)
        if form == "run":
            assert await run_locked_async(engine, work, **options) == 1
        elif form == "decorator":
            assert await retry_locked(engine, **options)(work)() == 1
        elif form == "sessionmaker":
            assert await run_locked_async(async_sessionmaker(engine), work, **options) == 1
        else:
            async for attempt in retrying_async(engine, **options):
                async with attempt as session:
                    assert await work(session) == 1
        await engine.dispose()

    asyncio.run(program())
    assert len(time.slept) == 2
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT n FROM counter").fetchone() == (1,)
    connection.close()


@pytest.mark.process
def test_of_four_processes_that_read_and_write_none_fails_and_no_update_is_lost(path: Path, engine_for: MakeEngine):
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.databases.locking_worker",
                "add",
                f"sqlite:///{path}",
                f"worker{index}",
                "10",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for index in range(4)
    ]
    told = [one.communicate("go\n", timeout=100)[0] for one in started]
    assert told == ["ready\ndone\n"] * 4
    assert counted(engine_for(f"sqlite:///{path}")) == 40


# -- PostgreSQL and MariaDB --------------------------------------------------------------------------


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO accounts VALUES (1, 10), (2, 20)"))


def total(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT sum(n) FROM accounts")).scalar_one()


TAKE = text("SELECT n FROM accounts WHERE id = :id FOR UPDATE")
TAKE_NOWAIT = text("SELECT n FROM accounts WHERE id = :id FOR UPDATE NOWAIT")
ADD = text("UPDATE accounts SET n = n + :n WHERE id = :id")


@pytest.mark.process
def test_a_row_that_is_locked_inside_a_savepoint_is_tried_again_without_losing_the_transaction(
    postgres: Database, engine_for: MakeEngine, time: Time
):
    engine = engine_for(postgres.postgres())
    fill(engine)
    other = engine.connect()
    other.execute(TAKE, {"id": 1})
    time.when[2] = other.rollback
    with sessionmaker(engine)() as session, session.begin():
        session.execute(ADD, {"id": 2, "n": 5})
        found = run_locked(
            session,
            lambda given: given.execute(TAKE_NOWAIT, {"id": 1}).scalar_one(),
            clock=time.clock,
            sleep=time.sleep,
        )
        assert found == 10
    other.close()
    assert len(time.slept) == 2
    assert total(engine) == 35


@pytest.mark.process
def test_a_serialization_failure_inside_a_savepoint_is_left_to_whoever_began_the_transaction(
    postgres: Database, engine_for: MakeEngine
):
    engine = engine_for(postgres.postgres(), isolation_level="REPEATABLE READ")
    fill(engine)
    between = iter([1])

    def work(session):
        session.execute(text("SELECT 1 FROM accounts")).all()
        for _ in between:
            with engine.begin() as other:
                other.execute(ADD, {"id": 1, "n": 1})
        run_locked(session, lambda given: given.execute(ADD, {"id": 1, "n": 10}))

    told: list[Retry] = []
    run_locked(engine, work, on_retry=told.append)
    assert [(one.locked.code, one.unit) for one in told] == [("40001", RetryUnit.TRANSACTION)]
    assert total(engine) == 41


@pytest.mark.process
@pytest.mark.parametrize("database", ["postgres", pytest.param("mariadb", marks=pytest.mark.tool("mariadbd"))])
def test_two_who_deadlock_both_get_through(request: pytest.FixtureRequest, database: str, engine_for: MakeEngine):
    server: Database = request.getfixturevalue(database)
    engine = engine_for(server.postgres() if database == "postgres" else server.mariadb())
    fill(engine)
    both = threading.Barrier(2)
    told: list[Retry] = []

    def transfer(first: int, second: int) -> None:
        met = False

        @retry_locked(engine, deadline=30, on_retry=told.append)
        def work(session) -> None:
            nonlocal met
            session.execute(ADD, {"id": first, "n": -1})
            if not met:
                met = True
                both.wait(30)
            session.execute(ADD, {"id": second, "n": 1})

        work()

    threads = [threading.Thread(target=transfer, args=ids) for ids in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.locked.kind for one in told} == {LockKind.DEADLOCK}
    assert total(engine) == 30


@pytest.mark.process
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_lock_timeout_is_what_is_left_and_no_longer_than_the_applications_own(
    postgres: Database, engine_for: MakeEngine, driver: str
):
    show = text("SHOW lock_timeout")

    async def program() -> list[str]:
        engine = create_async_engine(postgres.postgres(driver))
        found = [
            await run_locked_async(engine, lambda session: session.scalar(show), deadline=7, clock=lambda: 1.0),
        ]
        async with engine.connect() as connection:
            found.append(str(await connection.scalar(show)))
        await engine.dispose()
        return found

    if driver == "asyncpg":
        assert asyncio.run(program()) == ["7s", "0"]
        return
    engine = engine_for(postgres.postgres(driver), pool_size=1, max_overflow=0)
    assert run_locked(engine, lambda session: session.scalar(show), deadline=7, clock=lambda: 1.0) == "7s"
    with engine.connect() as connection:
        assert connection.scalar(show) == "0"
    short = engine_for(postgres.postgres(driver, options="-c lock_timeout=1500ms"))
    assert run_locked(short, lambda session: session.scalar(show), deadline=7, clock=lambda: 1.0) == "1500ms"


@pytest.mark.process
def test_the_isolation_of_a_transaction_can_still_be_set_first_in_it(postgres: Database, engine_for: MakeEngine):
    """Nothing that is asked before it has taken a snapshot."""
    engine = engine_for(postgres.postgres())

    def work(session) -> str:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        return session.scalar(text("SHOW transaction_isolation"))

    assert run_locked(engine, work) == "serializable"


@pytest.mark.process
def test_a_wait_in_postgresql_ends_with_the_deadline(postgres: Database, engine_for: MakeEngine):
    """Its own lock_timeout is 0: it would wait for ever."""
    engine = engine_for(postgres.postgres())
    fill(engine)
    with engine.connect() as other:
        other.execute(TAKE, {"id": 1})
        with pytest.raises(DatabaseLockedError) as caught:
            run_locked(engine, lambda session: session.execute(TAKE, {"id": 1}), deadline=0.2)
        other.rollback()
    assert caught.value.locked.code == "55P03"
    assert caught.value.waited < 10


@pytest.mark.process
@pytest.mark.parametrize("ended_by", ["an administrator", "idle_in_transaction_session_timeout"])
def test_a_session_that_was_ended_on_purpose_is_not_begun_anew(
    postgres: Database, engine_for: MakeEngine, ended_by: str
):
    """Whoever ends it would have to end it once more; and a COMMIT that was under way may have come through."""
    engine = engine_for(postgres.postgres())
    begun: list[int] = []

    def work(session) -> None:
        begun.append(session.scalar(text("SELECT pg_backend_pid()")))
        if ended_by != "an administrator":
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10ms'"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            if ended_by == "an administrator":
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": begun[0]})
            while other.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": begun[0]}):
                pass
        session.scalar(text("SELECT 42"))

    with pytest.raises(DBAPIError) as caught:
        run_locked(engine, work, deadline=30)
    assert "waiting cannot help" in str(caught.value.__notes__)
    assert len(begun) == 1


@pytest.mark.process
@pytest.mark.tool("mariadbd")
def test_mariadb_waits_no_longer_than_what_is_left_and_has_its_own_time_back_afterwards(
    mariadb: Database, engine_for: MakeEngine
):
    engine = engine_for(mariadb.mariadb(), pool_size=1, max_overflow=0)
    show = text("SELECT @@innodb_lock_wait_timeout")
    assert run_locked(engine, lambda session: session.scalar(show), deadline=3, clock=lambda: 1.0) == 3
    with engine.connect() as connection:
        assert connection.scalar(show) == 50


@pytest.mark.process
@pytest.mark.tool("mariadbd")
def test_a_transaction_that_mariadb_left_open_is_rolled_back_before_it_is_tried_again(
    mariadb: Database, engine_for: MakeEngine
):
    """1205 undoes the statement alone: the locks taken before it would stay."""
    engine = engine_for(mariadb.mariadb())
    fill(engine)
    other = engine.connect()
    other.execute(TAKE, {"id": 2})

    def release(retry: Retry) -> None:
        assert retry.locked.code == 1205
        with contextlib.closing(engine.raw_connection()) as free:
            cursor = free.cursor()
            cursor.execute(
                "SELECT n FROM accounts WHERE id = 1 FOR UPDATE NOWAIT"
            )  # nobody holds the first row any more
            cursor.close()
        other.rollback()

    def work(session):
        session.execute(ADD, {"id": 1, "n": 1})
        session.execute(text("SET innodb_lock_wait_timeout = 1"))
        session.execute(ADD, {"id": 2, "n": 1})

    run_locked(engine, work, on_retry=release, deadline=30)
    other.close()
    assert total(engine) == 32


def test_the_errors_of_sqlalchemy_are_read(engine: Engine, holder: sqlite3.Connection, time: Time):
    with pytest.raises(DatabaseLockedError) as caught:
        run_locked(engine, count_up, attempts=1, clock=time.clock)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert isinstance(caught.value.__cause__, DBAPIError)
