"""The doctor for SQLite. Owns: what of the file, its neighbours and its place bears on locks, and what is advised. Must not know: who holds it.

The file's first bytes are read by a process of its own: closing it here would drop the locks that SQLite has in this process. What a
connection of the application has in force is asked over that connection, by SQLite itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.databases.codes import Dialect
from holdfast.databases.connecting import Target, sqlite_path, target_text
from holdfast.databases.doctor.findings import Examination, Finding, InForce, Level, of_holders, sorted_findings
from holdfast.databases.holders import Holder, UnreachableDatabaseError
from holdfast.databases.who import sqlite
from holdfast.local.mounts import mount_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["SeenFile", "examine", "of_place", "own_settings", "own_settings_async"]

_PATIENCE_S: Final = 10.0
_LARGE_WAL_BYTES: Final = 64 * 1024 * 1024
_SHORT_MS: Final = 1000
_MAGIC: Final = "53514c69746520666f726d6174203300"  # "SQLite format 3" and a zero
_JOURNAL_MAGIC: Final = "d9d505f920a163d7"
_SCRIPT: Final = """
import json, os, sys
heads = {}
for end, count in (("", 100), ("-journal", 8)):
    try:
        with open(os.open(sys.argv[1] + end, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            heads[end] = file.read(count).hex()
    except OSError as error:
        heads[end] = None
        heads[end + "!"] = error.strerror
print(json.dumps(heads))
"""
_NETWORK: Final = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "cifs": "SMB",
    "smb3": "SMB",
    "9p": "9p",
    "ceph": "Ceph",
    "lustre": "Lustre",
    "fuse.sshfs": "sshfs",
    "fuse.rclone": "rclone",
    "fuse.s3fs": "S3",
    "virtiofs": "virtiofs",
}


class SeenFile(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the file and its neighbours; sizes in bytes, None where there is none."""

    path: Path
    size: int
    wal_size: int | None
    journal_size: int | None
    head: bytes
    is_journal_hot: bool
    file_system: str
    trouble: str = ""

    @property
    def is_database(self) -> bool:
        """Whether it begins as SQLite's files do; an empty one is a database, too."""
        return not self.head or self.head.hex().startswith(_MAGIC)

    @property
    def journal_mode(self) -> str:
        """Whether it is in WAL mode is in the file; which of the others, each connection decides."""
        if self.trouble or not self.is_database:
            return "unknown"
        return "wal" if self.head[18:20] == b"\x02\x02" else "delete (or another rollback journal)"


def examine(target: Target, own: Mapping[str, str]) -> Examination:
    """`own` is what `own_settings` tells of the engine. Raises UnreachableDatabaseError where there is no such file."""
    path = sqlite_path(target)
    if path is None:
        note = Finding(Level.INFO, "The database is in memory: no other process can hold it.")
        return Examination(
            dialect=Dialect.SQLITE, target=":memory:", version="SQLite", settings=(), holders=(), findings=(note,)
        )
    holders = sqlite.look(path)
    file = _look(path)
    settings = (
        InForce("journal_mode", file.journal_mode, "wal: readers and one writer go on together"),
        InForce(
            "busy_timeout",
            own.get("busy_timeout", "not known")
            + (" ms" if "busy_timeout" in own else ": each connection has its own (Python: 5 s)"),
            "how long a statement waits for the file",
        ),
        InForce(
            "transactions", own.get("transactions", "not known: the application decides"), "how a transaction begins"
        ),
        *(
            InForce("synchronous", own[name], "when a commit is on the disk")
            for name in ("synchronous",)
            if name in own
        ),
        InForce("file system", file.file_system or "not known"),
        InForce("size", _bytes(file.size)),
        InForce(
            "-wal", "none" if file.wal_size is None else _bytes(file.wal_size), "what is not in the file itself yet"
        ),
        InForce(
            "-journal",
            "none"
            if file.journal_size is None
            else f"{_bytes(file.journal_size)}{', hot' if file.is_journal_hot else ''}",
            "what undoes a transaction that was cut off",
        ),
    )
    findings = [*of_holders(holders), *of_place(file), *_of_file(file, holders), *_of_settings(file, own)]
    findings += [Finding(Level.INFO, note) for note in sqlite.notes_of(path)]
    return Examination(
        dialect=Dialect.SQLITE,
        target=target_text(target),
        version="SQLite",
        settings=settings,
        holders=tuple(holders),
        findings=sorted_findings(findings),
    )


def _look(path: Path) -> SeenFile:
    try:
        size = path.stat().st_size
    except OSError as error:
        msg = f"{path} cannot be looked at: {error.strerror or error}"
        raise UnreachableDatabaseError(msg) from error
    heads = _heads(path)
    head = bytes.fromhex(heads.get("") or "")
    mount = mount_of(Path(os.path.realpath(path)))
    return SeenFile(
        path=path,
        size=size,
        wal_size=_size(f"{path}-wal"),
        journal_size=_size(f"{path}-journal"),
        head=head,
        is_journal_hot=heads.get("-journal") == _JOURNAL_MAGIC,
        file_system="" if mount is None else mount.kind,
        trouble=heads.get("!") or "",
    )


def _heads(path: Path) -> dict[str, str | None]:
    """The first bytes of the file and of its journal, read by another process."""
    command = [sys.executable, "-I", "-S", "-c", _SCRIPT, str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return {"!": "no process could be started to read it"}
    return json.loads(done.stdout)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size or None
    except OSError:
        return None


def own_settings(engine: Engine | None) -> dict[str, str]:
    """What is in force in the application's own connections; of an asynchronous engine, without what they would be asked for."""
    found = _transactions_of(engine)
    if engine is not None and not engine.dialect.is_async:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            found["busy_timeout"] = _busy_timeout(connection)
    return found


async def own_settings_async(engine: Engine | None) -> dict[str, str]:
    """The same, of an asynchronous engine (its plain one), all of it."""
    from sqlalchemy.ext.asyncio import AsyncEngine

    found = _transactions_of(engine)
    if engine is not None:
        async with AsyncEngine(engine).connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            found["busy_timeout"] = await connection.run_sync(_busy_timeout)
    return found


def _transactions_of(engine: Engine | None) -> dict[str, str]:
    if engine is None:
        return {}
    from holdfast.databases.immediate import is_immediate

    return {"transactions": "BEGIN IMMEDIATE" if is_immediate(engine) else "deferred"}


def _busy_timeout(connection: Connection) -> str:
    """Alone among what could be asked, this does not read the file, so a writer keeps nobody waiting here."""
    return str(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())


def of_place(file: SeenFile) -> Iterator[Finding]:
    """What the place of the file is worth saying."""
    kind = file.file_system
    if kind in _NETWORK:
        yield Finding(
            Level.BAD,
            f"The file is on {_NETWORK[kind]}, where locks do not hold between machines: two writers can destroy it.",
            "Put it on a disk of the machine that uses it, or use PostgreSQL.",
        )
    elif kind.startswith("fuse"):
        yield Finding(
            Level.WARN, f"The file is on {kind}: whether locks hold there is up to that program.", "Use a local disk."
        )
    elif kind == "overlay":
        yield Finding(
            Level.WARN,
            "The file is in a container's own layer (overlay): it goes with the container, and no other container sees its locks.",
            "Put it on a volume, and let one container use it.",
        )
    if not os.access(file.path.parent, os.W_OK):
        yield Finding(
            Level.WARN,
            f"This user may not write to the folder {file.path.parent}: SQLite cannot put its journal there.",
            "The folder, too, must belong to whoever writes the database.",
        )


def _of_file(file: SeenFile, holders: list[Holder]) -> Iterator[Finding]:
    if file.trouble:
        yield Finding(Level.WARN, f"The file cannot be read: {file.trouble}.", "Run it as a user who may.")
        return
    if not file.is_database:
        yield Finding(Level.BAD, "The file is no SQLite database, or is encrypted.")
        return
    is_writing = any(holder.mode == "exclusive" for holder in holders)
    if file.is_journal_hot and not is_writing:
        yield Finding(
            Level.WARN,
            "A hot journal lies beside it: a program was cut off in the middle of a transaction.",
            "Do not delete it: the next program that opens the database undoes that transaction with it.",
        )
    if (file.wal_size or 0) >= _LARGE_WAL_BYTES:
        readers = [holder.name for holder in holders if "reading" in holder.doing]
        reader = f" {' and '.join(readers)} reads an old snapshot." if readers else ""
        yield Finding(
            Level.WARN,
            f"The -wal file has grown to {_bytes(file.wal_size or 0)}: no checkpoint could finish.{reader}",
            "End transactions that only read; then PRAGMA wal_checkpoint(TRUNCATE).",
        )


def _of_settings(file: SeenFile, own: Mapping[str, str]) -> Iterator[Finding]:
    mode = file.journal_mode
    if mode not in {"wal", "unknown"} and file.file_system not in _NETWORK:
        yield Finding(
            Level.WARN,
            f"journal_mode is {mode}: a reader keeps a commit waiting, and a commit keeps readers out.",
            "PRAGMA journal_mode=WAL, once; it is kept in the file.",
        )
    timeout = own.get("busy_timeout")
    if timeout is not None and int(timeout) < _SHORT_MS:
        yield Finding(
            Level.BAD if timeout == "0" else Level.WARN,
            f"busy_timeout is {timeout} ms: a statement gives up {'at once' if timeout == '0' else 'soon'} while another writes.",
            "create_engine(url, connect_args={'timeout': 10})",
        )
    if own.get("transactions") == "deferred":
        yield Finding(
            Level.WARN,
            "Transactions begin deferred: one that reads first and writes later can fail at once, whatever busy_timeout says.",
            "holdfast.databases.begin_immediate(engine)",
        )


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
