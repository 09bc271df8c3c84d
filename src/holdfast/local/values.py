"""What is told of a local file: LocalLook, and in it a LocalHolder for each who holds it.

Owns: these values, and which holder stands in the way of others. Must not know: where it was read.
"""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

__all__ = ["ByteRange", "HolderKind", "LocalHolder", "LocalLook", "Process", "Strength"]


class HolderKind(enum.StrEnum):
    """What somebody holds a file with.

    >>> HolderKind.FLOCK == "flock"
    True
    """

    POSIX = "posix"
    """fcntl(2) F_SETLK, which belongs to a process."""
    OFD = "ofd"
    """fcntl(2) F_OFD_SETLK, which belongs to an open file, and so to all processes that share it."""
    FLOCK = "flock"
    """flock(2), which belongs to an open file as well."""
    LEASE = "lease"
    """fcntl(2) F_SETLEASE: its holder is told before somebody else opens the file."""
    SQLITE = "sqlite"
    """POSIX locks on the bytes that SQLite uses."""
    LOCK_FILE = "lock file"
    """A file beside it by which a program tells others that it is being edited."""
    OPEN = "open"
    """No lock: a process has it open for writing."""


class Strength(enum.StrEnum):
    """What it means for others."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    """Others may have it as well, but none exclusively."""
    OPEN = "open"
    """In nobody's way by itself."""


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes `first` to `last` of a file, both included; `last` None is to the end, however long it grows.

    >>> str(ByteRange(0, 99)), str(ByteRange(7, 7)), ByteRange(10, None).overlaps(0, 10)
    ('bytes 0-99', 'byte 7', True)
    """

    first: int
    last: int | None

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any byte from `first` to `last` is in it."""
        return self.first <= last and (self.last is None or self.last >= first)

    @property
    def is_whole(self) -> bool:
        """True for all bytes of the file."""
        return self.first == 0 and self.last is None

    def __str__(self) -> str:
        if self.is_whole:
            return "all bytes"
        if self.last is None:
            return f"bytes {self.first} and up"
        return f"byte {self.first}" if self.first == self.last else f"bytes {self.first}-{self.last}"


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of this machine; what may not be seen of it is empty or None. `command` is its command line.

    >>> Process(pid=4230, user="ada").command
    ''
    """

    pid: int
    user: str = ""
    command: str = ""
    started_at: datetime | None = None


class LocalHolder(msgspec.Struct, frozen=True, kw_only=True):
    """One who holds a file, or waits for it.

    `doing` says in words what it does, as the end of a sentence that begins with its name. `process` is None where it cannot be seen, and for
    lock files whose process is not told. `sharers` are more processes that have the same open file, as children inherit it: the lock stays until
    the last of them has closed it. `user`, `host` and `since` are as a lock file tells them; since when a process has its
    lock is not known to the kernel, only since when the process runs. `at` names the file beside it where that is what is locked
    or what tells. `is_stale`: left over, for its process is no more. `note` says what is not known, and why.

    >>> ada = LocalHolder(kind=HolderKind.FLOCK, strength=Strength.EXCLUSIVE, doing="has locked it", process=Process(pid=7, user="ada"))
    >>> ada.is_in_the_way, ada.name
    (True, 'ada')
    """

    kind: HolderKind
    strength: Strength
    doing: str
    process: Process | None = None
    sharers: tuple[Process, ...] = ()
    ranges: tuple[ByteRange, ...] = ()
    user: str = ""
    host: str = ""
    since: datetime | None = None
    at: str = ""
    is_waiting: bool = False
    is_stale: bool = False
    note: str = ""

    @property
    def is_in_the_way(self) -> bool:
        """True where it keeps somebody else from locking the file, or from editing it."""
        return self.strength is not Strength.OPEN and not self.is_waiting and not self.is_stale

    @property
    def name(self) -> str:
        """The user, by the lock file's word or the process's account; empty where unknown."""
        return self.user or ("" if self.process is None else self.process.user)


class LocalLook(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a file. `notes` are sentences about what could not be seen.

    >>> LocalLook(path="/srv/plan.odt").is_held
    False
    """

    path: str
    holders: tuple[LocalHolder, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """True where somebody is in the way."""
        return any(holder.is_in_the_way for holder in self.holders)
