"""What is found in a state folder: who uses it, who may read it, what was left behind, and the database in it.

Owns: the questions about the folder and about what does not fit the served folder. Must not know: flags, the terminal.
Nothing is changed; while the check runs it holds the folder's claim, where no server does, so that none starts meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from holdfast.access.sessions import KEY_NAME
from holdfast.config import DATABASE_NAME
from holdfast.core.paths import ResourcePath
from holdfast.server import MOUNT
from holdfast.state import CLAIM_NAME, LAYOUT_VERSION, VERSION_NAME
from holdfast.store.sqlite.inspection import Finding, Level, inspect_database, paths_with_properties

__all__ = ["StateReport", "check_state"]

_PRIVATE: Final = (DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm", CLAIM_NAME, KEY_NAME)
_SHOWN: Final = 3


class StateReport(msgspec.Struct, frozen=True):
    """All findings about one state folder; `server` is the process number of the server that uses it, or None."""

    state: str
    server: int | None
    findings: tuple[Finding, ...]

    @property
    def has_faults(self) -> bool:
        """True when a person has to look at something."""
        return any(finding.level is Level.FAULT for finding in self.findings)


def check_state(state: Path, folder: Path | None) -> StateReport:
    """Look at a state folder, and with `folder` at what in it does not fit the served folder.

    Raises StoreError or OSError for what cannot be looked at.
    """
    with ExitStack() as stack:
        server = _claim(state, stack)
        if server is None:
            used = Finding(Level.OK, "server", "No server is using it.")
        else:
            used = Finding(Level.OK, "server", f"In use by a server{f' (process {server})' if server else ''}.")
        found = [used, _layout(state), *_permissions(state)]
        database = state / DATABASE_NAME
        if not database.exists():
            found.append(Finding(Level.NOTICE, "database", "There is none; the next start of the server makes it."))
        else:
            looked = inspect_database(database)
            found += looked
            if folder is not None and server is None and not any(f.level is Level.FAULT for f in looked):
                found.append(_orphans(paths_with_properties(database), folder))
        found += _leftovers([state, *([folder / ".holdfast"] if folder is not None else [])])
    return StateReport(str(state), server, tuple(found))


def _claim(state: Path, stack: ExitStack) -> int | None:
    """Hold the claim until `stack` ends; where a server holds it, its process number (0: unknown).

    The file is not made where it is missing: made by another account, it would lock the server out.
    """
    try:
        claim = os.open(state / CLAIM_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    stack.callback(os.close, claim)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(claim, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isascii() and text.isdigit() else 0
    return None


def _layout(state: Path) -> Finding:
    try:
        text = (state / VERSION_NAME).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return Finding(Level.NOTICE, "layout", "There is no VERSION; the next start of the server writes it.")
    if not text.isascii() or not text.isdigit():
        return Finding(
            Level.FAULT, "layout", "VERSION is not what Holdfast wrote; restore it from a backup, or remove it."
        )
    if int(text) > LAYOUT_VERSION:
        return Finding(Level.FAULT, "layout", f"Written by a newer Holdfast (layout {text}); check with that one.")
    return Finding(Level.OK, "layout", f"Layout {text}.")


def _permissions(state: Path) -> Iterator[Finding]:
    """Lock tokens are in the database: nobody but the server's account may read it."""
    home = os.lstat(state)
    wrong: list[str] = []
    if home.st_mode & 0o077:
        wrong.append(f"others may look into the folder (mode {stat.S_IMODE(home.st_mode):04o}, should be 0700)")
    for name in _PRIVATE:
        try:
            found = os.lstat(state / name)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            wrong.append(f"{name} is no plain file")
        elif found.st_mode & 0o077:
            wrong.append(f"others may use {name} (mode {stat.S_IMODE(found.st_mode):04o}, should be 0600)")
        if found.st_uid != home.st_uid:
            wrong.append(f"{name} belongs to another account ({found.st_uid}) than the folder ({home.st_uid})")
    for text in wrong:
        yield Finding(Level.FAULT, "permissions", f"{text[0].upper()}{text[1:]}.")
    if not wrong:
        yield Finding(Level.OK, "permissions", "Its owner alone may read it.")


def _orphans(resources: Sequence[ResourcePath], folder: Path) -> Finding:
    """Dead properties of resources that are not there: a kill between a removal and its record can leave them."""
    lost = [resource.text for resource in resources if not _exists(resource, folder)]
    if not lost:
        return Finding(Level.OK, "properties", "Every resource with dead properties exists.")
    names = ", ".join(lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
    what = (
        "1 resource with dead properties does" if len(lost) == 1 else f"{len(lost)} resources with dead properties do"
    )
    text = f"{what} not exist ({names}); a new one of that name begins without."
    return Finding(Level.NOTICE, "properties", text)


def _exists(resource: ResourcePath, folder: Path) -> bool:
    if resource == MOUNT:
        return True
    if not resource.is_below(MOUNT):
        return False
    return os.path.lexists(folder / resource.text.removeprefix(f"{MOUNT.text}/"))


def _leftovers(homes: Sequence[Path]) -> Iterator[Finding]:
    """Staged uploads whose process has died; whose lives holds the lock of its subfolder."""
    count = size = 0
    for staging in {home / "staging" for home in homes}:
        for name in _folders_in(staging):
            descriptor = os.open(staging / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
            for place, _, names in os.walk(staging / name):
                count += len(names)
                size += sum(os.lstat(Path(place, file)).st_size for file in names)
    if count:
        files, them = ("1 file", "it") if count == 1 else (f"{count} files", "them")
        text = f"{files} ({size} bytes) of a server that was killed; the next start of the server removes {them}."
        yield Finding(Level.NOTICE, "staging", text)
    else:
        yield Finding(Level.OK, "staging", "Nothing was left behind.")


def _folders_in(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
