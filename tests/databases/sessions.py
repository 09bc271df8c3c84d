"""Other processes that hold something in a database, and sessions that wait for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psycopg
import pymysql

from tests.databases.servers import Database
from tests.local.holding import running

_POSTGRES = """
import psycopg, sys
connection = psycopg.connect(host=sys.argv[1], user="postgres", dbname=sys.argv[2], application_name="reports")
for statement in sys.argv[3:]:
    connection.execute(statement)
"""
_MARIADB = """
import pymysql, sys
connection = pymysql.connect(unix_socket=sys.argv[1] + "/socket", user="root", database=sys.argv[2])
for statement in sys.argv[3:]:
    connection.cursor().execute(statement)
"""
_SQLITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    cursor = connection.execute(statement)
    if statement.startswith("SELECT"):
        cursor.fetchone()
"""
_THEN_WAIT = "\nprint('ready', flush=True)\nsys.stdin.read()\n"
_PATIENCE_S = 30
T = TypeVar("T")


@contextmanager
def postgres_holder(database: Database, *statements: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program called `reports` that has done these statements in one transaction, and is idle."""
    command = [sys.executable, "-c", _POSTGRES + _THEN_WAIT, str(database.folder), database.name, *statements]
    with running(command) as process:
        yield process


@contextmanager
def mariadb_holder(database: Database, *statements: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has done these statements, and is idle; it begins its transaction itself."""
    command = [sys.executable, "-c", _MARIADB + _THEN_WAIT, str(database.folder), database.name, *statements]
    with running(command) as process:
        yield process


@contextmanager
def sqlite_holder(path: Path, *statements: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that has done these statements, and is idle."""
    with running([sys.executable, "-c", _SQLITE + _THEN_WAIT, str(path), *statements]) as process:
        yield process


@contextmanager
def sqlite3_program(path: Path, *statements: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program `sqlite3` with these statements typed into it."""
    process = subprocess.Popen(["sqlite3", "-batch", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{' '.join(statements)}\nSELECT 'ready';\n".encode())
        process.stdin.flush()
        for line in process.stdout:
            if line == b"ready\n":
                break
        yield process
    finally:
        with suppress(BrokenPipeError):
            process.communicate(timeout=_PATIENCE_S)


class Waiter:
    """A session in a thread that runs one statement, which waits; `outcome` is the exception, once it is over."""

    def __init__(self, number: int, run: Callable[[], None]) -> None:
        self.number = number
        self.outcome: BaseException | None = None
        self._run = run
        self.thread = threading.Thread(target=self._until_over, daemon=True)
        self.thread.start()

    def _until_over(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001
            self.outcome = error


@contextmanager
def postgres_waiter(database: Database, statement: str) -> Iterator[Waiter]:
    connection = psycopg.connect(
        host=str(database.folder), user="postgres", dbname=database.name, application_name="checkout"
    )
    waiter = Waiter(connection.info.backend_pid, lambda: (connection.execute(statement), None)[1])
    try:
        yield waiter
    finally:
        with psycopg.connect(host=str(database.folder), user="postgres", dbname="postgres", autocommit=True) as other:
            while waiter.thread.is_alive():  # what was only on its way is not there to be cancelled yet
                other.execute("SELECT pg_cancel_backend(%s)", [waiter.number])
                waiter.thread.join(0.1)
        connection.close()


@contextmanager
def mariadb_waiter(database: Database, *statements: str) -> Iterator[Waiter]:
    socket = str(database.folder / "socket")
    connection = pymysql.connect(unix_socket=socket, user="root", database=database.name)
    cursor = connection.cursor()
    *first, last = statements
    for statement in first:
        cursor.execute(statement)
    waiter = Waiter(connection.thread_id(), lambda: (cursor.execute(last), None)[1])
    try:
        yield waiter
    finally:
        with pymysql.connect(unix_socket=socket, user="root", autocommit=True) as other:
            while waiter.thread.is_alive():
                other.cursor().execute(f"KILL QUERY {waiter.number}")
                waiter.thread.join(0.1)
        connection.close()


mysql_holder = mariadb_holder
mysql_waiter = mariadb_waiter


def eventually(look: Callable[[], T], *, pause_s: float = 0.2) -> T:
    """What `look` finds, once it finds something."""
    ends_at = time.monotonic() + _PATIENCE_S
    while True:
        found = look()
        if found or time.monotonic() > ends_at:
            assert found
            return found
        time.sleep(pause_s)
