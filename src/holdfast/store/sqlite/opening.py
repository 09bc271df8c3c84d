"""Opening a database file: its settings, its schema and migrations, and what to tell a person when it fails.

Owns: connections' settings, `user_version`, the words for SQLite's errors. Must not know: locks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

from holdfast.store.protocol import StoreError, StoreFullError

__all__ = ["Migration", "connect", "create_file", "explain", "is_busy", "migrate", "patiently", "shipped_migrations"]

_APPLICATION_ID: Final = 0x486F6C64
"""The letters `Hold` in the file's header: whose database this is (PRAGMA application_id)."""

_MAX_IDLE_LOG_BYTES: Final = 16 * 1024 * 1024
"""The log is cut to this when it is begun anew, so that one large transaction does not keep its size for ever."""

_FIRST_PAUSE_S: Final = 0.0001
_LONGEST_PAUSE_S: Final = 0.002

Migration = tuple[int, str]
"""The version that a script leads to, and the script."""

_T = TypeVar("_T")


def shipped_migrations() -> list[Migration]:
    """The scripts of `schema/`, in order; `0001_first.sql` leads from an empty file to version 1."""
    found = [
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in resources.files("holdfast.store.sqlite").joinpath("schema").iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)


def create_file(path: Path) -> None:
    """Make an empty database file that only its owner can read (0600), where there is none.

    It is made aside and linked into place: a descriptor of the database itself must never be closed by
    anyone but SQLite, since that would drop the POSIX locks of every connection in this process.
    """
    if path.exists():
        return
    aside = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.new")
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(aside)
    except OSError as error:
        msg = f"{path} cannot be made: {error.strerror}; check that its folder exists and that this account may write there"
        raise StoreError(msg) from error


def connect(path: Path, *, busy_limit_s: float, cache_kib: int = 2048) -> sqlite3.Connection:
    """A connection with all settings in place; raises StoreError when this is no usable Holdfast database.

    `cache_kib` bounds its page cache: a page that is not in it costs a copy from the system's, a few us.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        _configure(connection, busy_limit_s, cache_kib)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise explain(error, path) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection, busy_limit_s: float, cache_kib: int) -> None:
    def ask(sql: str) -> object:
        row = patiently(lambda: connection.execute(sql).fetchone(), busy_limit_s)
        return row and row[0]

    ask(f"PRAGMA cache_size = -{cache_kib}")
    if ask("PRAGMA journal_mode") != "wal" and ask("PRAGMA journal_mode = WAL") != "wal":
        msg = (
            "the store's file cannot be shared between processes where it lies (a network folder?); name a local folder"
        )
        raise StoreError(msg)
    # In WAL mode NORMAL keeps the database whole through power loss; the log's fsync is holdfast's own (durability.py).
    ask("PRAGMA synchronous = NORMAL")
    # Checkpoints are run by the store, while nobody writes (store.py).
    ask("PRAGMA wal_autocheckpoint = 0")
    ask(f"PRAGMA journal_size_limit = {_MAX_IDLE_LOG_BYTES}")
    ask("PRAGMA trusted_schema = OFF")
    ask("PRAGMA temp_store = MEMORY")


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration], *, busy_limit_s: float
) -> None:
    """Bring the schema to the newest version, each step in a transaction of its own.

    Processes may do this at the same time: each step looks at the version again once it may write.
    Raises StoreError for a database of a newer version or of another program.
    """
    newest = migrations[-1][0]
    try:
        _check_origin(connection, path, newest)
        for version, script in migrations:
            if _version(connection) >= version:
                continue
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_limit_s)
            try:
                if _version(connection) < version:
                    for statement in _statements(script):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {version}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        _check_origin(connection, path, newest)
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_origin(connection: sqlite3.Connection, path: Path, newest: int) -> None:
    # One transaction, or another process's first migration could fall between two of these reads.
    connection.execute("BEGIN")
    version = _version(connection)
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    connection.execute("COMMIT")
    if application != _APPLICATION_ID:
        if version or application or tables:
            msg = f"{path} is a database of another program; name another file"
            raise StoreError(msg)
    elif version > newest:
        msg = f"{path} was written by a newer Holdfast (version {version}, this one knows {newest}); install that one"
        raise StoreError(msg)


def _statements(script: str) -> list[str]:
    """The statements of a script; sqlite3's own `executescript` would commit the transaction around it."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return found


def is_busy(error: sqlite3.Error) -> bool:
    """True when another connection has what this one needs, so that trying again helps."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY


def patiently(step: Callable[[], _T], limit_s: float) -> _T:
    """Run `step` until it is not busy, with pauses of 0.1 to 2 ms (SQLite's own would be 1 to 100); StoreError after `limit_s`."""
    pause_s = _FIRST_PAUSE_S
    started = time.monotonic()
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if time.monotonic() - started >= limit_s:
                msg = (
                    f"the store was busy for {limit_s:g} s; another process holds it: see which ones have the file open"
                )
                raise StoreError(msg) from error
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as a sentence that says what to do."""
    full_code: int = getattr(error, "sqlite_errorcode", 0)
    code = full_code & 0xFF
    # The file of the write-ahead log's index is grown before it is mapped; SQLite has an error of its own for that.
    if code == sqlite3.SQLITE_FULL or full_code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFullError(f"the disk with {path} is full; make room")
    said = {
        sqlite3.SQLITE_NOTADB: f"{path} is not a database; name another file, or restore it from a backup",
        sqlite3.SQLITE_CORRUPT: f"{path} is damaged; restore it from a backup, or move it away to begin without locks",
        sqlite3.SQLITE_READONLY: f"{path} cannot be written; check its permissions and those of its folder",
        sqlite3.SQLITE_PERM: f"{path} may not be used by this account; check its permissions",
        sqlite3.SQLITE_CANTOPEN: f"{path} cannot be opened; check that it is a file and its permissions and its folder's",
        sqlite3.SQLITE_IOERR: f"the disk with {path} failed or is full; check it",
        sqlite3.SQLITE_CONSTRAINT: "a lock or a waiter with this id is kept already",
        sqlite3.SQLITE_BUSY: f"{path} is in use by another program; close that one",
    }.get(code)
    return StoreError(said or f"{path} cannot be used: {error}")
