"""begin_immediate: who comes later waits at the beginning, and nothing is lost or refused half-way."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from holdfast.databases import RetryUnit, classify
from holdfast.databases.immediate import begin_immediate, is_immediate

READ = text("SELECT n FROM counter")
WRITE = text("UPDATE counter SET n = :n")


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE counter (n INTEGER)")
    connection.execute("INSERT INTO counter VALUES (0)")
    connection.commit()
    connection.close()
    return path


@pytest.fixture(name="engine")
def make_engine(path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    yield engine
    engine.dispose()


def deferred(engine: Engine) -> None:
    """Transactions as SQLite's own default has them: the read is in them, the write lock is taken at the first write."""
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


def count_up(engine: Engine, failures: list[object]) -> None:
    """Four threads, ten transactions each, each reads, lets the others read too, and writes."""
    together = threading.Barrier(4)

    def work() -> None:
        for _ in range(10):
            together.wait()
            try:
                with engine.begin() as connection:
                    read = connection.execute(READ).scalar_one()
                    connection.execute(WRITE, {"n": read + 1})
            except OperationalError as error:
                failures.append(classify(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counted(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(READ).scalar_one()


def test_nothing_fails_and_no_update_is_lost(engine: Engine) -> None:
    begin_immediate(engine)
    failures: list[object] = []
    count_up(engine, failures)
    assert failures == []
    assert counted(engine) == 40


def test_a_deferred_transaction_that_comes_too_late_is_known_as_stale(engine: Engine) -> None:
    """The control: what the switch is for."""
    deferred(engine)
    with engine.connect() as late:
        read = late.execute(READ).scalar_one()
        with engine.begin() as other:
            other.execute(WRITE, {"n": 7})
        with pytest.raises(OperationalError) as caught:
            late.execute(WRITE, {"n": read + 1})
    found = classify(caught.value)
    assert found is not None
    assert (found.name, found.wait_helps, found.retry) == ("SQLITE_BUSY_SNAPSHOT", False, RetryUnit.TRANSACTION)


def test_connections_that_were_in_the_pool_before_follow_too(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(READ)
    begin_immediate(engine)
    begin_immediate(engine)
    assert is_immediate(engine)
    with engine.begin() as connection, sqlite3_try(engine) as refused:
        assert refused == "SQLITE_BUSY"
        assert connection.execute(READ).scalar_one() == 0


@contextlib.contextmanager
def sqlite3_try(engine: Engine) -> Iterator[str]:
    """Whether another connection may begin to write now: empty, or the name of the refusal."""
    other = sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        yield error.sqlite_errorname
    else:
        yield ""
    finally:
        other.close()


def test_who_only_reads_keeps_nobody_waiting(engine: Engine) -> None:
    begin_immediate(engine)
    with engine.connect().execution_options(holdfast_read_only=True) as connection:
        connection.execute(READ)
        with sqlite3_try(engine) as refused:
            assert not refused


@pytest.mark.parametrize("of", ["engine", "connection"])
def test_autocommit_is_left_alone(path: Path, of: str) -> None:
    engine = create_engine(f"sqlite:///{path}", **({"isolation_level": "AUTOCOMMIT"} if of == "engine" else {}))
    begin_immediate(engine)
    options = {"isolation_level": "AUTOCOMMIT"} if of == "connection" else {}
    with engine.connect().execution_options(**options) as connection:
        connection.execute(WRITE, {"n": 3})
        with sqlite3_try(engine) as refused:
            assert not refused
    engine.dispose()


def test_a_savepoint_inside_goes_back_alone(engine: Engine) -> None:
    begin_immediate(engine)
    with engine.begin() as connection:
        connection.execute(WRITE, {"n": 1})
        with connection.begin_nested() as nested:
            connection.execute(WRITE, {"n": 2})
            nested.rollback()
    assert counted(engine) == 1


def test_a_begin_that_is_refused_leaves_a_connection_that_works(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    begin_immediate(engine)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with engine.connect() as connection:
        with pytest.raises(OperationalError) as caught:
            connection.execute(READ)
        found = classify(caught.value)
        assert found is not None
        assert (found.name, found.retry) == ("SQLITE_BUSY", RetryUnit.STATEMENT)
        holder.execute("ROLLBACK")
        connection.rollback()
        assert connection.execute(READ).scalar_one() == 0
    holder.close()
    engine.dispose()


def test_another_database_is_refused() -> None:
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(ValueError, match="for SQLite"):
        begin_immediate(engine)
