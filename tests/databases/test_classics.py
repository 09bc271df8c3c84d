"""The "database is locked" of well-known programs, rebuilt: what they met, and what it is with these tools.

The situations are those of the projects' own threads: apache/airflow#518, #11787, #12290, #12999 and #29572, home-assistant/core#3772,
#4780 and #174178, learningequality/kolibri#13878, and Django's documentation on "database is locked" errors.
"""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from holdfast.databases import (
    DatabaseLockedError,
    Retry,
    RetryUnit,
    begin_immediate,
    classify,
    retry_locked,
    run_locked,
    who,
)
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database

ROOT = Path(__file__).parents[2]
BEAT = text("UPDATE job SET beats = beats + 1")
READ = text("SELECT beats FROM job")


def put_jobs(path: Path, journal: str) -> Path:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE job (beats INTEGER)")
    connection.execute("INSERT INTO job VALUES (0)")
    connection.commit()
    connection.close()
    return path


@pytest.fixture(name="path", params=["WAL", "DELETE"])
def make_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return put_jobs(tmp_path / "airflow.db", request.param)


@contextmanager
def left_behind(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that nobody thinks of any more, and that holds the write lock."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.databases.holding_worker", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.process
def test_airflow_a_process_left_behind_is_named(path: Path, engine_for: MakeEngine):
    """After a crash nobody could say who held the database, and people deleted it, restarted, or killed every python."""
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0})
    with left_behind(path) as process:
        with pytest.raises(DatabaseLockedError) as caught:
            run_locked(engine, lambda session: session.execute(BEAT), deadline=0.05)
        assert process.pid in {holder.pid for holder in caught.value.holders}
        assert str(process.pid) in str(caught.value)
        assert "holding_worker" in str(caught.value)
        assert process.pid in {holder.pid for holder in who(engine)}
    run_locked(engine, lambda session: session.execute(BEAT), deadline=30)


@pytest.mark.process
def test_airflow_a_heartbeat_outlives_a_writer_that_takes_longer_than_the_timeout(
    path: Path, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture
):
    """The scheduler's heartbeat met the process that parses DAGs, failed after its 5 seconds, and ended the job."""
    caplog.set_level(logging.INFO, "holdfast.databases")
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0.01})
    with engine.connect() as connection:
        with left_behind(path) as process:
            with pytest.raises(OperationalError, match="database is locked"):
                connection.execute(BEAT)
            connection.rollback()

            def let_go(retry: Retry) -> None:
                if retry.attempts == 3:
                    process.kill()
                    process.wait()

            run_locked(engine, lambda session: session.execute(BEAT), deadline=60, on_retry=let_go)
            assert f"held by {process.pid}" in caplog.messages[0]
        assert connection.execute(READ).scalar_one() == 1


@pytest.mark.process
def test_home_assistant_a_recorder_gives_up_in_the_end_and_says_for_whom_it_waited(
    path: Path, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture
):
    """It tried again every 0.1 seconds for ever, and the advice was to look with fuser."""
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0})
    caplog.set_level(logging.INFO, "holdfast.databases")
    with left_behind(path) as process, pytest.raises(DatabaseLockedError) as caught:
        run_locked(
            engine, lambda session: session.execute(BEAT), deadline=60, sleep=sleep, clock=lambda: now[0], jitter=0
        )
    assert sum(slept) == pytest.approx(60)
    assert len(slept) < 100
    assert str(process.pid) in str(caught.value)
    assert all(f"held by {process.pid}" in message for message in caplog.messages)


def test_home_assistant_a_commit_that_a_history_page_keeps_waiting_loses_nothing(
    tmp_path: Path, engine_for: MakeEngine
):
    """Somebody looks at the history while the recorder commits: what was recorded is committed as soon as the page is read."""
    path = put_jobs(tmp_path / "home-assistant_v2.db", "DELETE")
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0})
    page = sqlite3.connect(path, isolation_level=None)
    page.execute("BEGIN")
    page.execute("SELECT beats FROM job").fetchone()
    recorded: list[int] = []
    units: list[RetryUnit] = []

    def record(session) -> None:
        recorded.append(1)
        session.execute(BEAT)

    def read_on(retry: Retry) -> None:
        units.append(retry.unit)
        if len(units) == 2:
            page.execute("COMMIT")

    run_locked(engine, record, deadline=60, on_retry=read_on)
    assert units == [RetryUnit.COMMIT] * 2
    assert recorded == [1]
    assert page.execute("SELECT beats FROM job").fetchone() == (1,)
    page.close()


@pytest.mark.process
@pytest.mark.tool("mariadbd")
def test_home_assistant_a_lock_wait_timeout_at_the_start_does_not_end_the_recorder(
    mariadb: Database, engine_for: MakeEngine
):
    """On MariaDB a statement at the start waited for a transaction left open, failed, and the recorder shut down."""
    engine = engine_for(mariadb.mariadb())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE job (beats INTEGER)"))
        connection.execute(text("INSERT INTO job VALUES (0)"))
    left_open = engine.connect()
    left_open.execute(BEAT)

    def work(session) -> None:
        session.execute(text("SET innodb_lock_wait_timeout = 1"))
        session.execute(BEAT)

    told: list[Retry] = []

    def let_go(retry: Retry) -> None:
        told.append(retry)
        left_open.rollback()

    run_locked(engine, work, deadline=60, on_retry=let_go)
    left_open.close()
    assert [one.locked.name for one in told] == ["ER_LOCK_WAIT_TIMEOUT"]


def deferred(engine: Engine) -> None:
    """As Django's atomic() begins: BEGIN, whose write lock is taken at the first write."""
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


def test_kolibri_a_timeout_of_100_seconds_does_not_help_who_reads_before_it_writes(path: Path, engine_for: MakeEngine):
    """The refusal comes at once, whatever the timeout is; beginning with the write lock is what helps."""
    late, other = (engine_for(f"sqlite:///{path}", connect_args={"timeout": 100}) for _ in range(2))
    deferred(late)
    with late.connect() as connection, other.connect() as writer:
        connection.execute(READ).all()
        writer.execute(BEAT)
        if "wal" in str(writer.exec_driver_sql("PRAGMA journal_mode").scalar()):
            writer.commit()
        with pytest.raises(OperationalError) as caught:
            connection.execute(BEAT)
        writer.rollback()
    found = classify(caught.value)
    assert found is not None
    assert found.retry is RetryUnit.TRANSACTION

    immediate = engine_for(f"sqlite:///{path}", connect_args={"timeout": 100})
    begin_immediate(immediate)
    together = threading.Barrier(3)

    def beat() -> None:
        together.wait(30)
        for _ in range(5):
            with immediate.begin() as connection:
                beats = connection.execute(READ).scalar_one()
                connection.execute(text("UPDATE job SET beats = :beats"), {"beats": beats + 1})

    with immediate.connect() as connection:
        before = connection.execute(READ).scalar_one()
    threads = [threading.Thread(target=beat) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with immediate.connect() as connection:
        assert connection.execute(READ).scalar_one() == before + 15


DJANGO = """
import sqlite3, sys, threading
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "OPTIONS": {"timeout": 20}}},
    USE_TZ=True,
)
django.setup()
from django.db import OperationalError, connection, transaction
from holdfast.databases import classify, retry_locked

other = sqlite3.connect(sys.argv[1], isolation_level=None)
meddling = iter([1])

def view():
    with transaction.atomic(), connection.cursor() as cursor:
        beats = cursor.execute("SELECT beats FROM job").fetchone()[0]
        for _ in meddling:
            other.execute("UPDATE job SET beats = 10")
        cursor.execute("UPDATE job SET beats = %s", [beats + 1])
        return beats

try:
    view()
except OperationalError as error:
    print(classify(error).name)
meddling = iter([1])
print(retry_locked(deadline=30)(view)())
print(other.execute("SELECT beats FROM job").fetchone()[0])
other.close()
connection.close()
"""


@pytest.mark.process
def test_django_an_atomic_view_that_reads_and_writes_is_begun_anew(tmp_path: Path):
    """With Django's own errors and transactions; the retry needs no engine for that."""
    path = put_jobs(tmp_path / "db.sqlite3", "WAL")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DJANGO), str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert done.stdout.split() == ["SQLITE_BUSY_SNAPSHOT", "10", "11"], done.stderr


def test_a_bare_driver_is_retried_without_sqlalchemy(tmp_path: Path):
    path = put_jobs(tmp_path / "bare.db", "WAL")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    connection = sqlite3.connect(path, timeout=0)

    @retry_locked(deadline=60, on_retry=lambda _: holder.execute("ROLLBACK") if holder.in_transaction else None)
    def beat() -> None:
        with connection:
            connection.execute("UPDATE job SET beats = beats + 1")

    beat()
    assert connection.execute("SELECT beats FROM job").fetchone() == (1,)
    connection.close()
    holder.close()
