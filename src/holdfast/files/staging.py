"""Staging: where bytes lie until one rename puts them into the served folder, and where what is removed goes.

Owns: the staging folder, one subfolder per process held by a flock, staged files, detached trees, and
the notes by which the next process finishes what a killed one began. Must not know: paths of requests,
beyond the text of one in a note.

Theory of operation. Everything that is built or torn down lies in this process's own subfolder of
`staging`, so names need be unique in it only. A process that dies leaves its subfolder without a lock;
whoever starts next removes it. Two changes cannot be made with one rename: they write a note first
(a file `note-N`: the path to remove, and the inode that it must have), and forget it after.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import os
import secrets
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

import msgspec

from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.files.beneath import Beneath
from holdfast.files.errors import FilesError, FolderUnusableError, LengthMismatchError, StorageFailedError, refusal_of
from holdfast.files.names import STATE_NAME, hidden_name
from holdfast.files.removal import remove_tree
from holdfast.files.renames import Place, rename_new

__all__ = ["Detached", "Note", "StagedFile", "Staging"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_NOTE_PREFIX: Final = "note-"
_STAMP_NS: Final = 1_000_000
_LATEST_NS: Final = 253_402_300_799 * 1_000_000_000
_SECOND_NS: Final = 1_000_000_000


class Note(msgspec.Struct, frozen=True):
    """What the next process has to remove: the entry at `path`, if its inode is `inode` (None: whatever it is)."""

    path: str
    inode: int | None = None


class Detached:
    """A tree that is no longer in the served folder. It is gone with `purge`, or back with `restore`."""

    __slots__ = ("_at", "_drop", "_fresh", "_home", "_name", "_then")

    def __init__(self, at: int, name: str, home: Place, fresh: Callable[[], str], drop: Callable[[], None]) -> None:
        """Own `name` in `at`, which came from `home`; both descriptors are copied."""
        self._at = os.dup(at)
        self._name = name
        self._home = os.dup(home[0]), home[1]
        self._fresh = fresh
        self._drop = drop
        self._then: Detached | None = None

    def joined(self, other: Detached | None) -> Detached:
        """This one, with `other` purged after it."""
        self._then = other
        return self

    def purge(self) -> None:
        """Remove it for good: slow for a large tree, never raises. What resists goes at the next start."""
        if self._name:
            name, self._name = self._name, ""
            with contextlib.suppress(OSError):
                if remove_tree(self._at, name, self._fresh):
                    self._drop()
            self._close()
        if self._then is not None:
            self._then.purge()

    def restore(self) -> None:
        """Put it back where it was, unless something has taken its name: AlreadyExistsError, or another FilesError."""
        if not self._name:
            return
        try:
            rename_new((self._at, self._name), self._home)
        except OSError as error:
            raise refusal_of(error) from error
        self._name = ""
        self._drop()
        self._close()

    def _close(self) -> None:
        for descriptor in (self._at, self._home[0]):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class StagedFile:
    """One upload on its way: written, sealed, then placed or discarded. One thread at a time."""

    __slots__ = ("_descriptor", "_length", "_name", "_staging", "status")

    status: os.stat_result | None
    """What the sealed file is; None before `seal`."""

    def __init__(self, staging: Staging, name: str, descriptor: int) -> None:
        """Use `Staging.new`."""
        self._staging = staging
        self._name = name
        self._descriptor = descriptor
        self._length = 0
        self.status = None

    @property
    def length(self) -> int:
        """Bytes received."""
        return self._length

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self._staging.descriptor, self._name

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. StorageFullError or StorageFailedError, both OSError too; the file is then only fit to discard."""
        try:
            written = os.write(self._descriptor, data)
            size = len(data) if not isinstance(data, memoryview) else data.nbytes
            if written < size:
                rest = memoryview(data).cast("B")
                while written < size:
                    written += os.write(self._descriptor, rest[written:])
        except OSError as error:
            raise refusal_of(error) from error
        self._length += written

    def seal(
        self, expected_length: int | None = None, *, durable: bool | None = None, modified_ns: int | None = None
    ) -> None:
        """End the writing: check the length, set the modification time, with `durable` write it to the disk.

        `durable` is as the folder is, unless given.
        `modified_ns` is a time that the client chose (X-OC-Mtime). Raises LengthMismatchError, StorageFullError,
        StorageFailedError; the file is then discarded. Harmless when repeated.
        """
        if self.status is not None:
            return
        try:
            if expected_length is not None and expected_length != self._length:
                msg = f"{expected_length} bytes were announced, {self._length} came"
                raise LengthMismatchError(msg)
            durable = self._staging.durable if durable is None else durable
            try:
                self.status = self._staging.finish(self._descriptor, modified_ns, durable=durable)
            except OSError as error:
                raise refusal_of(error) from error
        except FilesError:
            self.discard()
            raise
        self._close()

    def read(self) -> bytes:
        """All that was written; for what turns out to be no document. Before `seal` only. StorageFailedError."""
        try:
            parts: list[bytes] = []
            have = 0
            while have < self._length:
                part = os.pread(self._descriptor, self._length - have, have)
                if not part:
                    raise StorageFailedError(errno.EIO, "the staged file was cut short")
                parts.append(part)
                have += len(part)
            return b"".join(parts)
        except OSError as error:
            raise refusal_of(error) from error

    def used(self) -> None:
        """Forget the file: it lies in the served folder now."""
        self._name = ""

    def discard(self) -> None:
        """Remove the staged file; harmless when it was already used or discarded."""
        self._close()
        if self._name:
            name, self._name = self._name, ""
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._staging.descriptor)

    @property
    def is_spent(self) -> bool:
        """True once it was placed or discarded."""
        return not self._name

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class Staging:
    """This process's staging subfolder. Safe to use from any number of threads."""

    descriptor: int

    def __init__(self, beneath: Beneath, folder: Path, state: Path | None = None, *, durable: bool = True) -> None:
        """Make the subfolder in `state`/staging (default and, on another file system, `folder`/.holdfast/staging).

        What dead processes left there is removed, and what their notes say is finished. Raises
        FolderUnusableError.
        """
        self._beneath = beneath
        self.durable: Final = durable
        self._numbers = itertools.count()
        self._stamps = itertools.count(secrets.randbelow(_STAMP_NS))
        try:
            self._base = _staging_folder(beneath, folder, state)
        except OSError as error:
            msg = f"no place to stage uploads: {os.strerror(error.errno or 0)} ({error.filename})"
            raise FolderUnusableError(msg) from error
        try:
            with self._start_lock():
                self._reap()
                self._own = secrets.token_hex(8)
                os.mkdir(self._own, 0o700, dir_fd=self._base)
                self.descriptor = os.open(self._own, _FOLDER, dir_fd=self._base)
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._base)
            msg = f"no place to stage uploads: {os.strerror(error.errno or 0)}"
            raise FolderUnusableError(msg) from error

    def new(self) -> StagedFile:
        """An empty staged file. StorageFullError, StorageFailedError."""
        while True:
            name = self.fresh_name()
            try:
                return StagedFile(self, name, os.open(name, _NEW, 0o666, dir_fd=self.descriptor))
            except FileExistsError:  # a forked process shares the subfolder
                continue
            except FileNotFoundError as error:
                raise StorageFailedError(errno.ENOENT, "the staging folder is gone: restart the server") from error
            except OSError as error:
                raise refusal_of(error) from error

    def fresh_name(self) -> str:
        """A name that nothing in the subfolder has."""
        return str(next(self._numbers))

    def finish(self, descriptor: int, modified_ns: int | None, *, durable: bool) -> os.stat_result:
        """Stamp a written file, with `durable` write it to the disk, and tell what it is. OSError."""
        written = os.fstat(descriptor)
        modified = self.stamped(
            written.st_mtime_ns if modified_ns is None else modified_ns, chosen=modified_ns is not None
        )
        os.utime(descriptor, ns=(modified, modified))
        if durable:
            os.fsync(descriptor)
        return os.fstat(descriptor)

    def stamped(self, modified_ns: int, *, chosen: bool) -> int:
        """`modified_ns` with digits of its own where it has none: below the millisecond of a time from the
        kernel's clock, below the second of a time that a client `chosen` in whole seconds. Two writes in one
        tick of the clock so have two entity tags, even on the same inode. Kept within the years 1970 to 9999.
        """
        modified_ns = min(max(modified_ns, 0), _LATEST_NS)
        stamp = next(self._stamps) % _STAMP_NS
        if not chosen:
            return max(modified_ns - modified_ns % _STAMP_NS - _STAMP_NS, 0) + stamp
        return modified_ns if modified_ns % _SECOND_NS else modified_ns + stamp

    def note(self, note: Note, *, durable: bool) -> str:
        """Write down what to remove if this process dies; returns the name to `forget`. OSError."""
        name = _NOTE_PREFIX + self.fresh_name()
        descriptor = os.open(name, _NEW, 0o600, dir_fd=self.descriptor)
        try:
            os.write(descriptor, msgspec.json.encode(note))
            if durable:
                os.fsync(descriptor)
                os.fsync(self.descriptor)
        finally:
            os.close(descriptor)
        return name

    def forget(self, name: str) -> None:
        """Drop a note; harmless when it is gone."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.descriptor)

    def close(self) -> None:
        """Remove the subfolder with all that is still staged, and let go of the lock; harmless when repeated."""
        if self.descriptor < 0:
            return
        if "contents" in self.__dict__:
            self.contents.close()
        remove_tree(self._base, self._own, lambda: secrets.token_hex(8))
        os.close(self.descriptor)
        os.close(self._base)
        self.descriptor = self._base = -1

    @functools.cached_property
    def contents(self) -> Beneath:
        """The subfolder, to copy staged trees from."""
        return Beneath(Path(f"/dev/fd/{self.descriptor}"))

    @contextlib.contextmanager
    def _start_lock(self) -> Generator[None]:
        """Held while subfolders are made or reaped, so that none is reaped between its birth and its lock."""
        descriptor = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._base)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _reap(self) -> None:
        for name in os.listdir(self._base):
            try:
                left = os.open(name, _FOLDER, dir_fd=self._base)
            except OSError:
                continue
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its process lives
            else:
                self._finish_notes(left)
                remove_tree(self._base, name, lambda: secrets.token_hex(8))
            finally:
                os.close(left)

    def _finish_notes(self, left: int) -> None:
        for name in os.listdir(left):
            if not name.startswith(_NOTE_PREFIX):
                continue
            # A note that is none, or speaks of no path in the folder, is not what we wrote: it must not stop the start.
            with (
                contextlib.suppress(OSError, InvalidPathError, msgspec.DecodeError),
                open(_opener(left, name), "rb") as file,
            ):
                note = msgspec.json.decode(file.read(), type=Note)
                _remove_noted(self._beneath, note)


def _opener(at: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=at)


def _remove_noted(beneath: Beneath, note: Note) -> None:
    path = ResourcePath.from_text(note.path)
    name = path.name
    at, _ = beneath.parent(path.parent.child("x"))
    try:
        if note.inode is None:
            remove_tree(at, name, hidden_name)
        elif os.stat(name, dir_fd=at, follow_symlinks=False).st_ino == note.inode:
            hidden = hidden_name()
            os.rename(name, hidden, src_dir_fd=at, dst_dir_fd=at)
            remove_tree(at, hidden, hidden_name)
    finally:
        beneath.release(at)


def _staging_folder(beneath: Beneath, folder: Path, state: Path | None) -> int:
    """Open `staging` in the state folder, or in the served folder's own where that is another file system."""
    home = folder / STATE_NAME
    for base in (state or home, home):
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = base / "staging"
        staging.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(staging, _FOLDER)
        if os.fstat(descriptor).st_dev == beneath.device or base == home:
            return descriptor
        os.close(descriptor)
        with contextlib.suppress(OSError):
            staging.rmdir()
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(folder))
