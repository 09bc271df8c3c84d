"""Which bytes SQLite locks for what, as seen on real databases, merged ranges included."""

from __future__ import annotations

import pytest

from holdfast.local.proclocks import FileKey, KernelLock
from holdfast.local.sqlite import activity, is_sqlite
from holdfast.local.values import ByteRange, HolderKind, Strength

P = 0x40000000


def lock(access: str, first: int, last: int) -> KernelLock:
    return KernelLock(HolderKind.POSIX, FileKey(0, 1, 2), 7, access == "write", ByteRange(first, last))


@pytest.mark.parametrize(
    ("database", "shm", "words", "strength"),
    [
        ([("read", P + 2, P + 511)], [], "reading (SHARED)", Strength.SHARED),
        ([("write", P + 1, P + 1), ("read", P + 2, P + 511)], [], "writing (RESERVED", Strength.EXCLUSIVE),
        ([("write", P, P + 1), ("read", P + 2, P + 511)], [], "commit", Strength.EXCLUSIVE),
        ([("write", P, P + 511)], [], "EXCLUSIVE", Strength.EXCLUSIVE),
        ([("read", P + 2, P + 511)], [("read", 128, 128)], "open (WAL", Strength.OPEN),
        ([("read", P + 2, P + 511)], [("write", 120, 120), ("read", 123, 123), ("read", 128, 128)], "writing (WAL", Strength.EXCLUSIVE),
        ([("read", P + 2, P + 511)], [("read", 127, 128)], "reading (WAL", Strength.SHARED),
        ([("read", P + 2, P + 511)], [("write", 121, 121), ("read", 128, 128)], "checkpoint", Strength.SHARED),
        ([("read", P + 2, P + 511)], [("write", 120, 122), ("read", 128, 128)], "recovering", Strength.EXCLUSIVE),
    ],
)  # fmt: skip
def test_the_bytes_tell_what_it_does(database, shm, words, strength):
    on_database, on_shm = [lock(*one) for one in database], [lock(*one) for one in shm]
    assert is_sqlite(on_database, on_shm)
    said, how = activity(on_database, on_shm, has_wal=bool(shm))
    assert words in said
    assert how is strength


def test_a_lock_on_a_whole_file_or_on_its_first_bytes_is_not_sqlites():
    whole = KernelLock(HolderKind.POSIX, FileKey(0, 1, 2), 7, True, ByteRange(0, None))
    assert not is_sqlite([whole], [])
    assert not is_sqlite([lock("write", 0, 99)], [])
    assert not is_sqlite([lock("write", 0, P + 511)], [])
