"""examine(): what is in force, who holds it, and what to change, in plain words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from holdfast.databases.doctor import Examination, Level, examine
from holdfast.databases.doctor import sqlite as sqlite_doctor
from holdfast.databases.immediate import begin_immediate
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.sessions import (
    eventually,
    mariadb_holder,
    mysql_holder,
    mysql_waiter,
    postgres_holder,
    postgres_waiter,
    sqlite_holder,
)

pytestmark = pytest.mark.process

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"


def told(examination: Examination, words: str) -> Level:
    """The level of the one finding with these words in it."""
    found = [finding for finding in examination.findings if words in finding.sentence]
    assert len(found) == 1, [finding.sentence for finding in examination.findings]
    return found[0].level


def in_force(examination: Examination) -> dict[str, str]:
    return {setting.name: setting.value for setting in examination.settings}


class TestSqlite:
    @pytest.fixture(name="path")
    def make_path(self, tmp_path: Path) -> Path:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
            connection.commit()
        return path

    def test_an_engine_as_it_comes_is_advised(self, path: Path, engine_for: MakeEngine):
        found = examine(engine_for(f"sqlite:///{path}", connect_args={"timeout": 0}))
        assert in_force(found)["busy_timeout"] == "0 ms"
        assert in_force(found)["transactions"] == "deferred"
        assert told(found, "busy_timeout is 0 ms") is Level.BAD
        assert told(found, "Transactions begin deferred") is Level.WARN
        assert told(found, "journal_mode is delete") is Level.WARN
        assert found.worst is Level.BAD

    def test_an_engine_that_is_set_up_well_has_nothing_to_be_told(self, path: Path, engine_for: MakeEngine):
        engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 10})
        begin_immediate(engine)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        found = examine(engine)
        assert in_force(found)["journal_mode"] == "wal"
        assert in_force(found)["busy_timeout"] == "10000 ms"
        assert in_force(found)["transactions"] == "BEGIN IMMEDIATE"
        assert [finding for finding in found.findings if finding.level is not Level.INFO] == []

    def test_a_holder_is_named_and_nobody_waits_for_it_here(self, path: Path, engine_for: MakeEngine):
        """Even a file that is locked exclusively is examined at once."""
        with sqlite_holder(path, "BEGIN EXCLUSIVE") as process:
            for target in (path, engine_for(f"sqlite:///{path}", connect_args={"timeout": 100})):
                found = examine(target)
                assert [holder.pid for holder in found.holders] == [process.pid]
                assert told(found, "is writing (EXCLUSIVE: nobody can read)") is Level.INFO

    def test_locks_of_this_process_are_still_there_afterwards(self, path: Path):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            examine(path)
            script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
            other = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
            assert "database is locked" in other.stderr

    def test_a_journal_that_was_left_hot(self, path: Path, tmp_path: Path):
        left = tmp_path / "left"
        left.mkdir()
        spill = ["PRAGMA cache_size=1", "BEGIN", *["INSERT INTO t VALUES (zeroblob(100000))"] * 3]
        with sqlite_holder(path, *spill):
            shutil.copy(path, left / "app.db")
            shutil.copy(f"{path}-journal", left / "app.db-journal")
        before = (left / "app.db-journal").read_bytes()
        found = examine(left / "app.db")
        assert told(found, "hot journal") is Level.WARN
        assert in_force(found)["-journal"].endswith(", hot")
        assert (left / "app.db-journal").read_bytes() == before, "the doctor has rolled it back"

    def test_a_wal_that_has_grown(self, path: Path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with sqlite_holder(path, "BEGIN", "SELECT a FROM t") as reader:
            os.truncate(f"{path}-wal", 65 * 1024 * 1024)
            found = examine(path)
            assert told(found, "has grown to 65.0 MB") is Level.WARN
            assert str(reader.pid) in str(found.findings)
            os.truncate(f"{path}-wal", 0)

    def test_what_is_no_database(self, tmp_path: Path):
        (tmp_path / "notes.txt").write_text("notes\n" * 40)
        assert told(examine(tmp_path / "notes.txt"), "no SQLite database") is Level.BAD

    @pytest.mark.parametrize(
        "kind, level",
        [("nfs4", Level.BAD), ("9p", Level.BAD), ("cifs", Level.BAD), ("overlay", Level.WARN), ("fuse.x", Level.WARN)],
    )
    def test_a_place_where_locks_do_not_hold(self, kind: str, level: Level, tmp_path: Path):
        file = sqlite_doctor.SeenFile(
            path=tmp_path / "app.db",
            size=0,
            wal_size=None,
            journal_size=None,
            head=b"",
            is_journal_hot=False,
            file_system=kind,
        )
        [finding] = sqlite_doctor.of_place(file)
        assert finding.level is level

    def test_memory(self):
        assert told(examine("sqlite://"), "in memory") is Level.INFO


class TestPostgres:
    def test_settings_are_those_that_the_application_gets(self, postgres: Database, engine_for: MakeEngine):
        bare = examine(postgres.postgres())
        assert bare.version.startswith("PostgreSQL 18")
        assert in_force(bare)["deadlock_timeout"] == "100ms"
        assert told(bare, "lock_timeout is 0") is Level.WARN
        assert told(bare, "idle_in_transaction_session_timeout is 0") is Level.WARN
        options = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
        found = examine(engine_for(postgres.postgres(), connect_args={"options": options}))
        assert in_force(found)["lock_timeout"] == "5s"
        assert [one for one in found.findings if one.level is not Level.INFO] == []

    def test_who_keeps_others_waiting_is_the_first_thing_told(self, postgres: Database, postgres_engine: Engine):
        with postgres_engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
            connection.execute(text("INSERT INTO orders VALUES (1, 0)"))
        with postgres_holder(postgres, ROW), postgres_waiter(postgres, ROW):
            found = eventually(lambda: one if (one := examine(postgres_engine)).worst is Level.BAD else None)
        assert found is not None
        first = found.findings[0]
        assert "(postgres, reports) is idle in a transaction" in first.sentence
        assert "1 session waits for it" in first.sentence
        assert f"holdfast db kill URL {found.holders[0].id}" in first.advice

    def test_a_prepared_transaction_is_told(self, postgres: Database, postgres_engine: Engine):
        with postgres_engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
        with postgres_holder(postgres, "LOCK TABLE orders", "PREPARE TRANSACTION 'nightly'"):
            pass
        assert told(examine(postgres_engine), "prepared transaction 'nightly'") is Level.WARN

    def test_a_role_that_sees_little_is_told_so(self, postgres: Database, postgres_engine: Engine):
        with postgres_engine.begin() as connection:
            connection.execute(
                text("DO $$ BEGIN CREATE ROLE visitor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
            )
        found = examine(postgres.postgres().set(username="visitor"))
        assert told(found, "sees of others' sessions neither") is Level.INFO


@pytest.mark.tool("mariadbd")
class TestMariaDb:
    def test_settings_and_holders(self, mariadb: Database, mariadb_engine: Engine):
        with mariadb_engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int) ENGINE=InnoDB"))
            connection.execute(text("CREATE TABLE old (id int) ENGINE=MyISAM"))
            connection.execute(text("INSERT INTO orders VALUES (1, 0)"))
        with mariadb_holder(mariadb, "BEGIN", ROW):
            found = eventually(lambda: one if (one := examine(mariadb_engine)).holders else None)
        assert found is not None
        assert found.version.startswith("MariaDB 10.")
        assert in_force(found)["innodb_lock_wait_timeout"] == "50"
        assert in_force(found)["autocommit"] == "ON"
        assert told(found, "innodb_rollback_on_timeout is OFF") is Level.WARN
        assert told(found, "lock_wait_timeout is 86400 s") is Level.WARN
        assert told(found, "old: not InnoDB") is Level.WARN
        assert told(found, "is idle in a transaction") is Level.INFO


@pytest.mark.tool("mysqld")
class TestMySql:
    @pytest.fixture(name="orders")
    def make_orders(self, mysql_engine: Engine) -> Engine:
        with mysql_engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
            connection.execute(text("CREATE TABLE old (id int) ENGINE=MyISAM"))
            connection.execute(text("INSERT INTO orders VALUES (1, 0)"))
        return mysql_engine

    @pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
    def test_settings_and_holders(self, mysql: Database, orders: Engine, engine_for: MakeEngine, driver: str):
        with mysql_holder(mysql, "BEGIN", ROW):
            asked = engine_for(mysql.mysql(driver))
            found = eventually(lambda: one if (one := examine(asked)).holders else None)
        assert found is not None
        assert found.version.startswith("MySQL ")
        assert in_force(found)["innodb_lock_wait_timeout"] == "50"
        assert in_force(found)["autocommit"] == "ON"
        assert in_force(found)["transaction_isolation"] == "REPEATABLE-READ"
        assert told(found, "innodb_rollback_on_timeout is OFF") is Level.WARN
        assert told(found, "lock_wait_timeout is 31536000 s") is Level.WARN
        assert told(found, "old: not InnoDB") is Level.WARN
        assert told(found, "keeps its locks that long") is Level.INFO
        assert told(found, "is idle in a transaction") is Level.INFO
        assert "metadata_lock_info" not in str(found.findings)
        assert "performance_schema" not in str(found.findings)

    def test_who_keeps_others_waiting_is_the_first_thing_told(self, mysql: Database, orders: Engine):
        with mysql_holder(mysql, "BEGIN", "SELECT * FROM orders"), mysql_waiter(mysql, "DROP TABLE orders"):
            found = eventually(lambda: one if (one := examine(orders)).worst is Level.BAD else None)
        assert found is not None
        first = found.findings[0]
        assert f"holds {mysql.name}.orders: 1 session waits for it" in first.sentence
        assert f"holdfast db kill URL {found.holders[0].id}" in first.advice

    def test_what_is_set_is_not_advised(self, mysql: Database, orders: Engine):
        with orders.begin() as connection:
            before = connection.execute(text("SELECT @@global.innodb_deadlock_detect, @@global.autocommit")).one()
            connection.execute(text("SET GLOBAL innodb_deadlock_detect = OFF, autocommit = OFF"))
            connection.execute(text("SET GLOBAL innodb_print_all_deadlocks = ON, wait_timeout = 600"))
        try:
            found = examine(orders)
        finally:
            with orders.begin() as connection:
                connection.execute(text("SET GLOBAL innodb_print_all_deadlocks = OFF, wait_timeout = 28800"))
                connection.execute(
                    text("SET GLOBAL innodb_deadlock_detect = :detect, autocommit = :autocommit"),
                    {"detect": before[0], "autocommit": before[1]},
                )
        assert told(found, "innodb_deadlock_detect is OFF") is Level.WARN
        assert told(found, "autocommit is OFF") is Level.WARN
        assert "innodb_print_all_deadlocks" not in str(found.findings)
        assert "wait_timeout is 600" not in str(found.findings)


def test_an_engine_of_a_url_needs_no_table_of_ours(postgres: Database):
    engine = create_engine(postgres.postgres())
    assert examine(engine).target.startswith("postgresql+psycopg://postgres@")
    engine.dispose()
