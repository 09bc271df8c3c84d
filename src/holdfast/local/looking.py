"""Looking at a local file: who has locked it, who waits for it, who has it open.

Owns: `look` and `holders`, and how what the kernel says of locks and of open files is put together. Must not know: syntax (`proclocks`),
processes (`processes`), lock files (`markers`).

Theory of operation. `/proc/locks` has every lock, but names no process for OFD locks, and a wrong one for a flock whose process has ended and
left it to a child. `/proc/PID/fdinfo` has the locks of an open file, of those processes that we may look into. So the open files of
all processes come first: they tell who has which lock, and under which numbers the kernel knows the file (btrfs and overlayfs show
others in stat(2)); then whatever `/proc/locks` has more under these numbers: waiters, and locks of processes that are hidden from us.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from holdfast.local import sqlite
from holdfast.local.asking import hidden_lock, may_be_hidden
from holdfast.local.markers import found_beside
from holdfast.local.mounts import Mount, mount_of
from holdfast.local.processes import FileId, Opening, ProcessTable
from holdfast.local.proclocks import FileKey, KernelLock
from holdfast.local.values import ByteRange, HolderKind, LocalHolder, LocalLook, Process, Strength

__all__ = ["holders", "look"]

_Side: TypeAlias = str
"""Which file: empty for the one that is asked about, else what is added to its name."""

_NO_KERNEL_LIST: Final = (
    "Which processes have locked a file is told by Linux alone (/proc/locks): on this system try `lsof` or `fuser`."
)
_MOST_RANGES: Final = 3
_HIDDEN: Final = "held by a process of another user: run with sudo to see which"


def holders(path: str | os.PathLike[str]) -> list[LocalHolder]:
    """Who holds the file at `path`, or waits for it; those in the way come first. Raises OSError where there is no such file.

    >>> holders(os.devnull)
    []
    """
    return list(look(path).holders)


def look(path: str | os.PathLike[str], table: ProcessTable | None = None) -> LocalLook:
    """The same, with what could not be seen. `table` defaults to the processes of this machine."""
    place = Path(os.path.realpath(path))
    files = _files(place)
    mount = mount_of(place)
    table = ProcessTable() if table is None else table
    notes: list[str] = []
    found: list[LocalHolder] = []
    try:
        found.extend(_Kernel(table, mount, files).holders())
    except OSError:
        notes.append(_NO_KERNEL_LIST)
    if may_be_hidden(mount) and all(holder.kind is HolderKind.OPEN for holder in found):
        found.extend(_from_outside(place))
        if not found:
            notes.append("A flock from outside this container, or on another machine, cannot be seen from here.")
    if table.hidden and not any(holder.is_in_the_way for holder in found):
        notes.append(
            f"{table.hidden} processes of other users could not be looked into: whether one of them has it open is seen with sudo."
        )
    found.extend(found_beside(place, table))
    return LocalLook(path=str(place), holders=tuple(sorted(found, key=_rank)), notes=tuple(notes))


def _from_outside(place: Path) -> Iterator[LocalHolder]:
    """A lock that the kernel's list does not show, for its process is not one of those that can be seen from here."""
    lock = hidden_lock(place)
    if lock is not None:
        is_exclusive, span = lock
        strength = Strength.EXCLUSIVE if is_exclusive else Strength.SHARED
        yield LocalHolder(
            kind=HolderKind.POSIX,
            strength=strength,
            doing=_lock_words("fcntl", strength, [span], is_waiting=False),
            ranges=(span,),
            note="held outside this container, or on another machine",
        )


def _rank(holder: LocalHolder) -> tuple[bool, bool, int]:
    return not holder.is_in_the_way, not holder.is_waiting, holder.process.pid if holder.process else 0


def _files(place: Path) -> dict[FileId, _Side]:
    """The file, and what SQLite may have beside it. Raises OSError where the file itself is not there."""
    found = os.stat(place)
    files: dict[FileId, _Side] = {(found.st_dev, found.st_ino): ""}
    for companion in sqlite.COMPANIONS:
        with suppress(OSError):
            beside = os.stat(f"{place}{companion}")
            files.setdefault((beside.st_dev, beside.st_ino), companion)
    return files


class _Kernel:
    """One reading of the kernel's tables for one file."""

    def __init__(self, table: ProcessTable, mount: Mount | None, files: Mapping[FileId, _Side]) -> None:
        self._table = table
        self._mount = mount
        self._files = files
        self._known: dict[int, Process | None] = {}
        self._openings = list(table.openings(files))
        self._sides = self._keys()

    def holders(self) -> Iterator[LocalHolder]:
        """Everybody. Raises OSError where the kernel keeps no list of locks."""
        owners: dict[tuple[_Side, KernelLock], set[int]] = {}
        for opening in self._openings:
            for lock in opening.locks:
                owners.setdefault((self._files[opening.file], lock), set()).add(opening.pid)
        seen = {_numberless(lock) for _, lock in owners}
        for lock in self._table.locks():
            side = self._sides.get(lock.key)
            if side is not None and (lock.is_waiting or _numberless(lock) not in seen):
                owners.setdefault((side, lock), set())
        yield from self._grouped(owners)
        yield from self._merely_open({lock.pid for _, lock in owners}.union(*owners.values()))

    def _keys(self) -> dict[FileKey, _Side]:
        """The kernel's numbers of the files."""
        keys: dict[FileKey, _Side] = {}
        for (device, inode), side in self._files.items():
            keys.setdefault(FileKey(os.major(device), os.minor(device), inode), side)
            if self._mount is not None:
                keys.setdefault(FileKey(self._mount.major, self._mount.minor, inode), side)
        for opening in self._openings:
            for lock in opening.locks:
                keys[lock.key] = self._files[opening.file]
        return keys

    def _grouped(self, owners: Mapping[tuple[_Side, KernelLock], set[int]]) -> Iterator[LocalHolder]:
        """One holder for all locks of one kind that the same process has."""
        groups: dict[tuple[int, HolderKind, bool], list[tuple[_Side, KernelLock]]] = {}
        sharing: dict[int, set[int]] = {}
        for (side, lock), pids in owners.items():
            pid = self._first(lock, pids)
            sharing.setdefault(pid, set()).update(pids - {pid})
            groups.setdefault((pid, lock.kind, lock.is_waiting), []).append((side, lock))
        for (pid, kind, is_waiting), locks in groups.items():
            database = [lock for side, lock in locks if side == ""]
            shm = [lock for side, lock in locks if side == sqlite.SHM]
            sharers = [self._process(other) for other in sorted(sharing[pid])]
            if kind is HolderKind.POSIX and not is_waiting and sqlite.is_sqlite(database, shm):
                has_wal = any(side == sqlite.SHM for side in self._files.values())
                doing, strength = sqlite.activity(database, shm, has_wal=has_wal)
                shown = HolderKind.SQLITE
            elif not database:
                continue  # only on a file beside it, and not SQLite's
            else:
                doing, strength = _words(kind, database, is_waiting=is_waiting)
                shown = kind
            process = self._process(pid)
            yield LocalHolder(
                kind=shown,
                strength=strength,
                doing=doing,
                process=process,
                sharers=tuple(one for one in sharers if one is not None),
                ranges=tuple(lock.bytes for lock in database),
                is_waiting=is_waiting,
                note=self._unseen(pid) if process is None else "",
            )

    def _first(self, lock: KernelLock, pids: set[int]) -> int:
        """Of all who share the open file, the one that set the lock; or where it has ended, the one that runs longest."""
        if lock.pid in pids or not pids:
            return lock.pid
        return min(pids, key=self._age)

    def _age(self, pid: int) -> tuple[float, int]:
        process = self._process(pid)
        started = None if process is None else process.started_at
        return (float("inf") if started is None else started.timestamp(), pid)

    def _unseen(self, pid: int) -> str:
        """Why the process of a lock is not shown."""
        if pid > 0 and not self._table.hidden:
            return f"process {pid} has ended, and left the lock to one that is outside this container"
        if pid > 0:
            return f"process {pid} has ended, and left the lock to one of another user: run with sudo to see which"
        if pid < -1:
            return "held on another machine, over the network"
        return _HIDDEN if self._table.hidden else "held outside this container"

    def _merely_open(self, holding: Iterable[int]) -> Iterator[LocalHolder]:
        told = set(holding)
        for opening in sorted(self._openings, key=lambda opening: opening.pid):
            if opening.can_write and self._files[opening.file] == "" and opening.pid not in told:
                told.add(opening.pid)
                yield self._opened(opening)

    def _opened(self, opening: Opening) -> LocalHolder:
        return LocalHolder(
            kind=HolderKind.OPEN,
            strength=Strength.OPEN,
            doing="has it open for writing",
            process=self._process(opening.pid),
        )

    def _process(self, pid: int) -> Process | None:
        if pid not in self._known:
            self._known[pid] = self._table.process(pid)
        return self._known[pid]


def _numberless(lock: KernelLock) -> tuple[HolderKind, FileKey, int, bool, int, int | None]:
    """What two readings of one lock have in common."""
    return lock.kind, lock.key, lock.pid, lock.is_exclusive, lock.bytes.first, lock.bytes.last


def _words(kind: HolderKind, locks: list[KernelLock], *, is_waiting: bool) -> tuple[str, Strength]:
    strength = Strength.EXCLUSIVE if any(lock.is_exclusive for lock in locks) else Strength.SHARED
    if kind is HolderKind.LEASE:
        return "has a lease: it is told before another opens it", strength
    how = "flock" if kind is HolderKind.FLOCK else "fcntl" if kind is HolderKind.POSIX else "fcntl, OFD"
    return _lock_words(how, strength, [lock.bytes for lock in locks], is_waiting=is_waiting), strength


def _lock_words(how: str, strength: Strength, spans: list[ByteRange], *, is_waiting: bool) -> str:
    verb = "waits for a lock on it" if is_waiting else "has locked it"
    more = f" and {len(spans) - _MOST_RANGES} more" if len(spans) > _MOST_RANGES else ""
    ranges = "" if all(span.is_whole for span in spans) else f", {' and '.join(map(str, spans[:_MOST_RANGES]))}{more}"
    return f"{verb} ({how}, {strength.value}{ranges})"
