"""Who holds a SQLite database, by the kernel's list of locks.

Owns: how a look at the file becomes holders, what this process has open itself, and asking for locks that the list does not show. Must not
know: byte ranges (`holdfast.local`). The kernel does not tell since when somebody has a lock, so what is told beside it is what is known: since
when the process runs, and when something was last written. The file is never opened in this process: closing it again would drop SQLite's own locks
(https://sqlite.org/howtocorrupt.html section 2.2), and let another process write in between.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import Holder, UnreachableDatabaseError, rank
from holdfast.local import HolderKind, LocalHolder, LocalLook, Strength
from holdfast.local import look as look_at_file

__all__ = ["look", "notes_of"]

_TELLING: Final = frozenset({HolderKind.SQLITE, HolderKind.POSIX, HolderKind.OFD, HolderKind.FLOCK})
_PATIENCE_S: Final = 5.0
_FLOCK: Final = "hhqqi4x"  # struct flock of Linux
_OUTSIDE: Final = "held outside this container, or on another machine"
# What is asked of the kernel one by one: on which file, the bytes, the words. The database file's bytes are those of SQLite's os.h.
_QUESTIONS: Final = (
    ("", 0x40000001, 1, "SQLite: is writing (RESERVED or more)"),
    ("-shm", 120, 1, "SQLite: is writing (WAL: readers go on)"),
    ("-shm", 122, 1, "SQLite: is recovering the WAL"),
)
_READING: Final = ("", 0x40000002, 510, "SQLite: is reading (SHARED)")
_SCRIPT: Final = f"""
import fcntl, os, struct, sys
for place, start, length in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    try:
        number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        asked = struct.pack({_FLOCK!r}, fcntl.F_WRLCK, 0, int(start), int(length), 0)
        answer = struct.unpack({_FLOCK!r}, fcntl.fcntl(number, fcntl.F_GETLK, asked))
        print(0 if answer[0] == fcntl.F_UNLCK else 1, answer[4])
    except OSError:
        print(0, 0)
"""


def look(path: Path) -> list[Holder]:
    """Who holds the database at `path`, as of now. Raises UnreachableDatabaseError where there is no such file."""
    seen = _seen(path)
    holders = [_holder(one, seen.path) for one in seen.holders if one.kind in _TELLING and _holds(one)]
    if not any(holder.is_in_the_way for holder in holders):
        holders.extend(_hidden(Path(seen.path), {one.process.pid for one in seen.holders if one.process}))
    return sorted(holders, key=rank)


def notes_of(path: Path) -> tuple[str, ...]:
    """What could not be seen, in sentences."""
    return _seen(path).notes


def _seen(path: Path) -> LocalLook:
    if path.is_dir():
        msg = f"{path} is a folder: name the SQLite file in it."
        raise UnreachableDatabaseError(msg)
    if path.exists() and not path.is_file():
        msg = f"{path} is a device or a pipe, and no SQLite file."
        raise UnreachableDatabaseError(msg)
    try:
        return look_at_file(path)
    except OSError as error:
        msg = f"{path} cannot be looked at: {error.strerror or error}"
        raise UnreachableDatabaseError(msg) from error


def _holds(one: LocalHolder) -> bool:
    # Whoever came in through `_hidden`'s coarser question is asked for anew, byte by byte.
    return (one.is_in_the_way or one.is_waiting) and not (
        one.kind is HolderKind.POSIX and one.process is None and "outside" in one.note
    )


def _holder(one: LocalHolder, path: str) -> Holder:
    process = one.process
    is_own = process is not None and process.pid == os.getpid()
    begun = _own_transactions(path) if is_own else []
    is_writing = one.strength is Strength.EXCLUSIVE and one.kind is HolderKind.SQLITE
    since = begun[0].since if begun else None
    places = list(dict.fromkeys(found.place for found in begun))
    return Holder(
        dialect=Dialect.SQLITE,
        pid=None if process is None else process.pid,
        doing=one.doing.removeprefix("SQLite: "),
        user=one.name,
        program="" if process is None else process.command,
        state=one.kind.value,
        resource=os.path.basename(path),
        mode=one.strength.value,
        since=since,
        held_s=None if since is None else (datetime.now(UTC) - since).total_seconds(),
        started_at=None if process is None else process.started_at,
        last_write_at=_last_write(path) if is_writing else None,
        # A reader of a WAL snapshot keeps no writer waiting, and no other reader.
        is_in_the_way=one.is_in_the_way and "WAL snapshot" not in one.doing and "checkpointing" not in one.doing,
        is_waiting=one.is_waiting,
        is_this_process=is_own,
        began_at=" and ".join(places),
        note="; ".join(note for note in (one.note, _own_note(is_own=is_own, is_known=bool(places))) if note),
    )


def _last_write(path: str) -> datetime | None:
    """By the times of the files, which are looked at from outside. The -shm is left out: what is written to it shows in no time."""
    times: list[float] = []
    for end in ("", "-wal", "-journal"):
        with suppress(OSError):
            times.append(os.stat(f"{path}{end}").st_mtime)
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _own_note(*, is_own: bool, is_known: bool) -> str:
    if not is_own:
        return ""
    if is_known:
        return "held by this very process"
    return "held by this very process; where in its code is told for engines that holdfast.databases.watch(engine) was called for"


def _own_transactions(path: str) -> list[Any]:
    """This process's open transactions in this file, by what it watches; nothing is loaded for it."""
    watching = sys.modules.get("holdfast.databases.watching")
    if watching is None:
        return []
    return [found for found in watching.open_transactions() if _is_same(found.database, path)]


def _is_same(url: str, path: str) -> bool:
    from holdfast.databases.connecting import dialect_of, sqlite_path

    if dialect_of(url) is not Dialect.SQLITE:
        return False
    place = sqlite_path(url)
    try:
        return place is not None and os.path.samefile(place, path)
    except OSError:
        return False


def _hidden(path: Path, seen: set[int]) -> list[Holder]:
    """Locks that are there but in nobody's list here: of a process outside this container, or on another machine."""
    if not sys.platform.startswith("linux") or not sys.executable or not stat.S_ISREG(path.stat().st_mode):
        return []
    is_wal = os.path.exists(f"{path}-shm")
    questions = (*_QUESTIONS, *(() if is_wal else (_READING,)))
    words = [word for end, start, length, _ in questions for word in (f"{path}{end}", str(start), str(length))]
    command = [sys.executable, "-I", "-S", "-c", _SCRIPT, *words]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return []
    for (_, _, _, doing), line in zip(questions, done.stdout.splitlines(), strict=False):
        is_held, pid = (int(word) for word in line.split())
        # A process that can be seen has taken it since the list was read; the next look will tell.
        if is_held and (pid <= 0 or (pid not in seen and not os.path.exists(f"/proc/{pid}"))):
            return [
                Holder(
                    dialect=Dialect.SQLITE,
                    doing=doing.removeprefix("SQLite: "),
                    resource=path.name,
                    mode="exclusive" if "reading" not in doing else "shared",
                    state=HolderKind.SQLITE.value,
                    last_write_at=None if "reading" in doing else _last_write(str(path)),
                    note=_OUTSIDE,
                )
            ]
    return []
