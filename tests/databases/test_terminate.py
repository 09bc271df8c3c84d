"""terminate(holder): the one that was seen, never another that has its number now; and it is told to the log, with the reason."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pymysql
import pytest
from sqlalchemy import Engine, text

from holdfast.databases.holders import Holder
from holdfast.databases.terminating import TerminationError, terminate
from holdfast.databases.who import who
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.sessions import (
    eventually,
    mariadb_holder,
    mariadb_waiter,
    mysql_holder,
    mysql_waiter,
    postgres_holder,
    postgres_waiter,
    sqlite_holder,
)

pytestmark = pytest.mark.process

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"


@pytest.fixture(name="postgres_orders")
def make_postgres_orders(postgres_engine: Engine) -> Engine:
    return with_orders(postgres_engine)


@pytest.fixture(name="mariadb_orders")
def make_mariadb_orders(mariadb_engine: Engine) -> Engine:
    return with_orders(mariadb_engine)


@pytest.fixture(name="mysql_orders")
def make_mysql_orders(mysql_engine: Engine) -> Engine:
    return with_orders(mysql_engine)


def with_orders(engine: Engine) -> Engine:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
        connection.execute(text("INSERT INTO orders VALUES (1, 0)"))
    return engine


def only_holder(engine: Engine) -> Holder:
    [holder] = eventually(lambda: who(engine))
    return holder


class TestPostgres:
    def test_who_waits_goes_on_and_the_reason_is_in_the_log(
        self, postgres_orders: Engine, postgres: Database, caplog: pytest.LogCaptureFixture
    ):
        with postgres_holder(postgres, ROW), postgres_waiter(postgres, ROW) as waiter:
            [holder] = eventually(lambda: who(postgres_orders, waiter=waiter.number))
            with caplog.at_level(logging.WARNING, "holdfast.databases"):
                assert terminate(holder, reason="forgotten since Friday", engine=postgres_orders)
            waiter.thread.join(20)
            assert waiter.outcome is None
        [record] = caplog.records
        assert f"{holder.pid} (postgres, reports)" in record.getMessage()
        assert "forgotten since Friday" in record.getMessage()

    def test_it_is_gone_once_and_for_all(self, postgres_orders: Engine, postgres: Database):
        with postgres_holder(postgres, ROW):
            holder = only_holder(postgres_orders)
            assert terminate(holder, reason="test", engine=postgres_orders)
            assert who(postgres_orders) == []
            assert not terminate(holder, reason="test", engine=postgres_orders)

    def test_another_session_with_its_number_is_left_alone(self, postgres_orders: Engine, postgres: Database):
        with postgres_holder(postgres, ROW):
            holder = only_holder(postgres_orders)
            assert holder.started_at is not None
            earlier = msgspec.structs.replace(holder, started_at=holder.started_at - timedelta(seconds=1))
            assert not terminate(earlier, reason="test", engine=postgres_orders)
            assert len(who(postgres_orders)) == 1

    def test_a_session_that_has_ended_its_transaction_is_left_alone(self, postgres_orders: Engine, postgres: Database):
        """A pool's connection is at other work by now: to end it would hit the wrong one."""
        with psycopg.connect(host=str(postgres.folder), user="postgres", dbname=postgres.name) as other:
            other.execute(ROW)
            holder = only_holder(postgres_orders)
            other.commit()
            other.execute(ROW)
            assert not terminate(holder, reason="test", engine=postgres_orders)
            other.commit()

    def test_a_prepared_transaction_is_rolled_back(self, postgres_orders: Engine, postgres: Database):
        with postgres_holder(postgres, ROW, "PREPARE TRANSACTION 'ada''s 100%'"):
            pass
        holder = only_holder(postgres_orders)
        assert terminate(holder, reason="left over", engine=postgres_orders)
        assert who(postgres_orders) == []
        assert not terminate(holder, reason="left over", engine=postgres_orders)

    def test_who_may_not_is_told_so(self, postgres_orders: Engine, postgres: Database):
        with postgres_orders.begin() as connection:
            connection.execute(
                text("DO $$ BEGIN CREATE ROLE visitor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
            )
        with postgres_holder(postgres, ROW):
            holder = only_holder(postgres_orders)
            visitor = postgres.postgres().set(username="visitor")
            with pytest.raises(TerminationError, match="pg_signal_backend"):
                terminate(holder, reason="test", engine=visitor)
            with postgres_orders.begin() as connection:
                connection.execute(text("GRANT pg_read_all_stats TO visitor"))
            try:
                with pytest.raises(TerminationError, match="permission denied"):
                    terminate(holder, reason="test", engine=visitor)
            finally:
                with postgres_orders.begin() as connection:
                    connection.execute(text("REVOKE pg_read_all_stats FROM visitor"))
            assert len(who(postgres_orders)) == 1

    def test_one_whose_session_may_not_be_looked_into_is_left_alone(self, postgres_orders: Engine, postgres: Database):
        """Nothing would tell it from whoever has its number now, though it may be ended."""
        role = text("DO $$ BEGIN CREATE ROLE ender LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        owner = text("DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        with postgres_orders.begin() as connection:
            for statement in (
                role,
                owner,
                text("GRANT pg_signal_backend TO ender"),
                text("GRANT ALL ON orders TO clerk"),
            ):
                connection.execute(statement)
        ender = postgres.postgres().set(username="ender")
        with psycopg.connect(host=str(postgres.folder), user="clerk", dbname=postgres.name) as other:
            other.execute(ROW)
            with postgres_waiter(postgres, ROW) as waiter:
                [holder] = eventually(lambda: who(ender, waiter=waiter.number))
                assert holder.started_at is None
                with pytest.raises(TerminationError, match="pg_read_all_stats"):
                    terminate(holder, reason="test", engine=ender)
            other.commit()
            other.execute(ROW)
            other.rollback()
        assert not terminate(msgspec.structs.replace(holder, pid=2**22 + 1), reason="test", engine=ender)
        with postgres_orders.begin() as connection:
            connection.execute(text("REVOKE ALL ON orders FROM clerk"))

    def test_without_a_reason_nothing_is_done(self, postgres_orders: Engine, postgres: Database, tmp_path: Path):
        with postgres_holder(postgres, ROW):
            holder = only_holder(postgres_orders)
            with pytest.raises(TerminationError, match="reason"):
                terminate(holder, reason=" ", engine=postgres_orders)
            with pytest.raises(TerminationError, match="another database"):
                terminate(holder, reason="test", engine=tmp_path / "app.db")
            assert len(who(postgres_orders)) == 1


@pytest.mark.tool("mariadbd")
class TestMariaDb:
    def test_who_waits_goes_on(self, mariadb_orders: Engine, mariadb: Database):
        with mariadb_holder(mariadb, "BEGIN", ROW), mariadb_waiter(mariadb, ROW) as waiter:
            [holder] = eventually(lambda: who(mariadb_orders, waiter=waiter.number))
            assert terminate(holder, reason="test", engine=mariadb_orders)
            waiter.thread.join(20)
            assert waiter.outcome is None
            assert not terminate(holder, reason="test", engine=mariadb_orders)

    def test_another_transaction_of_that_session_is_left_alone(self, mariadb_orders: Engine, mariadb: Database):
        with mariadb_holder(mariadb, "BEGIN", ROW):
            holder = only_holder(mariadb_orders)
            assert holder.since is not None
            for other in (
                msgspec.structs.replace(holder, since=holder.since - timedelta(seconds=1)),
                msgspec.structs.replace(holder, user="ada"),
            ):
                assert not terminate(other, reason="test", engine=mariadb_orders)
            assert len(eventually(lambda: who(mariadb_orders))) == 1

    def test_its_next_transaction_is_left_alone_even_in_the_same_second(
        self, mariadb_orders: Engine, mariadb: Database
    ):
        """When a transaction began is told to the second; its number is its own."""
        with (
            pymysql.connect(unix_socket=str(mariadb.folder / "socket"), user="root", database=mariadb.name) as other,
            other.cursor() as cursor,
        ):
            cursor.execute(ROW)
            first = only_holder(mariadb_orders)
            other.rollback()
            cursor.execute(ROW)
            second = eventually(lambda: [one for one in who(mariadb_orders) if one.id != first.id])[0]
            same_second = msgspec.structs.replace(first, since=second.since, held_s=second.held_s)
            assert not terminate(same_second, reason="test", engine=mariadb_orders)
            assert terminate(second, reason="test", engine=mariadb_orders)

    def test_one_that_cannot_be_told_from_its_next_transaction_is_left_alone(
        self, mariadb_orders: Engine, mariadb: Database
    ):
        """While it has changed nothing, it may have an address for its number, which the next one has as well."""
        with mariadb_holder(mariadb, "BEGIN", ROW):
            holder = msgspec.structs.replace(only_holder(mariadb_orders), transaction="421777612346584")
            with pytest.raises(TerminationError, match="look again"):
                terminate(msgspec.structs.replace(holder, held_s=0.0), reason="test", engine=mariadb_orders)
            assert terminate(msgspec.structs.replace(holder, held_s=1.0), reason="test", engine=mariadb_orders)


@pytest.mark.tool("mysqld")
class TestMySql:
    @pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
    def test_who_waits_goes_on(self, mysql_orders: Engine, mysql: Database, engine_for: MakeEngine, driver: str):
        asked = engine_for(mysql.mysql(driver))
        with mysql_holder(mysql, "BEGIN", ROW), mysql_waiter(mysql, ROW) as waiter:
            [holder] = eventually(lambda: who(asked, waiter=waiter.number))
            assert terminate(holder, reason="test", engine=asked)
            waiter.thread.join(20)
            assert waiter.outcome is None
            assert not terminate(holder, reason="test", engine=asked)

    @pytest.mark.parametrize(
        "taken", ["LOCK TABLES orders WRITE", "SELECT GET_LOCK('nightly', 0)", "FLUSH TABLES WITH READ LOCK"]
    )
    def test_a_lock_that_outlives_its_transaction_ends_with_its_session(
        self, mysql_orders: Engine, mysql: Database, taken: str
    ):
        with mysql_holder(mysql, taken):
            assert terminate(only_holder(mysql_orders), reason="test", engine=mysql_orders)
            assert who(mysql_orders) == []

    def test_another_transaction_of_that_session_is_left_alone(self, mysql_orders: Engine, mysql: Database):
        with mysql_holder(mysql, "BEGIN", ROW):
            holder = only_holder(mysql_orders)
            assert holder.since is not None
            for other in (
                msgspec.structs.replace(holder, since=holder.since - timedelta(seconds=1)),
                msgspec.structs.replace(holder, user="ada"),
            ):
                assert not terminate(other, reason="test", engine=mysql_orders)
            assert len(eventually(lambda: who(mysql_orders))) == 1

    def test_who_may_not_is_told_so(self, mysql_orders: Engine, mysql: Database):
        with mysql_orders.begin() as connection:
            for statement in (
                "DROP USER IF EXISTS clerk@localhost",
                "CREATE USER clerk@localhost",
                "GRANT PROCESS ON *.* TO clerk@localhost",
                "GRANT SELECT ON performance_schema.* TO clerk@localhost",
            ):
                connection.execute(text(statement))
        with mysql_holder(mysql, "BEGIN", ROW):
            holder = only_holder(mysql_orders)
            clerk = mysql.mysql().set(username="clerk", database="performance_schema")
            with pytest.raises(TerminationError, match=f"not owner of thread {holder.pid}"):
                terminate(holder, reason="test", engine=clerk)
            assert len(eventually(lambda: who(mysql_orders))) == 1

    def test_a_prepared_transaction_is_ended_by_its_name_alone(self, mysql_orders: Engine, mysql: Database):
        try:
            with mysql_holder(mysql, "XA START 'left'", ROW, "XA END 'left'", "XA PREPARE 'left'"):
                holder = only_holder(mysql_orders)
                with pytest.raises(TerminationError, match="XA RECOVER"):
                    terminate(holder, reason="test", engine=mysql_orders)
        finally:
            with mysql_orders.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("XA ROLLBACK 'left'"))


class TestProcesses:
    @pytest.fixture(name="path")
    def make_path(self, tmp_path: Path) -> Path:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
        return path

    def test_a_signal_must_be_said_and_then_the_process_ends(self, path: Path, caplog: pytest.LogCaptureFixture):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            [holder] = who(path)
            with pytest.raises(TerminationError, match="which signal"):
                terminate(holder, reason="test", engine=path)
            assert process.poll() is None
            with caplog.at_level(logging.WARNING, "holdfast.databases"):
                assert terminate(holder, reason="hangs", engine=path, signal=signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM
            assert not terminate(holder, reason="hangs", engine=path, signal=signal.SIGTERM)
        assert [record.getMessage().endswith("reason: hangs") for record in caplog.records] == [True]
        assert who(path) == []

    def test_another_process_with_its_number_is_left_alone(self, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            [holder] = who(path)
            assert holder.started_at is not None
            earlier = msgspec.structs.replace(holder, started_at=holder.started_at - timedelta(seconds=60))
            assert not terminate(earlier, reason="test", engine=path, signal=signal.SIGTERM)
            assert process.poll() is None

    def test_a_process_that_holds_it_no_more_is_left_alone(self, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE", "COMMIT") as process:
            with sqlite_holder(path, "BEGIN IMMEDIATE"):
                [holder] = who(path)
            gone = msgspec.structs.replace(holder, pid=process.pid)
            assert not terminate(gone, reason="test", engine=path, signal=signal.SIGTERM)
            assert process.poll() is None

    def test_this_very_process_is_never_ended(self, path: Path):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            [holder] = who(path)
            assert holder.pid == os.getpid()
            with pytest.raises(TerminationError, match="this very process"):
                terminate(holder, reason="test", engine=path, signal=signal.SIGTERM)

    def test_one_that_takes_no_notice_is_told(self, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE"):
            [holder] = who(path)
            with pytest.raises(TerminationError, match="was sent SIGCONT, and still holds it"):
                terminate(holder, reason="test", engine=path, signal=signal.SIGCONT, wait_s=0.1)
