"""What is told of a holder, and to whom: a web client less than a log, and a log less than an operator at a terminal."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from holdfast.databases import DatabaseLockedError, Dialect, Holder, answer_error, run_locked, who
from holdfast.wire.locked import locked_response
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.local.holding import running

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print('ready', flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "app.db")
    connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    return tmp_path / "app.db"


@pytest.fixture(name="careless")
def make_careless(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that holds the file, and has a password in its command line."""
    with running([sys.executable, "-c", _HOLD, str(path), "--db-password=hunter2"]) as process:
        yield process


def at_once(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO orders VALUES (1)")


def retried(engine: Engine) -> None:
    def write(session: Session) -> None:
        session.execute(text("INSERT INTO orders VALUES (1)"))

    run_locked(engine, write, attempts=1)


@pytest.mark.process
@pytest.mark.parametrize("accept", ["application/json", "application/xml", "text/html", "text/plain"])
@pytest.mark.parametrize("is_retried", [False, True])
def test_a_web_client_is_told_neither_a_command_line_nor_an_account_of_the_machine(
    careless: subprocess.Popen[bytes], path: Path, engine_for: MakeEngine, accept: str, *, is_retried: bool
):
    engine = engine_for(f"sqlite:///{path}", connect_args={"timeout": 0})

    with pytest.raises((DatabaseLockedError, OperationalError)) as caught:
        (retried if is_retried else at_once)(engine)
    answer = answer_error(caught.value, engine, resource="/orders/1")
    assert answer is not None
    body = bytes(locked_response(answer, accept).body)
    assert b"hunter2" not in body
    assert b"argv" not in body
    [holder] = who(engine)
    assert "hunter2" in holder.program  # whoever asks at the machine itself sees it there anyway
    [told] = [lock.holder for lock in answer.locks]
    assert told.client == Path(sys.executable).name
    assert told.name == f"process {careless.pid}"


HELD = "UPDATE users SET password = 'hunter2' WHERE id = 1"


@pytest.mark.process
def test_neither_the_log_nor_the_text_of_an_error_has_what_a_holder_wrote(
    postgres: Database, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture
):
    engine = engine_for(postgres.postgres(options="-c lock_timeout=20ms"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id int, password text)"))
        connection.execute(text("INSERT INTO users VALUES (1, 'a')"))
    with engine.connect() as other, caplog.at_level(logging.INFO, "holdfast.databases"):
        other.exec_driver_sql(HELD)
        with pytest.raises(DatabaseLockedError) as caught:
            run_locked(engine, lambda session: session.execute(text("UPDATE users SET password = ''")), attempts=2)
    for told in (str(caught.value), caplog.text):
        assert "UPDATE users ..." in told
        assert "hunter2" not in told
    [holder] = caught.value.holders
    assert holder.statement == HELD  # whoever may see it asks for it
    assert "hunter2" in str(holder)


@pytest.mark.process
def test_nor_do_they_have_its_command_line(careless: subprocess.Popen[bytes], path: Path, engine_for: MakeEngine):
    with pytest.raises(DatabaseLockedError) as caught:
        retried(engine_for(f"sqlite:///{path}", connect_args={"timeout": 0}))
    assert f"{careless.pid} " in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("update  only shop.users set a = 'x'", "update shop.users ..."),
        ("/* 'hunter2' */ INSERT INTO `users` (a) VALUES ('hunter2')", "INSERT `users` ..."),
        ("INSERT OR REPLACE INTO users VALUES (2)", "INSERT users ..."),
        ("DELETE FROM users WHERE a = 'FROM hunter2'", "DELETE users ..."),
        ("SELECT 'it''s FROM hunter2' FROM users FOR UPDATE", "SELECT users ..."),
        ("SELECT $x$ FROM hunter2 $x$ FROM users", "SELECT users ..."),
        ("SELECT ' FROM hunter2", "SELECT ..."),  # cut off by the server
        ('SELECT " FROM hunter2 " FROM users', "SELECT users ..."),  # a text in MySQL
        ("LOCK TABLE users IN EXCLUSIVE MODE", "LOCK TABLE users ..."),
        ("ALTER USER ada PASSWORD 'hunter2'", "ALTER ..."),
        ("CALL pay('hunter2')", "CALL ..."),
        ("WITH a AS (SELECT 'hunter2') UPDATE users SET a = 1", "WITH ..."),
        ("'hunter2'", ""),
    ],
)
def test_of_a_statement_the_kind_and_the_table_are_told(statement: str, told: str):
    holder = Holder(dialect=Dialect.POSTGRESQL, pid=7, doing="is idle", statement=statement)
    assert holder.brief == ("7: is idle" + (f"; last statement: {told}" if told else ""))


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("/usr/bin/python3 /srv/app/report.py --password=hunter2", "python3 report.py"),
        ('python3 -c \'print("hunter2")', "python3"),
        ("python3 -m shop.nightly hunter2", "python3 -m shop.nightly"),
        ("backup -m hunter2", "backup"),
        (f"python3 {sys.executable} hunter2", f"python3 {Path(sys.executable).name}"),
        ("backup hunter2", "backup"),
        ("[kworker]", "kworker"),
        ("", ""),
    ],
)
def test_of_a_command_line_the_program_and_its_script_are_told(program: str, told: str):
    holder = Holder(dialect=Dialect.SQLITE, pid=7, doing="is idle", program=program)
    assert holder.brief == (f"7 ({told}): is idle" if told else "7: is idle")
