"""A server's claims: on its state folder, and on the served folder, so that no two servers stand over one document.

Owns: making the state folder (mode 0700), its VERSION, the lock file that one server holds while it runs, and the
locks on the served folder and those around it. Must not know: what others keep inside. Each claim is an flock: the
system drops it with the process, however that ends, so no stale file ever has to be removed by hand.

Theory of operation of the second claim: a server locks the served folder itself exclusively, and every folder above it
shared. So one that is to serve the same folder, or a folder above, or one below, meets a lock that excludes its own,
wherever either keeps its state; neighbours share the folders above them. The folders above the state folder are
locked too, so that nobody serves what it holds. A folder that this account cannot open is passed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = [
    "CLAIM_NAME",
    "LAYOUT_VERSION",
    "VERSION_NAME",
    "FolderClaim",
    "FolderClaimedError",
    "StateError",
    "StateFolder",
]

LAYOUT_VERSION: Final = 1
"""The arrangement of the state folder; raised when an older Holdfast could not read it any more."""

CLAIM_NAME: Final = "server.lock"
"""The file in the state folder whose flock is the claim on it; in it the process number of the last server."""

VERSION_NAME: Final = "VERSION"
"""The file in the state folder that holds its layout's number."""

_HELD: Final = re.compile(r"^\d+: FLOCK +ADVISORY +(READ|WRITE) +(\d+) +([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
"""A line of /proc/locks (proc_locks(5)): kind, process, device, inode."""


class StateError(Exception):
    """The state folder cannot be used; the text is a plain sentence that says what to do."""


class FolderClaimedError(Exception):
    """Another server serves the folder, or one above or below it; the text is a plain sentence."""


class FolderClaim:
    """A claimed served folder; `with FolderClaim.take(folder, state) as claim:` keeps it until the end of the block."""

    def __init__(self, descriptors: list[int], *, is_exclusive: bool) -> None:
        """Hold already locked folders; use `take`."""
        self._descriptors = descriptors
        self.is_exclusive = is_exclusive
        """False where the file system cannot lock folders, as NFS: then other servers are not kept away."""

    @classmethod
    def take(cls, folder: Path, state: Path) -> FolderClaim:
        """Claim the existing `folder` for this process, whose state folder is `state`; both absolute, without links.

        Raises FolderClaimedError where the claim of another server is in the way.
        """
        claim = cls([], is_exclusive=False)
        try:
            claim.is_exclusive = claim._lock(folder, fcntl.LOCK_EX)
            around = dict.fromkeys([*folder.parents, *state.parents])
            for place in around:
                if not place.is_relative_to(folder):
                    claim._lock(place, fcntl.LOCK_SH)
        except BlockingIOError as error:
            claim.release()
            raise FolderClaimedError(_describe_claim(folder, Path(error.filename))) from error
        return claim

    def _lock(self, place: Path, kind: int) -> bool:
        """Lock one folder, or pass it over; BlockingIOError, with its name, where another's lock is in the way."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            error.filename = str(place)
            raise
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Give the folder up; harmless when repeated."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self.release()


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
            lock_file = os.open(path / CLAIM_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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


def _describe_claim(folder: Path, place: Path) -> str:
    """What is in the way of serving `folder`, where `place` is the folder whose lock another process holds."""
    kind, process = _holder_of(place)
    by = f"another Holdfast{f' (process {process})' if process else ''}"
    if place != folder and not folder.is_relative_to(place):
        return f"The state folder would lie in {place}, which {by} serves: name another one with --state."
    if place != folder:
        what = f"The folder {folder} lies in {place}, which is in use by {by}"
    elif kind == "WRITE":
        what = f"The folder {folder} is in use by {by}"
    elif kind == "READ":
        what = f"A folder inside of {folder} is in use by {by}"
    else:
        what = f"The folder {folder}, or one inside of it, is in use by {by}"
    return f"{what}, and two servers would not know each other's locks: stop that one first, or serve another folder."


def _holder_of(place: Path) -> tuple[str, int]:
    """READ or WRITE, and the process that holds the flock on a folder; empty and 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        found = place.stat()
        wanted = (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
        for kind, process, major, minor, inode in _HELD.findall(text):
            if (int(major, 16), int(minor, 16), int(inode)) == wanted:
                return kind, int(process)
    return "", 0


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
    file = path / VERSION_NAME
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        # Written aside and renamed: a crash leaves the whole file or none, never an empty one.
        fresh = path / f"{VERSION_NAME}.new"
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
