"""The kernel's words about file locks: lines of `/proc/locks`, and the `lock:` lines of `/proc/PID/fdinfo/FD`.

Owns: their syntax (fs/locks.c, lock_get_status). Pure. Must not know: which file is asked about, what a process is.

    1: POSIX  ADVISORY  WRITE 4711 fe:00:131074 0 EOF
    1: -> POSIX  ADVISORY  WRITE 4712 fe:00:131074 0 EOF

The second line is one who waits for the first. OFD locks have -1 for a process; and a line whose process has ended (a flock that
its children have inherited) has the number of nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from holdfast.local.values import ByteRange, HolderKind

__all__ = ["FileKey", "KernelLock", "parse_locks"]

_LINE: Final = re.compile(
    r"(?:lock:\s*)?\d+:\s+(?P<waits>->\s+)?(?P<kind>POSIX|OFDLCK|FLOCK|LEASE|DELEG)\s+(?P<state>\S+)\s+(?P<access>READ|WRITE|UNLCK)\s+"
    r"(?P<pid>-?\d+)\s+(?P<major>[0-9a-f]+):(?P<minor>[0-9a-f]+):(?P<inode>\d+)\s+(?P<first>\d+)\s+(?P<last>\d+|EOF)\s*",
    re.ASCII,
)
_KINDS: Final = {
    "POSIX": HolderKind.POSIX,
    "OFDLCK": HolderKind.OFD,
    "FLOCK": HolderKind.FLOCK,
    "LEASE": HolderKind.LEASE,
    "DELEG": HolderKind.LEASE,
}


class FileKey(msgspec.Struct, frozen=True):
    """A file as the kernel's lock table names it: the device of its file system, and its inode number."""

    major: int
    minor: int
    inode: int


class KernelLock(msgspec.Struct, frozen=True):
    """One line. `pid` is -1 where the lock belongs to no process; who waits for a lock `is_waiting`."""

    kind: HolderKind
    key: FileKey
    pid: int
    is_exclusive: bool
    bytes: ByteRange
    is_waiting: bool = False


def parse_locks(text: str) -> Iterator[KernelLock]:
    """The locks in the text of either file, in its order; lines that are none are passed over."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        last = None if match["last"] == "EOF" else int(match["last"])
        yield KernelLock(
            _KINDS[match["kind"]],
            FileKey(int(match["major"], 16), int(match["minor"], 16), int(match["inode"])),
            int(match["pid"]),
            match["access"] == "WRITE",
            ByteRange(int(match["first"]), last),
            match["waits"] is not None,
        )
