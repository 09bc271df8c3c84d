"""Copies of contents: one file, or a tree, into a place that nobody looks at yet.

Owns: copying bytes (sharing blocks where the file system can), modes, modification times, and following
links that stay inside. Must not know: staging, or how the copy becomes visible.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from holdfast.core.paths import ResourcePath
from holdfast.files.beneath import COLLECTION, READ, Beneath
from holdfast.files.names import servable_names
from holdfast.files.renames import Place

__all__ = ["copy_bytes", "copy_file", "copy_tree", "sync_collection"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK: Final = 1 << 20
_RANGE: Final = 1 << 30
_NO_RANGE_COPY: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
_FEW: Final = 16
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def _load_syncfs() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


_syncfs: Final = _load_syncfs()


def copy_bytes(source: int, destination: int) -> None:
    """Copy all bytes from one descriptor's place to the other's. OSError."""
    ranged = hasattr(os, "copy_file_range")
    while ranged:
        try:
            if os.copy_file_range(source, destination, _RANGE) == 0:
                break  # the end, or a file system that says so of special files: reading decides
        except OSError as error:
            if error.errno not in _NO_RANGE_COPY:
                raise
            break
    while chunk := os.read(source, _CHUNK):
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(destination, rest) :]


def copy_file(source: int, destination: Place, *, durable: bool) -> os.stat_result:
    """Copy an open file to a new name, with its permission bits (less the umask) and modification time. OSError."""
    found = os.fstat(source)
    descriptor = os.open(destination[1], _NEW, stat.S_IMODE(found.st_mode) & 0o777, dir_fd=destination[0])
    try:
        copy_bytes(source, descriptor)
        os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
        if durable:
            os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


class _TreeCopy:
    """One copy of a tree under way; collections wait in a list, so no depth is too deep for the stack."""

    def __init__(self, beneath: Beneath, at: int, *, durable: bool) -> None:
        self._beneath = beneath
        self._at = at
        self._durable = durable
        self._made: list[tuple[str, os.stat_result]] = []
        self._waiting: list[tuple[ResourcePath, str, frozenset[tuple[int, int]]]] = []
        self._files = 0

    def run(self, source: ResourcePath, name: str, *, whole: bool) -> None:
        """Copy what is at `source` to `name`; without `whole` a collection comes without its members."""
        self._copy(source, name, frozenset())
        if not whole:
            self._waiting.clear()
        while self._waiting:
            path, below, above = self._waiting.pop()
            descriptor = self._beneath.open(path, COLLECTION)
            try:
                names = servable_names(os.listdir(descriptor))
            finally:
                os.close(descriptor)
            for member in names:
                try:
                    self._copy(ResourcePath(path.prefix + member), f"{below}/{member}", above)
                except OSError as error:
                    if error.errno not in _GONE:  # gone since it was listed, or a link that leads nowhere
                        raise
        for below, found in reversed(self._made):
            with contextlib.suppress(OSError):
                os.chmod(below, stat.S_IMODE(found.st_mode) & 0o777 | 0o700, dir_fd=self._at)
            os.utime(below, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=self._at)

    def sync(self) -> None:
        """Write it to the disk: what is not yet there of many files goes by one sync of their file system."""
        if self._files > _FEW and _syncfs is not None:
            if _syncfs(self._at) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            return
        for below, _ in self._made:
            descriptor = os.open(below, COLLECTION, dir_fd=self._at)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _copy(self, source: ResourcePath, name: str, above: frozenset[tuple[int, int]]) -> None:
        descriptor = self._beneath.open(source, READ)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                each = self._durable and (self._files < _FEW or _syncfs is None)
                copy_file(descriptor, (self._at, name), durable=each)
                self._files += 1
            elif stat.S_ISDIR(found.st_mode):
                identity = found.st_dev, found.st_ino
                if identity in above:
                    return  # a link back to a collection that is being copied
                os.mkdir(name, 0o777, dir_fd=self._at)
                self._made.append((name, found))
                self._waiting.append((source, name, above | {identity}))
            elif not above:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        finally:
            os.close(descriptor)


def copy_tree(beneath: Beneath, source: ResourcePath, destination: Place, *, whole: bool, durable: bool) -> None:
    """Copy a file or a collection to a new name in an open collection that nobody else uses. OSError.

    Links are copied as what they point to, where that is inside; reserved names are left out. With
    `durable` all of it is on the disk when this returns.
    """
    copy = _TreeCopy(beneath, destination[0], durable=durable)
    copy.run(source, destination[1], whole=whole)
    if durable:
        copy.sync()


def sync_collection(descriptor: int) -> None:
    """Write a collection's entries to the disk. OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EBADF, errno.EINVAL}:
            raise
        # Opened to look only: open it again to sync. A collection that may not be read stays as it is.
        with contextlib.suppress(PermissionError):
            again = os.open(".", COLLECTION, dir_fd=descriptor)
            try:
                os.fsync(again)
            finally:
                os.close(again)
