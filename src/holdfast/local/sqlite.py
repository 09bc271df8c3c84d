"""What a process does to an SQLite database, by the bytes that it has locked.

Owns: those bytes (SQLite's os.h and wal.c; https://sqlite.org/walformat.html section 2.3.1) and the words for them. Pure. Ranges that touch and
are locked alike are merged by the kernel, so it is overlap that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.local.proclocks import KernelLock
from holdfast.local.values import HolderKind, Strength

__all__ = ["COMPANIONS", "SHM", "activity", "is_sqlite"]

SHM: Final = "-shm"
COMPANIONS: Final = (SHM, "-wal", "-journal")
"""What SQLite adds to the name of a database for the files beside it."""

_PENDING: Final = 0x40000000
_RESERVED: Final = _PENDING + 1
_SHARED: Final = (_PENDING + 2, _PENDING + 511)
_WAL_WRITE, _WAL_CHECKPOINT, _WAL_RECOVER = 120, 121, 122
_WAL_READERS: Final = (123, 127)
_WAL_OPEN: Final = 128


def is_sqlite(database: Sequence[KernelLock], shm: Sequence[KernelLock]) -> bool:
    """True where these locks of one process are SQLite's."""
    found = [lock for lock in database if lock.kind is HolderKind.POSIX and lock.bytes.last is not None]
    return any(lock.bytes.first >= _PENDING and lock.bytes.overlaps(_PENDING, _SHARED[1]) for lock in found) or any(
        lock.kind is HolderKind.POSIX and lock.bytes.overlaps(_WAL_WRITE, _WAL_OPEN) for lock in shm
    )


def activity(database: Sequence[KernelLock], shm: Sequence[KernelLock], *, has_wal: bool) -> tuple[str, Strength]:
    """What a process does, by its locks on the database and on its -shm file. `has_wal`: the database is in WAL mode."""
    for locks, is_exclusive, first, last, words, strength in _MEANINGS:
        chosen = shm if locks == SHM else database
        if any(lock.is_exclusive >= is_exclusive and lock.bytes.overlaps(first, last) for lock in chosen):
            return words, strength
    if has_wal:
        return "SQLite: has it open (WAL mode)", Strength.OPEN
    return "SQLite: is reading (SHARED)", Strength.SHARED


# The first that fits counts: whether on the database or the -shm file, whether it must be a write lock, the bytes, the words.
_MEANINGS: Final = (
    ("", True, *_SHARED, "SQLite: is writing (EXCLUSIVE: nobody can read)", Strength.EXCLUSIVE),
    ("", True, _PENDING, _PENDING, "SQLite: is about to commit, and waits for readers (PENDING)", Strength.EXCLUSIVE),
    ("", True, _RESERVED, _RESERVED, "SQLite: is writing (RESERVED: readers go on)", Strength.EXCLUSIVE),
    (SHM, True, _WAL_RECOVER, _WAL_RECOVER, "SQLite: is recovering the WAL", Strength.EXCLUSIVE),
    (SHM, True, _WAL_WRITE, _WAL_WRITE, "SQLite: is writing (WAL: readers go on)", Strength.EXCLUSIVE),
    (SHM, True, _WAL_CHECKPOINT, _WAL_CHECKPOINT, "SQLite: is checkpointing the WAL", Strength.SHARED),
    (SHM, False, *_WAL_READERS, "SQLite: is reading (WAL snapshot)", Strength.SHARED),
)
