"""Beneath: descriptors for what lies inside the served folder, and for nothing else.

Owns: containment, checked in the very call that opens (never before it), and following the symbolic
links that stay inside. Must not know: resources, staging, changes.

Theory of operation. The folder is opened once. A path is opened relative to that descriptor by
openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: one system call that succeeds for all paths
without links. Only where it meets a link (or where the kernel lacks openat2) the path is walked,
one name at a time, each opened with O_NOFOLLOW relative to the descriptor before. A link's target is
spliced into the names still to walk; `..` begins again from the folder with the names known so far,
so the walk never asks the system for a parent, and can never come out above the folder. Absolute
targets are followed where they lead into the folder. Reserved names do not exist on the way either,
so no link reaches the server's state. Whatever leads outside is ENOENT, as if nothing were there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from holdfast.core.paths import ROOT, ResourcePath
from holdfast.files.errors import FolderUnusableError
from holdfast.files.names import is_reserved, is_reserved_name

__all__ = ["COLLECTION", "LOOK", "READ", "Beneath"]

READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Open to read; never waits for a pipe's other end."""
LOOK: Final = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC
"""Open only to ask about it, where the system has O_PATH."""
COLLECTION: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""Open a collection to list it or to work in it."""

_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE: Final = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_MAX_LINKS: Final = 40
_MAX_STEPS: Final = 20_000
_LINK_MET: Final = frozenset({errno.ELOOP, errno.EAGAIN})

Opener = Callable[[bytes, int], int]


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _openat2_beneath(root: int) -> Opener | None:
    """A function (relative path, flags) -> descriptor, or None where the kernel (or a sandbox) has no openat2."""
    if not hasattr(os, "O_PATH"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    call = libc.syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
    size = ctypes.sizeof(_OpenHow)
    hows = {flags: _OpenHow(flags, 0, _RESOLVE) for flags in (READ, LOOK, COLLECTION, LOOK | os.O_DIRECTORY)}
    addresses = {flags: ctypes.addressof(how) for flags, how in hows.items()}

    def open_beneath(relative: bytes, flags: int, _kept: object = hows) -> int:
        while True:
            descriptor: int = call(_OPENAT2, root, relative, addresses[flags], size)
            if descriptor >= 0:
                return descriptor
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    try:
        os.close(open_beneath(b".", LOOK))
    except OSError:
        return None
    return open_beneath


class Beneath:
    """The served folder as an open descriptor. Safe to use from any number of threads."""

    def __init__(self, folder: Path, *, use_openat2: bool = True) -> None:
        """Open `folder`; raises FolderUnusableError. Without `use_openat2` every path is walked."""
        try:
            self.root = os.open(folder, COLLECTION)
        except OSError as error:
            msg = f"{folder} cannot be served: {os.strerror(error.errno or 0)}"
            raise FolderUnusableError(msg) from error
        self._bases = _absolute_bases(folder)
        self._openat2 = _openat2_beneath(self.root) if use_openat2 else None
        found = os.fstat(self.root)
        self.device = found.st_dev
        self.inode = found.st_ino

    @property
    def has_openat2(self) -> bool:
        """True where one system call resolves a path."""
        return self._openat2 is not None

    def close(self) -> None:
        """Close the folder; harmless when repeated."""
        root, self.root = self.root, -1
        if root >= 0:
            os.close(root)

    def open(self, path: ResourcePath, flags: int) -> int:
        """A descriptor of what is at `path`, links followed. OSError; ENOENT for all that is not to be seen."""
        text = path.text
        if is_reserved(text):
            raise _not_there()
        relative = text[1:].encode() or b"."
        if self._openat2 is not None:
            try:
                return self._openat2(relative, flags)
            except OSError as error:
                if error.errno not in _LINK_MET:
                    raise
        return self._walk_open(relative, flags)

    def stat(self, path: ResourcePath) -> os.stat_result:
        """What is at `path`, links followed. OSError as `open`."""
        text = path.text
        if text == "/":
            return os.fstat(self.root)
        if text.find("/", 1) < 0 and not text.startswith("/.") and text.isascii():
            # A single plain name needs no resolving unless it is a link: one call instead of three.
            found = os.stat(text[1:], dir_fd=self.root, follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode):
                return found
        descriptor = self.open(path, LOOK)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def parent(self, path: ResourcePath) -> tuple[int, str]:
        """The open collection that holds `path`, and the name in it; links followed but for the last name.

        Give the descriptor back with `release`. OSError as `open`; ENOENT or ENOTDIR without a parent.
        """
        head, name = path.text.rsplit("/", 1)
        if is_reserved_name(name):
            raise _not_there()
        if not head:
            return self.root, name
        above = ResourcePath(head)
        try:
            return self.open(above, COLLECTION), name
        except PermissionError:  # a collection that may be entered but not listed
            return self.open(above, LOOK | os.O_DIRECTORY), name

    def target(self, path: ResourcePath) -> tuple[int, str]:
        """As `parent`, with a link at the last name followed to the place where its target is or would be."""
        if is_reserved(path.text):
            raise _not_there()
        descriptor, name = self._walk(path.text[1:].encode() or b".")
        return descriptor, os.fsdecode(name)

    def path_of(self, descriptor: int) -> ResourcePath | None:
        """Where an open collection lies below the folder, links resolved; None where the system does not say."""
        try:
            root = os.readlink(f"/proc/self/fd/{self.root}")
            here = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return None
        if here == root:
            return ROOT
        base = root.rstrip("/") + "/"
        return ResourcePath("/" + here[len(base) :]) if here.startswith(base) else None

    def release(self, descriptor: int) -> None:
        """Close what `parent` or `target` gave."""
        if descriptor != self.root:
            os.close(descriptor)

    def _walk_open(self, relative: bytes, flags: int) -> int:
        for _ in range(_MAX_LINKS):
            descriptor, name = self._walk(relative)
            try:
                return os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                if error.errno != errno.ELOOP:  # ELOOP: it became a link since the walk saw it
                    raise
            finally:
                self.release(descriptor)
        raise _not_there()

    def _walk(self, relative: bytes) -> tuple[int, bytes]:
        """The open collection and the name in it (no link, perhaps not there) that `relative` comes to."""
        pending = _names(relative)
        known: list[bytes] = []
        links = 0
        at = self.root
        try:
            for _ in range(_MAX_STEPS):
                if not pending:
                    return at, b"."
                name = pending.pop()
                if name == b"..":
                    if not known:
                        _refuse()  # outside
                    pending.extend(reversed(known[:-1]))
                    known.clear()
                    at = self._restart(at)
                    continue
                if is_reserved_name(os.fsdecode(name)):
                    _refuse()
                target = _link_target(at, name)
                if target is None:
                    if not pending:
                        return at, name
                    below = _enter(at, name)
                    if below is None:
                        pending.append(name)
                        continue
                    self.release(at)
                    at = below
                    known.append(name)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    _refuse()
                if target.startswith(b"/"):
                    target = self._inside(target)
                    known.clear()
                    at = self._restart(at)
                pending.extend(_names(target))
            _refuse()
        except BaseException:
            self.release(at)
            raise

    def _restart(self, at: int) -> int:
        self.release(at)
        return self.root

    def _inside(self, target: bytes) -> bytes:
        """The rest of an absolute link target that leads into the folder."""
        for base in self._bases:
            if target == base:
                return b""
            if target.startswith(base + b"/"):
                return target[len(base) + 1 :]
        raise _not_there()


def _absolute_bases(folder: Path) -> tuple[bytes, ...]:
    """The absolute spellings of the folder that a link may use."""
    given = os.path.abspath(folder)
    real = os.path.realpath(folder)
    return tuple({os.fsencode(given.rstrip("/")): None, os.fsencode(real.rstrip("/")): None})


def _names(relative: bytes) -> list[bytes]:
    """The names of a path, the last one first."""
    return [name for name in reversed(relative.split(b"/")) if name not in {b"", b"."}]


def _enter(at: int, name: bytes) -> int | None:
    """Open the collection `name`; None when it has become a link since it was looked at."""
    try:
        return os.open(name, LOOK | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and _link_target(at, name) is not None:
            return None
        raise


def _link_target(at: int, name: bytes) -> bytes | None:
    """Where the link `name` points to; None for anything else, and for nothing."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise


def _not_there() -> OSError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _refuse() -> NoReturn:
    raise _not_there()
