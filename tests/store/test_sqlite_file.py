"""The file of the SQLite store: who may read it, its version, its plans, and what it says when it cannot be used."""

import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.model import DeadProperty
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore, queries
from holdfast.store.sqlite.opening import connect, create_file, migrate, shipped_migrations
from holdfast.testing import ManualTime
from holdfast.testing.store_cases import lock_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks.sqlite"


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_only_its_owner_can_read_the_store(path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteStore(path) as store, store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
            names = sorted(entry.name for entry in path.parent.iterdir())
            modes = {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert names == ["locks.sqlite", "locks.sqlite-shm", "locks.sqlite-wal"]
    assert modes == {0o600}


def test_an_empty_database_of_version_0_is_brought_to_the_newest(path: Path) -> None:
    execute(path, "PRAGMA user_version = 0")
    with SqliteStore(path) as store, store.write() as tx:
        tx.insert(lock_on(tx, "/a"))
    assert version_of(path) == len(shipped_migrations())


def test_migrations_run_in_order_and_each_is_whole_or_not_at_all(path: Path) -> None:
    first, second, broken = (
        (1, "CREATE TABLE one (a);\n"),
        (2, "CREATE TABLE two (\n  a\n);\nINSERT INTO two VALUES (';');\n"),
        (3, "CREATE TABLE three (a);\nnonsense;\n"),
    )
    create_file(path)
    with closing(connect(path, busy_limit_s=1)) as connection:
        migrate(connection, path, [first], busy_limit_s=1)
        with pytest.raises(StoreError):
            migrate(connection, path, [first, second, broken], busy_limit_s=1)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]
    assert tables == ["one", "two"]
    assert version_of(path) == 2


def test_a_database_of_a_newer_holdfast_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    execute(path, "PRAGMA user_version = 9999")
    with pytest.raises(StoreError, match="written by a newer Holdfast"):
        SqliteStore(path)
    assert version_of(path) == 9999


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 3", "PRAGMA application_id = 5"]
)
def test_a_database_of_another_program_is_refused_and_left_alone(path: Path, statement: str) -> None:
    execute(path, statement)
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'locks'").fetchone() == (0,)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"this is a letter, not a database\n" * 100)
    with pytest.raises(StoreError, match="is not a database"):
        SqliteStore(path)


def test_a_damaged_database_is_refused(path: Path) -> None:
    with SqliteStore(path) as store, store.write() as tx:
        for number in range(200):
            tx.insert(lock_on(tx, f"/{number}"))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"), SqliteStore(path) as store, store.read() as tx:
        tx.locks_on(["/1"])


@pytest.mark.parametrize("make", ["folder", "no folder"])
def test_a_path_where_no_file_can_be_is_refused(path: Path, make: str) -> None:
    if make == "folder":
        path.mkdir()
        wanted = path
    else:
        wanted = path / "missing" / "locks.sqlite"
    with pytest.raises(StoreError, match="cannot be"):
        SqliteStore(wanted)


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    store.version()
    store.close()
    with pytest.raises(StoreError, match="closed"), store.read():
        pass
    with pytest.raises(StoreError, match="closed"):
        store.peek_waiters(["/"])
    with pytest.raises(StoreError, match="closed"):
        store.version()
    with pytest.raises(StoreError, match="closed"):
        store.sync()


def test_a_writer_that_never_ends_makes_the_others_give_up(path: Path) -> None:
    with SqliteStore(path, busy_limit_s=0.05) as store, SqliteStore(path, busy_limit_s=0.05) as other:
        with store.write(), pytest.raises(StoreError, match=r"busy for 0\.05 s"), other.write():
            pass
        with other.write() as tx:
            assert tx.count_locks() == 0


@pytest.mark.parametrize("sql", queries.ALL, ids=lambda sql: sql[:60])
def test_no_query_looks_through_all_locks_waiters_or_properties(path: Path, sql: str) -> None:
    with SqliteStore(path), closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))]
    refused = ["SCAN locks", "SCAN properties"]
    # Whether anybody waits is known at the first row.
    refused += [] if sql == queries.SOMEONE_WAITS else ["SCAN waiters"]
    # The waiters of a tree are found by their roots, and wanted in the order of the line.
    refused += [] if sql == queries.WAITERS_BETWEEN else ["USE TEMP B-TREE"]
    assert not [step for step in plan if step.startswith(tuple(refused))]
    # The trim walks along the events that it is about to drop.
    assert sql == queries.TRIM_EVENTS or not [step for step in plan if step.startswith("SCAN events")]


def test_members_are_found_without_looking_at_what_lies_deeper(path: Path) -> None:
    with SqliteStore(path, durability=Durability.CRASH) as store:
        with store.write() as tx:
            for number in range(3000):
                tx.insert(lock_on(tx, f"/top/deep/{number}"))
            tx.insert(lock_on(tx, "/top/member"))
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with store.read() as tx:
            store._session().connection.set_progress_handler(count, 100)
            assert [lock.root.text for lock in tx.locks_on_members(ResourcePath("/top"))] == ["/top/member"]
            store._session().connection.set_progress_handler(None, 0)
    # In hundreds of SQLite's instructions; 3000 locks looked at would be more than 500.
    assert steps < 10


def test_the_log_does_not_grow_for_ever(path: Path) -> None:
    with SqliteStore(path, durability=Durability.CRASH) as store:
        sizes: list[int] = []
        for _ in range(8):
            with store.write() as tx:
                for number in range(4100):
                    tx.put_property(DeadProperty(ResourcePath(f"/{number}"), "urn:x", "p", "x" * 100))
            sizes.append(path.with_name(path.name + "-wal").stat().st_size)
    assert max(sizes) < 2 * sizes[0]


def test_a_principal_without_locks_leaves_no_row(path: Path) -> None:
    with SqliteStore(path) as store, store.write() as tx:
        tx.insert(lock_on(tx, "/a", principal="anna"))
        tx.insert(lock_on(tx, "/b", principal="ben"))
    with SqliteStore(path) as store, store.write() as tx:
        tx.remove(lock_on(tx, "/a", principal="anna"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM principals").fetchone() == (1,)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list a process's open files")
def test_threads_that_end_leave_no_open_files(path: Path) -> None:
    with SqliteStore(path) as store:
        store.peek(["/"])

        def visit() -> int:
            thread = threading.Thread(target=lambda: store.peek(["/"]))
            thread.start()
            thread.join()
            return len(os.listdir("/proc/self/fd"))

        assert visit() == visit() == visit()


def test_instants_go_on_over_a_restart_of_the_server_whatever_the_wall_clock_does(path: Path) -> None:
    time = ManualTime()
    with SqliteStore(path, clock=time.clock()) as store:
        started = store.now()
    for hours in (-1, 3):
        time.set_wall_clock(timedelta(hours=hours))
        time.pass_by(timedelta(seconds=1))
        with SqliteStore(path, clock=time.clock()) as store:
            started += timedelta(seconds=1)
            assert store.now() == started


def test_instants_never_fall_behind_the_last_commit_after_a_restart_of_the_machine(path: Path) -> None:
    time = ManualTime()
    with SqliteStore(path, clock=time.clock()) as store:
        time.pass_by(timedelta(minutes=1))
        with store.write() as tx:
            tx.put_property(DeadProperty(ResourcePath("/a"), "", "p", "<p/>"))
            committed_at = tx.now
    time.set_wall_clock(timedelta(hours=-1))
    time.restart_machine()
    with SqliteStore(path, clock=time.clock()) as store:
        assert store.now() >= committed_at
    time.set_wall_clock(timedelta(hours=2))
    time.restart_machine()
    # The anchor of the last start is good until the machine starts again: make it younger than that.
    time.uptime_us -= 1
    with SqliteStore(path, clock=time.clock()) as store:
        assert store.now() >= committed_at + timedelta(minutes=59)
