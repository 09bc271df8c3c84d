"""Retries on a real MySQL, by each driver: deadlocks, timeouts, NOWAIT inside a savepoint, whole tables."""

from __future__ import annotations

import contextlib
import threading

import pytest
from sqlalchemy import Engine, text

from holdfast.databases import LockKind, Retry, RetryUnit, retry_locked, run_locked
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.sessions import mysql_holder

pytestmark = [pytest.mark.process, pytest.mark.tool("mysqld")]

ADD = text("UPDATE accounts SET n = n + :n WHERE id = :id")
TAKE = text("SELECT n FROM accounts WHERE id = :id FOR UPDATE")
TAKE_NOWAIT = text("SELECT n FROM accounts WHERE id = :id FOR UPDATE NOWAIT")
DRIVERS = pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])


def filled(engine: Engine) -> Engine:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO accounts VALUES (1, 10), (2, 20)"))
    return engine


def total(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT sum(n) FROM accounts")).scalar_one()


@DRIVERS
def test_two_who_deadlock_both_get_through(mysql: Database, engine_for: MakeEngine, driver: str):
    engine = filled(engine_for(mysql.mysql(driver)))
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
    assert [one.locked.kind for one in told] == [LockKind.DEADLOCK]
    assert total(engine) == 30


@DRIVERS
def test_it_waits_no_longer_than_what_is_left_and_has_its_own_time_back_afterwards(
    mysql: Database, engine_for: MakeEngine, driver: str
):
    engine = engine_for(mysql.mysql(driver), pool_size=1, max_overflow=0)
    show = text("SELECT concat(@@innodb_lock_wait_timeout, ' ', @@lock_wait_timeout)")
    assert run_locked(engine, lambda session: session.scalar(show), deadline=3, clock=lambda: 1.0) == "3 3"
    with engine.connect() as connection:
        assert connection.scalar(show) == "50 31536000"


def test_a_transaction_that_was_left_open_is_rolled_back_before_it_is_tried_again(
    mysql: Database, engine_for: MakeEngine
):
    """1205 undoes the statement alone: the locks taken before it would stay."""
    engine = filled(engine_for(mysql.mysql()))
    other = engine.connect()
    other.execute(TAKE, {"id": 2})
    told: list[Retry] = []

    def release(retry: Retry) -> None:
        told.append(retry)
        with contextlib.closing(engine.raw_connection()) as free:
            with contextlib.closing(free.cursor()) as cursor:
                cursor.execute("SELECT n FROM accounts WHERE id = 1 FOR UPDATE NOWAIT")  # nobody has it any more
        other.rollback()

    def work(session) -> None:
        session.execute(ADD, {"id": 1, "n": 1})
        session.execute(text("SET innodb_lock_wait_timeout = 1"))
        session.execute(ADD, {"id": 2, "n": 1})

    run_locked(engine, work, on_retry=release, deadline=30)
    other.close()
    assert [(one.locked.code, one.unit) for one in told] == [(1205, RetryUnit.TRANSACTION)]
    assert total(engine) == 32


@DRIVERS
def test_a_row_that_is_locked_inside_a_savepoint_is_tried_again_without_losing_the_transaction(
    mysql: Database, engine_for: MakeEngine, driver: str
):
    engine = filled(engine_for(mysql.mysql(driver)))
    other = engine.connect()
    other.execute(TAKE, {"id": 2})
    told: list[Retry] = []

    def release(retry: Retry) -> None:
        told.append(retry)
        other.rollback()

    with engine.begin() as connection:
        connection.execute(ADD, {"id": 1, "n": 5})
        found = run_locked(
            connection, lambda given: given.execute(TAKE_NOWAIT, {"id": 2}).scalar_one(), on_retry=release, deadline=30
        )
    other.close()
    assert found == 20
    assert [(one.locked.code, one.unit) for one in told] == [(3572, RetryUnit.SAVEPOINT)]
    assert "SELECT n FROM accounts WHERE id = 2 FOR UPDATE" in {holder.statement for holder in told[0].holders}
    assert total(engine) == 35


def test_a_table_that_a_backup_has_locked_is_waited_for(mysql: Database, engine_for: MakeEngine):
    engine = filled(engine_for(mysql.mysql()))
    told: list[Retry] = []
    with contextlib.ExitStack() as backup:
        backup.enter_context(mysql_holder(mysql, "FLUSH TABLES WITH READ LOCK"))

        def let_go(retry: Retry) -> None:
            told.append(retry)
            backup.close()

        def work(session) -> None:
            session.execute(text("SET lock_wait_timeout = 1"))
            session.execute(ADD, {"id": 1, "n": 1})

        run_locked(engine, work, on_retry=let_go, deadline=30)
    assert [(one.locked.code, one.holders[0].statement) for one in told] == [(1205, "FLUSH TABLES WITH READ LOCK")]
    assert total(engine) == 31
