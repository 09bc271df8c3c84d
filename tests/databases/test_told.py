"""What is told of a holder, and to whom: a web client less than a log, and a log less than an operator at a terminal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from holdfast.databases import DatabaseLockedError, answer_error, run_locked, who
from holdfast.wire.locked import locked_response
from tests.databases.conftest import MakeEngine
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
