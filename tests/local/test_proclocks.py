"""The kernel's lines about locks, in every form that fs/locks.c writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.local.mounts import parse_mounts
from holdfast.local.proclocks import FileKey, KernelLock, parse_locks
from holdfast.local.values import ByteRange, HolderKind

KEY = FileKey(0xFE, 0, 131074)
WHOLE = ByteRange(0, None)


@pytest.mark.parametrize(
    ("line", "lock"),
    [
        ("1: POSIX  ADVISORY  WRITE 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.POSIX, KEY, 4711, True, WHOLE)),
        ("2: POSIX  ADVISORY  READ 4711 fe:00:131074 5 14", KernelLock(HolderKind.POSIX, KEY, 4711, False, ByteRange(5, 14))),
        ("3: FLOCK  ADVISORY  WRITE 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.FLOCK, KEY, 4711, True, WHOLE)),
        ("4: OFDLCK ADVISORY  READ -1 fe:00:131074 0 EOF", KernelLock(HolderKind.OFD, KEY, -1, False, WHOLE)),
        ("5: LEASE  ACTIVE    WRITE 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.LEASE, KEY, 4711, True, WHOLE)),
        ("6: DELEG  ACTIVE    READ 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.LEASE, KEY, 4711, False, WHOLE)),
        ("7: LEASE  BREAKING  UNLCK 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.LEASE, KEY, 4711, False, WHOLE)),
        ("1: -> POSIX  ADVISORY  WRITE 9 fe:00:131074 0 EOF", KernelLock(HolderKind.POSIX, KEY, 9, True, WHOLE, True)),
        ("1:  -> FLOCK  ADVISORY  WRITE 9 fe:00:131074 0 EOF", KernelLock(HolderKind.FLOCK, KEY, 9, True, WHOLE, True)),
        ("lock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:00:131074 0 EOF", KernelLock(HolderKind.FLOCK, KEY, 4711, True, WHOLE)),
    ],
)  # fmt: skip
def test_each_kind_of_line_is_read(line: str, lock: KernelLock):
    assert list(parse_locks(f"pos:\t0\nflags:\t0100002\n{line}\n")) == [lock]


@pytest.mark.parametrize(
    "line",
    ["", "1: POSIX", "1: POSIX  *NOINODE* WRITE 7 <none>:0 0 EOF", "1: NEWLCK ADVISORY WRITE 7 fe:00:1 0 EOF", "x: FLOCK ADVISORY WRITE 7 0:0:1 0 EOF"],
)  # fmt: skip
def test_what_is_no_lock_on_a_file_is_passed_over(line: str):
    assert list(parse_locks(line)) == []


@given(st.text(alphabet="1:-> POSIXFLCKADVRWTE0123456789abcdef\n"))
def test_no_text_is_too_odd(text: str):
    list(parse_locks(text))


@given(st.text())
def test_no_list_of_mounts_is_too_odd(text: str):
    parse_mounts(text)


def test_a_mount_with_blanks_in_its_name_is_read():
    line = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - btrfs /dev/root rw,errors=continue"
    [mount] = parse_mounts(line)
    assert (mount.point, mount.major, mount.minor, mount.kind) == ("/mnt/a b", 98, 0, "btrfs")
