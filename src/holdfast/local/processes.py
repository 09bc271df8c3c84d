"""Processes as /proc shows them: who they are, and which of them have a file open.

Owns: reading /proc/PID (proc(5)). Must not know: what a lock means. A process may end at any moment, and another user's is not
shown in full: what cannot be read is left empty, and counted where it matters.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from holdfast.local.proclocks import KernelLock, parse_locks
from holdfast.local.values import Process
from holdfast.wire.sentences import clean

__all__ = ["FileId", "Opening", "ProcessTable"]

_MOST_TEXT: Final = 256 * 1024
_LONGEST_COMMAND: Final = 500

FileId = tuple[int, int]
"""st_dev and st_ino."""


class Opening(msgspec.Struct, frozen=True):
    """An open file of a process: which one, whether it can be written through it, and the locks that were set through it."""

    pid: int
    file: FileId
    can_write: bool
    locks: tuple[KernelLock, ...]


class ProcessTable:
    """The processes under /proc, or under another folder that looks like it."""

    def __init__(
        self,
        root: Path = Path("/proc"),
        stat: Callable[[str], os.stat_result] = os.stat,
        listdir: Callable[[str], list[str]] = os.listdir,
    ) -> None:
        """`stat` tells which file a link in /proc/PID/fd leads to, `listdir` which there are."""
        self._root = root
        self._stat = stat
        self._listdir = listdir
        self._booted_at: float | None = None
        self.hidden = 0
        """How many processes could not be looked into, the last time."""

    def locks(self) -> list[KernelLock]:
        """All file locks that this process may see. Raises OSError where the kernel has no such list."""
        return list(parse_locks((self._root / "locks").read_text(encoding="ascii", errors="replace")))

    def exists(self, pid: int) -> bool:
        """Whether there is such a process, that this one can see."""
        return pid > 0 and (self._root / str(pid)).is_dir()

    def process(self, pid: int) -> Process | None:
        """Who that is; None where there is none."""
        if not self.exists(pid):
            return None
        return Process(pid=pid, user=self._user(pid), command=self._command(pid), started_at=self._started_at(pid))

    def openings(self, files: Mapping[FileId, object]) -> Iterator[Opening]:
        """Every open file of every process that is one of `files`."""
        self.hidden = 0
        for name in os.listdir(self._root):
            if name.isdecimal():
                yield from self._openings_of(int(name), files)

    def _openings_of(self, pid: int, files: Mapping[FileId, object]) -> Iterator[Opening]:
        folder = f"{self._root}/{pid}"
        try:
            numbers = self._listdir(f"{folder}/fd")
        except PermissionError:
            self.hidden += 1
            return
        except OSError:
            return
        for number in numbers:
            with suppress(OSError):
                found = self._stat(f"{folder}/fd/{number}")
                file = (found.st_dev, found.st_ino)
                if file in files:
                    text = _read(f"{folder}/fdinfo/{number}")
                    yield Opening(pid, file, _can_write(text), tuple(parse_locks(text)))

    def _user(self, pid: int) -> str:
        with suppress(OSError, ValueError, IndexError):
            for line in _read(f"{self._root}/{pid}/status").splitlines():
                if line.startswith("Uid:"):
                    return _account(int(line.split()[2]))
        return ""

    def _command(self, pid: int) -> str:
        with suppress(OSError):
            text = _read(f"{self._root}/{pid}/cmdline")
            words = text.rstrip("\0").split("\0")
            # A program that renamed itself has written one text over all of its words.
            line = words[0] if len(words) == 1 else shlex.join(words)
            return clean(line, _LONGEST_COMMAND) or f"[{clean(_read(f'{self._root}/{pid}/comm'))}]"
        return ""

    def _started_at(self, pid: int) -> datetime | None:
        with suppress(OSError, ValueError, IndexError, OverflowError):
            # The second field is the program's name in brackets, which may have spaces and brackets in it.
            ticks = int(_read(f"{self._root}/{pid}/stat").rpartition(")")[2].split()[19])
            seconds = self._boot() + ticks / os.sysconf("SC_CLK_TCK")
            return datetime.fromtimestamp(int(seconds), UTC)
        return None

    def _boot(self) -> float:
        if self._booted_at is None:
            lines = (self._root / "stat").read_text(encoding="ascii", errors="replace").splitlines()
            [self._booted_at] = [float(line.split()[1]) for line in lines if line.startswith("btime ")]
        return self._booted_at


def _can_write(fdinfo: str) -> bool:
    for line in fdinfo.splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE in {os.O_WRONLY, os.O_RDWR}
    return False


def _account(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_MOST_TEXT).decode("utf-8", "replace")
