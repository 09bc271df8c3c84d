"""The deadline holds for the driver's own waits wherever they are, the application has its own back, and what is committed is not done again."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError, SAWarning
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from holdfast.databases import (
    DatabaseLockedError,
    LockTable,
    begin_immediate,
    retrying,
    retrying_async,
    run_locked,
    run_locked_async,
)
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database

TIMEOUT = text("PRAGMA busy_timeout")
LONG_S = 30
"""What the application would wait; a test that waits for so long has failed."""


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "app.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER)")
    connection.commit()
    connection.close()
    return tmp_path / "app.db"


@pytest.fixture(name="engine")
def make_engine(path: Path, engine_for: MakeEngine) -> Engine:
    return engine_for(f"sqlite:///{path}", connect_args={"timeout": LONG_S}, pool_size=1, max_overflow=0)


@pytest.fixture(name="holder")
def make_holder(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def insert(session: Session) -> None:
    session.execute(text("INSERT INTO orders (n) VALUES (1)"))


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM orders").scalar_one())


def own_recipe(engine: Engine) -> None:
    """As SQLAlchemy's documentation has it."""

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


# -- the deadline ------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [begin_immediate, own_recipe])
def test_a_begin_immediate_waits_no_longer_than_the_deadline(
    engine: Engine, holder: sqlite3.Connection, switch: Callable[[Engine], None]
):
    switch(engine)
    with pytest.raises(DatabaseLockedError) as caught:
        run_locked(engine, insert, deadline=0.2)
    assert caught.value.waited < LONG_S / 2


def test_nor_does_that_of_a_table_of_locks(engine: Engine, path: Path):
    begin_immediate(engine)
    locks = LockTable(engine, deadline=0.2)
    locks.create()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseLockedError) as caught:
        locks.acquire("/orders/1", "ada")
    holder.close()
    assert caught.value.waited < LONG_S / 2


def test_a_savepoint_of_sqlite_has_a_deadline(engine: Engine, holder: sqlite3.Connection):
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        with pytest.raises((DatabaseLockedError, OperationalError)):
            run_locked(session, insert, deadline=0.2)


@pytest.mark.process
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_savepoint_has_a_deadline_and_the_transaction_around_it_its_own_again(
    postgres: Database, engine_for: MakeEngine, driver: str
):
    engine = engine_for(postgres.postgres(driver))
    clock = Clock()
    show = text("SHOW lock_timeout")

    def twice(session: Session) -> list[str]:
        found = [str(session.scalar(show))]
        with session.begin_nested() as inner:
            clock.now += 4
            found.append(str(session.scalar(show)))
            inner.rollback()
        return [*found, str(session.scalar(show))]

    with Session(engine) as session:
        session.execute(text("SET LOCAL lock_timeout = '50s'"))
        assert run_locked(session, twice, deadline=7, clock=clock) == ["7s", "3s", "3s"]
        assert session.scalar(show) == "50s"
        session.execute(text("SET LOCAL lock_timeout = '90ms'"))
        assert run_locked(session, lambda given: given.scalar(show), deadline=7, clock=clock) == "90ms"
        session.rollback()
        assert session.scalar(show) == "0"


@pytest.mark.process
def test_a_savepoint_that_is_refused_is_told_when_its_deadline_is_over(postgres: Database, engine_for: MakeEngine):
    """The row is held for as long as the test runs, and lock_timeout is 0: it would wait for ever."""
    engine = engine_for(postgres.postgres())
    update = text("UPDATE orders SET n = 1")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (n int)"))
        connection.execute(text("INSERT INTO orders VALUES (0)"))
    with engine.connect() as other, Session(engine) as session:
        other.execute(update)
        session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseLockedError):
            run_locked(session, lambda given: given.execute(update), deadline=0.3)
        assert session.scalar(text("SELECT 42")) == 42  # the transaction around it has come to no harm


@pytest.mark.process
def test_several_waits_in_postgresql_together_wait_no_longer_than_the_deadline(
    postgres: Database, engine_for: MakeEngine
):
    engine = engine_for(postgres.postgres())
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    show = text("SHOW lock_timeout")
    clock = Clock()

    def work(session: Session) -> list[str]:
        found: list[str] = []
        for seconds in (0, 0.25, 5, 1.5, 9):
            clock.now += seconds
            found.append(str(session.scalar(show)))
        return found

    assert run_locked(engine, work, deadline=10, clock=clock) == ["10s", "10s", "4750ms", "3250ms", "1ms"]
    assert len([one for one in sent if one.startswith("SET LOCAL")]) == 4

    def patient(session: Session) -> str:
        session.execute(text("SET LOCAL lock_timeout = '40ms'"))
        clock.now += 8
        return str(session.scalar(show))

    assert run_locked(engine, patient, deadline=10, clock=clock) == "40ms"  # the application's, as it is shorter
    sent.clear()
    assert run_locked(engine, lambda session: session.scalar(show), deadline=10, clock=clock) == "10s"
    assert sent == ["SHOW lock_timeout", "SET LOCAL lock_timeout = 10000"]  # who is kept waiting by nobody pays once
    with engine.connect() as connection:
        assert connection.scalar(show) == "0"


@pytest.mark.process
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("option", [{"stream_results": True}, {"yield_per": 10}], ids=str)
def test_a_connection_whose_results_are_streamed_has_a_deadline_too(
    postgres: Database, engine_for: MakeEngine, driver: str, option: dict[str, bool | int]
):
    """Over a server's cursor, which knows queries alone."""
    with engine_for(postgres.postgres(driver)).connect() as connection:
        connection.execution_options(**option)
        setting = text("SELECT current_setting('lock_timeout')")
        assert run_locked(connection, lambda given: given.scalar(setting), deadline=7, clock=Clock()) == "7s"


@pytest.mark.process
@pytest.mark.tool("mariadbd")
def test_several_waits_in_mariadb_together_wait_no_longer_than_the_deadline(mariadb: Database, engine_for: MakeEngine):
    engine = engine_for(mariadb.mariadb(), pool_size=1, max_overflow=0)
    show = text("SELECT concat(@@innodb_lock_wait_timeout, ' ', @@lock_wait_timeout)")
    clock = Clock()

    def work(session: Session) -> list[str]:
        found: list[str] = []
        for seconds in (0, 0.1, 5, 4.5):
            clock.now += seconds
            found.append(str(session.scalar(show)))
        return found

    with engine.connect() as connection:
        own = connection.scalar(show)
    assert run_locked(engine, work, deadline=10, clock=clock) == ["10 10", "10 10", "4 4", "1 1"]
    with engine.connect() as connection:
        assert connection.scalar(show) == own


# -- the application's own, afterwards ---------------------------------------------------------------


def test_an_engine_with_options_of_its_own_leaves_no_shortened_wait_behind(engine: Engine):
    """They share their connections."""
    begin_immediate(engine)
    reading = engine.execution_options(holdfast_read_only=True)
    assert run_locked(reading, lambda session: session.scalar(TIMEOUT), deadline=0.05, clock=Clock()) == 50
    with engine.connect() as connection:
        assert connection.scalar(TIMEOUT) == LONG_S * 1000


def test_a_table_of_locks_leaves_no_shortened_wait_behind(engine: Engine):
    begin_immediate(engine)
    locks = LockTable(engine, deadline=1)
    locks.create()
    assert locks.find("/orders/1") == []
    with engine.connect() as connection:
        assert connection.scalar(TIMEOUT) == LONG_S * 1000


@pytest.mark.process
@pytest.mark.tool("mariadbd")
def test_nor_does_it_in_mariadb(mariadb: Database, engine_for: MakeEngine):
    engine = engine_for(mariadb.mariadb(), pool_size=1, max_overflow=0)
    show = text("SELECT concat(@@innodb_lock_wait_timeout, ' ', @@lock_wait_timeout)")
    with engine.connect() as connection:
        own = connection.scalar(show)
    locks = LockTable(engine, deadline=9)
    locks.create()
    assert locks.in_the_way("/orders/1") is None
    with engine.connect() as connection:
        assert connection.scalar(show) == own


# -- what is committed -------------------------------------------------------------------------------


@pytest.fixture(name="audited")
def make_audited(engine: Engine, tmp_path: Path, engine_for: MakeEngine) -> Iterator[sessionmaker[Session]]:
    """Sessions that write to a second database once they have committed; and that one is locked."""
    audit = engine_for(f"sqlite:///{tmp_path}/audit.db", connect_args={"timeout": 0})
    holder = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    holder.execute("CREATE TABLE audit (n INTEGER)")
    holder.execute("BEGIN IMMEDIATE")
    made = sessionmaker(engine)

    @event.listens_for(made, "after_commit")
    def write(_session: Session) -> None:
        with audit.begin() as connection:
            connection.execute(text("INSERT INTO audit VALUES (1)"))

    yield made
    holder.close()


def test_what_is_committed_is_not_done_again_for_what_fails_after_it(audited: sessionmaker[Session], engine: Engine):
    with pytest.raises(OperationalError) as caught:
        run_locked(audited, insert, deadline=1)
    assert "after the COMMIT" in str(caught.value.__notes__)
    assert rows(engine) == 1


def test_nor_is_it_in_the_block_form(audited: sessionmaker[Session], engine: Engine):
    def block() -> None:
        for attempt in retrying(audited, deadline=1):
            with attempt as session:
                insert(session)

    with pytest.raises(OperationalError):
        block()
    assert rows(engine) == 1


def test_nor_is_it_asynchronously(audited: sessionmaker[Session], engine: Engine, path: Path):
    async def work(session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO orders (n) VALUES (1)"))

    async def program() -> None:
        other = create_async_engine(f"sqlite+aiosqlite:///{path}")
        made = async_sessionmaker(other, sync_session_class=audited.class_)
        try:
            with pytest.raises(OperationalError):
                await run_locked_async(made, work, deadline=1)
        finally:
            await other.dispose()

    asyncio.run(program())
    assert rows(engine) == 1


def test_what_fails_before_the_commit_is_done_again(engine: Engine, tmp_path: Path, engine_for: MakeEngine):
    """The second database of a session is refused at its COMMIT, with the first one not committed either."""
    made = sessionmaker(engine)
    refusals = iter([sqlite3.SQLITE_BUSY])

    @event.listens_for(made, "before_commit")
    def refuse(_session: Session) -> None:
        for code in refusals:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = code
            raise error

    run_locked(made, insert, deadline=LONG_S)
    assert rows(engine) == 1


def test_of_two_databases_the_committed_one_is_not_done_again(
    engine: Engine, tmp_path: Path, engine_for: MakeEngine, path: Path
):
    """Without two phases nothing can make them one; but nothing is doubled either."""

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)

    others = [engine_for(f"sqlite:///{tmp_path}/{name}.db", connect_args={"timeout": 0}) for name in "ab"]
    for other in others:
        Base.metadata.create_all(other)
    committed: list[object] = []
    for other in others:
        event.listen(other, "commit", committed.append)

        @event.listens_for(other, "commit")
        def refuse(_connection: Connection) -> None:
            if len(committed) == 2:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error

    made = sessionmaker(binds=dict(zip((Order, Note), others, strict=True)))

    def work(session: Session) -> None:
        session.add_all([Order(n=1), Note()])

    with pytest.raises(sqlite3.OperationalError), pytest.warns(SAWarning, match="deassociated"):
        run_locked(made, work, deadline=1)
    assert len(committed) == 2


# -- smaller -----------------------------------------------------------------------------------------


def with_a_constraint_that_is_checked_by_the_commit(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE child (p REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")


def test_a_commit_that_fails_for_another_reason_keeps_its_cause(engine: Engine):
    with_a_constraint_that_is_checked_by_the_commit(engine)

    def block() -> None:
        for attempt in retrying(engine):
            with attempt as session:
                session.execute(text("INSERT INTO child VALUES (9)"))

    with pytest.raises(IntegrityError) as caught:
        block()
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)


def test_so_does_it_asynchronously(engine: Engine, path: Path):
    with_a_constraint_that_is_checked_by_the_commit(engine)

    async def program() -> BaseException | None:
        other = create_async_engine(f"sqlite+aiosqlite:///{path}")
        event.listen(other.sync_engine, "connect", lambda driver, _: driver.execute("PRAGMA foreign_keys = ON"))
        try:
            async for attempt in retrying_async(other):
                async with attempt as session:
                    await session.execute(text("INSERT INTO child VALUES (9)"))
        except IntegrityError as error:
            return error.__cause__
        finally:
            await other.dispose()
        return None

    assert isinstance(asyncio.run(program()), sqlite3.IntegrityError)


def test_a_block_may_end_in_another_context_than_it_began_in(engine: Engine):
    """As FastAPI runs the two halves of a dependency that yields, each in a context of its own."""

    def dependency() -> Iterator[Session]:
        for attempt in retrying(engine):
            with attempt as session:
                yield session

    halves = dependency()
    session = contextvars.copy_context().run(next, halves)
    insert(session)
    assert contextvars.copy_context().run(next, halves, None) is None
    assert rows(engine) == 1


def test_a_block_that_another_context_works_in_has_its_deadline(engine: Engine):
    halves = iter(retrying(engine, deadline=4, clock=Clock()))
    attempt = next(halves)
    session = contextvars.copy_context().run(attempt.__enter__)
    assert contextvars.copy_context().run(session.scalar, text("SELECT 1")) == 1
    assert contextvars.copy_context().run(session.scalar, TIMEOUT) == 4000
    contextvars.copy_context().run(attempt.__exit__, None, None, None)


def test_what_a_session_factory_made_can_be_read_after_its_session_is_closed(engine: Engine):
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    def work(session: Session) -> Order:
        order = Order(n=7)
        session.add(order)
        return order

    assert run_locked(sessionmaker(engine), work).n == 7
