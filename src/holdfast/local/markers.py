"""Lock files that programs put beside a file while somebody edits it: LibreOffice, Microsoft Office, Emacs, Vim.

Owns: their names and what is in them. Must not know: kernel locks. They are written by others, perhaps on another machine: they are read up to
a bound, only where they are plain files, and all text in them is cleaned. None of them is proof: a program that was killed leaves its
own behind, which is told where it can be known (`is_stale`).
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from holdfast.local.processes import ProcessTable
from holdfast.local.values import HolderKind, LocalHolder, Process, Strength
from holdfast.wire.sentences import clean

__all__ = ["found_beside"]

_MOST: Final = 4096
_VIM_TRIES: Final = ("swp", "swo", "swn")
_WORD_NAMES: Final = frozenset({".doc", ".docx", ".docm", ".dot", ".dotx", ".dotm", ".rtf", ".odt"})
_EMACS: Final = re.compile(r"(?P<user>.*)@(?P<host>[^@]*?)\.(?P<pid>\d{1,10})(?::\d+)?", re.DOTALL)
_SEPARATED: Final = re.compile(r"((?:[^\\,;]|\\.)*)[,;]", re.DOTALL)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a lock file says."""

    program: str
    user: str
    host: str = ""
    pid: int = 0
    since: datetime | None = None


def found_beside(path: Path, table: ProcessTable) -> Iterator[LocalHolder]:
    """Those who edit the file at `path`, by the lock files beside it."""
    readers: list[tuple[Path, Callable[[Path], _Told | None]]] = [
        (path.with_name(f".~lock.{path.name}#"), _libreoffice),
        *((path.with_name(name), _office) for name in _office_names(path)),
        (path.with_name(f".#{path.name}"), _emacs),
        *((place, _vim) for place in _vim_places(path)),
    ]
    for place, read in readers:
        told = None
        with suppress(OSError, ValueError, OverflowError):
            told = read(place)
        if told is not None:
            yield _holder(place, told, table)


def _holder(place: Path, told: _Told, table: ProcessTable) -> LocalHolder:
    is_here = told.host == "" or _same_host(told.host, socket.gethostname())
    process: Process | None = None
    if told.pid and is_here and told.host:
        process = table.process(told.pid)
    is_stale = bool(told.pid and told.host and is_here and process is None)
    left = ", but no longer: its process has ended, and the file was left over" if is_stale else ""
    return LocalHolder(
        kind=HolderKind.LOCK_FILE,
        strength=Strength.EXCLUSIVE,
        doing=f"has it open in {told.program}{left}",
        process=process,
        user=clean(told.user),
        host=clean(told.host),
        since=told.since,
        at=place.name,
        is_stale=is_stale,
        note="" if process is not None or not told.pid or is_stale else f"process {told.pid} there",
    )


def _libreoffice(place: Path) -> _Told | None:
    """`,user,host,date,profile;` with the name from the settings first, and a backslash before what is not a separator."""
    text = _content(place).decode("utf-8", "replace")
    fields = [re.sub(r"\\(.)", r"\1", field) for field in _SEPARATED.findall(text)]
    if len(fields) < 4:
        return None
    name, account, host, edited = fields[:4]
    since = None
    with suppress(ValueError):
        since = datetime.strptime(edited.strip(), "%d.%m.%Y %H:%M").astimezone()
    return _Told(program="LibreOffice", user=name or account, host=host, since=since)


def _office_names(path: Path) -> Iterator[str]:
    """Excel and PowerPoint put `~$` before the name; Word puts it over the first letters of a longer one."""
    yield f"~${path.name}"
    extra = min(max(len(path.stem) - 6, 0), 2)
    if path.suffix.lower() in _WORD_NAMES and extra:
        yield f"~${path.name[extra:]}"


def _office(place: Path) -> _Told | None:
    """The user's name twice: in one-byte letters with its length before it, then in UTF-16 behind offset 54 (Word) or 55."""
    data = _content(place)
    if not 54 <= len(data) <= 1024 or not 0 < data[0] <= 52:
        return None
    name = data[1 : 1 + data[0]].decode("cp1252", "replace")
    at = 55 if len(data) == 165 else 54
    length = int.from_bytes(data[at : at + 2], "little")
    if 0 < length <= 52 and len(data) >= at + 2 + 2 * length:
        name = data[at + 2 : at + 2 + 2 * length].decode("utf-16-le", "replace")
    return _Told(program="Microsoft Office", user=name.strip(" \0"), since=_changed_at(place))


def _emacs(place: Path) -> _Told | None:
    """A symbolic link to nowhere, whose target is `user@host.pid:boot`."""
    match = _EMACS.fullmatch(os.readlink(place))
    if match is None:
        return None
    return _Told(
        program="Emacs", user=match["user"], host=match["host"], pid=int(match["pid"]), since=_changed_at(place)
    )


def _vim_places(path: Path) -> Iterator[Path]:
    for ending in _VIM_TRIES:
        yield path.with_name(f".{path.name.removeprefix('.')}.{ending}")
    # Neovim keeps them in one folder of the user's.
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    flat = str(path).replace("/", "%")
    for ending in _VIM_TRIES:
        yield home / "nvim" / "swap" / f"{flat}.{ending}"


def _vim(place: Path) -> _Told | None:
    """Block 0 of a swap file: `b0`, the version, then process, user and host at fixed places (Vim's memline.c)."""
    data = _content(place)
    if data[:2] != b"b0" or len(data) < 108:
        return None
    version, user, host = (_until_nul(data[a:b]) for a, b in ((2, 12), (28, 68), (68, 108)))
    program = "nano" if version.startswith("nano") else "Neovim" if place.parent.name == "swap" else "Vim"
    pid = int.from_bytes(data[24:28], "little")
    return _Told(program=program, user=user, host=host, pid=pid, since=_changed_at(place))


def _until_nul(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _content(place: Path) -> bytes:
    """The beginning of a plain file; raises OSError for anything else, and never waits."""
    if not stat.S_ISREG(os.lstat(place).st_mode):
        msg = f"{place} is no plain file"
        raise OSError(msg)
    number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.read(number, _MOST) if stat.S_ISREG(os.fstat(number).st_mode) else b""
    finally:
        os.close(number)


def _changed_at(place: Path) -> datetime:
    return datetime.fromtimestamp(int(os.lstat(place).st_mtime), UTC)


def _same_host(one: str, other: str) -> bool:
    """Whether two names may be of one machine; either may be without its domain."""
    one, other = one.lower(), other.lower()
    return one == other or one.partition(".")[0] == other or other.partition(".")[0] == one
