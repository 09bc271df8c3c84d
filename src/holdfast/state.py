"""The state folder: where one server keeps its locks, events and staged uploads, and that it is the only one.

Owns: making the folder (mode 0700), its VERSION, and the lock file that one server holds while it runs. Must
not know: what others keep inside. The claim is an flock: the system drops it with the process, however that
ends, so no stale file ever has to be removed by hand.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["LAYOUT_VERSION", "StateError", "StateFolder"]

LAYOUT_VERSION: Final = 1
"""The arrangement of the state folder; raised when an older Holdfast could not read it any more."""

_LOCK_NAME: Final = "server.lock"
_VERSION_NAME: Final = "VERSION"


class StateError(Exception):
    """The state folder cannot be used; the text is a plain sentence that says what to do."""


class StateFolder:
    """A claimed state folder; `with StateFolder.claim(path) as state:` keeps the claim until the end of the block."""

    def __init__(self, path: Path, lock_file: int) -> None:
        """Hold an already locked file; use `claim`."""
        self.path = path
        self._lock_file = lock_file

    @classmethod
    def claim(cls, path: Path) -> StateFolder:
        """Make the folder where it is missing (its parent must exist) and claim it for this process.

        Raises StateError when it cannot be made or written, belongs to a running server, or was
        written by a newer Holdfast.
        """
        try:
            _make(path)
            lock_file = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _explain(error, path) from error
        try:
            _take(lock_file, path)
            _check_version(path)
            os.ftruncate(lock_file, 0)
            os.pwrite(lock_file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(lock_file)
            raise _explain(error, path) from error
        except StateError:
            os.close(lock_file)
            raise
        return cls(path, lock_file)

    def release(self) -> None:
        """Give the folder up; harmless when repeated. The lock file stays: removing it would race with the next claim."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self.release()


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        # A link here could have been laid by anyone who may write to the served folder.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            msg = f"The state folder {path} is not a folder: remove it, or name another one with --state."
            raise StateError(msg) from None


def _take(lock_file: int, path: Path) -> None:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock_file, 32, 0).decode("ascii", "replace").strip()
        by = f" (process {pid})" if pid else ""
        msg = (
            f"The state folder {path} is in use by another Holdfast{by}: stop that one first, or serve another folder."
        )
        raise StateError(msg) from None


def _check_version(path: Path) -> None:
    file = path / _VERSION_NAME
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        # Written aside and renamed: a crash leaves the whole file or none, never an empty one.
        fresh = path / f"{_VERSION_NAME}.new"
        fresh.write_text(f"{LAYOUT_VERSION}\n", encoding="ascii")
        fresh.replace(file)
        return
    if not text.isascii() or not text.isdigit():
        msg = f"{file} is not what Holdfast wrote: name another state folder with --state, or restore it from a backup."
        raise StateError(msg)
    if int(text) > LAYOUT_VERSION:
        msg = f"The state folder {path} was written by a newer Holdfast (layout {text}): install that version or a later one."
        raise StateError(msg)


def _explain(error: OSError, path: Path) -> StateError:
    if isinstance(error, PermissionError):
        msg = f"The state folder {path} cannot be written by this account: change its permissions, or name another one with --state."
    elif isinstance(error, FileNotFoundError):
        msg = f"The state folder {path} cannot be made, because {path.parent} does not exist."
    else:
        msg = f"The state folder {path} cannot be used: {error.strerror}."
    return StateError(msg)
