"""A copy of a database in use: whole, of one moment, and in one file.

Owns: taking the copy, making it fit to be restored, placing it. Must not know: locks.

Theory of operation. SQLite's online backup copies every page inside one read transaction on a connection of its own,
so the copy is what the store was at one commit; writers go on meanwhile, since the store is in WAL mode. The
source is opened read-only: nothing of it is changed, checkpointed or removed. The `-wal` and `-shm` files are never
copied, and the copy needs none: it is left in rollback mode, and the store that opens it turns WAL on again.

A restored store begins at an earlier moment than the one it replaces, and must not give out a fencing token, the
number of an event, or a place in the line, for the second time. So the copy's counters lie 2**32 ahead of the source's.

The copy is made aside, checked, synced, and gets its name in one step: whoever sees the name sees a whole copy.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from holdfast.store.protocol import StoreError
from holdfast.store.sqlite.inspection import opened_to_read
from holdfast.store.sqlite.opening import _APPLICATION_ID, explain, shipped_migrations

__all__ = ["COUNTER_LEAP", "Backup", "back_up"]

COUNTER_LEAP: Final = 1 << 32
"""More fencing tokens and events than a server gives out between two backups; a million leaps stay exact in JSON."""

_LEAP: Final = (
    "UPDATE counters SET next_fencing_token = max(next_fencing_token, fencing_ceiling) + :leap,"
    " fencing_ceiling = max(next_fencing_token, fencing_ceiling) + :leap, next_seq = next_seq + :leap"
)
_LEAP_IN_LINE: Final = "UPDATE counters SET next_place = next_place + :leap"
_FIRST_WITH_WAITERS: Final = 3
"""The version of the schema that has places in a line."""


class Backup(msgspec.Struct, frozen=True):
    """What a finished backup holds."""

    bytes: int
    locks: int
    properties: int


def back_up(source: Path, target: Path, *, overwrite: bool = False) -> Backup:
    """Copy the database at `source`, in use or not, to `target` (mode 0600), which is whole on disk once this returns.

    Raises StoreError in plain words: no Holdfast database, a target that exists (unless `overwrite`), a full disk.
    """
    if target.is_dir():
        msg = f"{target} is a folder; name the file to write"
        raise StoreError(msg)
    if not overwrite and os.path.lexists(target):
        raise _taken(target)
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            made = _copy(source, aside)
            _sync(aside, os.O_RDWR)
            _place(aside, target, overwrite=overwrite)
            _sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            for left in (aside, aside.with_name(f"{aside.name}-journal")):
                left.unlink(missing_ok=True)
    except OSError as error:
        msg = (
            f"{target} cannot be written: {error.strerror}; check its folder, its permissions and the room on its disk"
        )
        raise StoreError(msg) from error
    return made


def _copy(source: Path, aside: Path) -> Backup:
    with opened_to_read(source) as reader, contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as copy:
        version = _check_origin(reader, source)
        try:
            # All pages in one step: a copy in several would begin anew whenever another process writes between two.
            reader.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
            copy.execute(_LEAP, {"leap": COUNTER_LEAP})
            if version >= _FIRST_WITH_WAITERS:
                copy.execute(_LEAP_IN_LINE, {"leap": COUNTER_LEAP})
            said = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            (locks,) = copy.execute("SELECT count(*) FROM locks").fetchone()
            (properties,) = copy.execute("SELECT count(*) FROM properties").fetchone()
        except sqlite3.Error as error:
            damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
            raise explain(error, source if damaged else aside) from error
    if said != "ok":
        msg = f"{source} is damaged ({said}), so no backup was made; `holdfast check` says more"
        raise StoreError(msg)
    return Backup(aside.stat().st_size, locks, properties)


def _check_origin(reader: sqlite3.Connection, source: Path) -> int:
    """The version of the schema, if this is a database to back up."""
    application = reader.execute("PRAGMA application_id").fetchone()[0]
    version = reader.execute("PRAGMA user_version").fetchone()[0]
    newest = shipped_migrations()[-1][0]
    if application != _APPLICATION_ID:
        msg = f"{source} is not a database of Holdfast"
        raise StoreError(msg)
    if version > newest:
        msg = f"{source} was written by a newer Holdfast (version {version}, this one knows {newest}); back up with that one"
        raise StoreError(msg)
    return version


def _place(aside: Path, target: Path, *, overwrite: bool) -> None:
    """Give the copy its name, in one step. Without `overwrite` a name that is taken, if only just now, stays as it is."""
    if overwrite:
        aside.replace(target)
        return
    try:
        os.link(aside, target)
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise _taken(target) from None
        aside.replace(target)


def _taken(target: Path) -> StoreError:
    msg = f"{target} exists; name another file, or replace it with --force"
    return StoreError(msg)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
