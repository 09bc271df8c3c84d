"""who() on a SQLite file that other programs hold: each is named by its process, and the file is not opened."""

from __future__ import annotations

import asyncio
import os
import pwd
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.databases.holders import UnreachableDatabaseError
from holdfast.databases.immediate import begin_immediate
from holdfast.databases.watching import open_transactions, watch
from holdfast.databases.who import who, who_async
from tests.databases.conftest import MakeEngine
from tests.databases.sessions import sqlite3_program, sqlite_holder
from tests.local.holding import running

pytestmark = pytest.mark.process

INSERT = "INSERT INTO t VALUES (1)"
READ = ("BEGIN", "SELECT a FROM t")


@pytest.fixture(name="mode", params=["delete", "wal"])
def make_mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(name="path")
def make_path(tmp_path: Path, mode: str) -> Path:
    return made(tmp_path / "app.db", mode)


def made(path: Path, journal_mode: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (0)")
        connection.commit()
    return path


def test_nobody_holds_a_file_at_rest(path: Path):
    assert who(path) == []


def test_a_python_program_that_writes(path: Path):
    with sqlite_holder(path, "BEGIN IMMEDIATE", INSERT) as process:
        [holder] = who(path)
    assert holder.is_in_the_way
    assert holder.pid == process.pid
    assert holder.user == pwd.getpwuid(os.geteuid()).pw_name
    assert sys.executable in holder.program
    assert holder.doing.startswith("is writing")
    assert (holder.resource, holder.mode, holder.is_this_process) == ("app.db", "exclusive", False)
    assert holder.started_at is not None
    assert str(holder).startswith(f"{process.pid} ({holder.user}, ")


def test_since_when_is_told_as_far_as_it_is_known(path: Path):
    """The kernel has no times: the process's beginning is an early bound, the last write is the file's, and neither is called `since`."""
    written = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
    with sqlite_holder(path, "BEGIN IMMEDIATE"):
        for end in ("", "-wal"):
            if os.path.exists(f"{path}{end}"):
                os.utime(f"{path}{end}", (written.timestamp(), written.timestamp()))
        [holder] = who(path)
    assert (holder.since, holder.held_s, holder.last_write_at) == (None, None, written)
    assert holder.started_at is not None
    assert f"; process since {holder.started_at:%Y-%m-%d %H:%M:%S} UTC; last write 2026-11-22 08:00:00 UTC" in str(
        holder
    )


def test_the_last_write_is_of_whichever_file_was_written_last(path: Path, mode: str):
    os.utime(path, (1000, 1000))
    with sqlite_holder(path, "BEGIN IMMEDIATE", INSERT, "COMMIT", "BEGIN IMMEDIATE", INSERT):
        beside = os.stat(f"{path}-{'wal' if mode == 'wal' else 'journal'}")
        [holder] = who(path)
    assert holder.last_write_at is not None
    assert holder.last_write_at.timestamp() >= beside.st_mtime - 0.001


def test_a_reader_has_written_nothing(path: Path):
    with sqlite_holder(path, *READ):
        [holder] = who(path)
    assert holder.last_write_at is None


@pytest.mark.tool("sqlite3")
def test_the_sqlite3_program(path: Path):
    with sqlite3_program(path, "BEGIN IMMEDIATE;", f"{INSERT};") as process:
        [holder] = who(f"sqlite:///{path}")
    assert holder.pid == process.pid
    assert holder.program == f"sqlite3 -batch {path}"


def test_a_reader_keeps_a_commit_waiting_with_a_journal_and_nobody_with_a_wal(path: Path, mode: str):
    with sqlite_holder(path, *READ):
        [holder] = who(path)
    assert holder.doing.startswith("is reading")
    assert holder.is_in_the_way == (mode == "delete")


def test_a_commit_that_waits_for_a_reader_is_pending(tmp_path: Path):
    path = made(tmp_path / "app.db", "delete")
    commit = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n"
        "connection.execute('BEGIN IMMEDIATE'); connection.execute('INSERT INTO t VALUES (2)')\n"
        "try: connection.execute('COMMIT')\nexcept sqlite3.OperationalError: pass\n"
        "print('ready', flush=True); sys.stdin.read(); connection.close()\n"
    )
    with sqlite_holder(path, *READ) as reader, running([sys.executable, "-c", commit, str(path)]) as writer:
        found = {holder.pid: holder.doing for holder in who(path)}
    assert found[reader.pid].startswith("is reading")
    assert "PENDING" in found[writer.pid]


def test_all_processes_are_told_and_the_one_in_the_way_comes_first(tmp_path: Path):
    path = made(tmp_path / "app.db", "wal")
    with sqlite_holder(path, *READ) as reader, sqlite_holder(path, "BEGIN IMMEDIATE", INSERT) as writer:
        assert [holder.pid for holder in who(path)] == [writer.pid, reader.pid]


def test_this_process_is_told_with_the_place_in_its_code(path: Path, engine_for: MakeEngine):
    engine = engine_for(f"sqlite:///{path}")
    begin_immediate(engine)  # which watches it, too
    with engine.connect() as connection:
        connection.execute(text(INSERT))
        [holder] = who(engine)
    assert holder.is_this_process
    assert holder.pid == os.getpid()
    assert f"{os.path.basename(__file__)}:" in holder.began_at
    assert holder.began_at.endswith("in test_this_process_is_told_with_the_place_in_its_code")
    assert holder.held_s is not None
    assert "held by this very process" in str(holder)
    assert who(engine) == []


def test_this_process_without_a_watch_is_told_how_to_get_the_place(path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        [holder] = who(connection)
        assert holder.is_this_process
        assert "watch(engine)" in holder.note


def test_asking_leaves_the_locks_of_this_process_as_they_are(path: Path):
    """Opening and closing the file here would drop them, and another process could write in between."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert who(path)
        assert who(path)
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')",
                path,
            ],
            capture_output=True,
            text=True,
        )
        assert "database is locked" in other.stderr


def test_a_zombie_is_seen(tmp_path: Path):
    """A connection that was closed while a cursor was unfinished keeps its lock: the program is in its own way, and is told so."""
    path = made(tmp_path / "app.db", "delete")
    connection = sqlite3.connect(path)
    cursor = connection.execute("SELECT a FROM t UNION ALL SELECT 2")
    cursor.fetchone()
    connection.close()
    [holder] = who(path)
    assert (holder.is_this_process, holder.mode) == (True, "shared")
    del cursor
    assert who(path) == []


@pytest.mark.tool("unshare")
def test_a_holder_outside_this_container_is_told_as_that(path: Path, mode: str):
    """Asked from another PID namespace, where the kernel's list does not show the holder, nor its pid."""
    ask = (
        "import sys\nfrom holdfast.databases.who import who\n"
        "for holder in who(sys.argv[1]): print(holder.pid, holder.is_in_the_way, holder.note, holder.doing)\n"
    )
    command = ["unshare", "-Urpf", "--mount-proc", sys.executable, "-c", ask, str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    with sqlite_holder(path, "BEGIN IMMEDIATE", INSERT):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("None True held outside this container, or on another machine is writing")
    with sqlite_holder(path, *READ):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("is reading" in done.stdout) == (mode == "delete")


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite+aiosqlite:///{}", "sqlite:///file:{}?uri=true&mode=rw", "{}"])
def test_however_the_file_is_named(tmp_path: Path, url: str):
    path = made(tmp_path / "app.db", "delete")
    with sqlite_holder(path, "BEGIN EXCLUSIVE") as process:
        [holder] = who(url.format(path))
        assert holder.pid == process.pid
        if "://" in url and "aio" not in url:
            engine = create_engine(url.format(path))
            assert [one.pid for one in who(engine)] == [process.pid]
            engine.dispose()


def test_a_database_in_memory_is_nobodys_but_ones_own(engine_for: MakeEngine):
    assert who("sqlite://") == []
    assert who("sqlite:///:memory:") == []
    assert who(engine_for("sqlite://")) == []


def test_asynchronous_code(path: Path):
    async def ask() -> tuple[list[int | None], str]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        begin_immediate(engine)
        watch(engine)
        async with engine.connect() as connection:
            await connection.execute(text(INSERT))
            [mine] = await who_async(engine)
            await connection.rollback()
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            found = [holder.pid == process.pid for holder in await who_async(engine)]
        await engine.dispose()
        return found, mine.began_at

    found, place = asyncio.run(ask())
    assert found == [True]
    assert place.endswith(".ask")


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(UnreachableDatabaseError, match=r"nosuch\.db"):
        who(tmp_path / "nosuch.db")
    assert not (tmp_path / "nosuch.db").exists()


def test_transactions_that_are_over_are_forgotten(tmp_path: Path, engine_for: MakeEngine):
    engine = engine_for(f"sqlite:///{made(tmp_path / 'app.db', 'wal')}")
    watch(engine)
    watch(engine)
    with engine.connect() as connection:
        connection.execute(text(INSERT))
        assert len(open_transactions()) == 1
        connection.commit()
        assert open_transactions() == []
        connection.execute(text(INSERT))
        connection.rollback()
        connection.execute(text(INSERT))
    assert open_transactions() == []
    forgotten = engine.connect()
    forgotten.execute(text(INSERT))
    assert len(open_transactions()) == 1
    forgotten.detach()
    driver = forgotten.connection.dbapi_connection
    del forgotten
    driver.close()
    assert open_transactions() == []
