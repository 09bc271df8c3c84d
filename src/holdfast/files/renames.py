"""Renames that say what they expect of the destination.

Owns: renameat2 with RENAME_NOREPLACE and RENAME_EXCHANGE. Must not know: resources or staging.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Final

__all__ = ["Place", "exchange", "rename", "rename_new"]

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
# What the call says where kernel, file system or sandbox cannot do it. EINVAL also means "into itself",
# which the plain rename that follows then says again.
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})

Place = tuple[int, str]
"""An open collection, and a name in it."""

Renameat2 = Callable[[int, bytes, int, bytes, int], int]


def _load() -> Renameat2 | None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return None
    call.restype = ctypes.c_int
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return call


_renameat2: Final = _load()


def _attempt(source: Place, destination: Place, flag: int) -> bool:
    """True when done, False where it cannot be done here; OSError otherwise."""
    if _renameat2 is None:
        return False
    if _renameat2(source[0], os.fsencode(source[1]), destination[0], os.fsencode(destination[1]), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


def rename(source: Place, destination: Place) -> None:
    """Plain rename between two places; OSError."""
    os.rename(source[1], destination[1], src_dir_fd=source[0], dst_dir_fd=destination[0])


def rename_new(source: Place, destination: Place) -> None:
    """Rename to a name that nothing has; FileExistsError where it is taken, other OSError.

    Where the system cannot promise that in one step, it looks first.
    """
    if _attempt(source, destination, _NOREPLACE):
        return
    try:
        os.stat(destination[1], dir_fd=destination[0], follow_symlinks=False)
    except FileNotFoundError:
        rename(source, destination)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def exchange(source: Place, destination: Place) -> bool:
    """Swap what two names hold, in one step; False where the system cannot, OSError otherwise."""
    return _attempt(source, destination, _EXCHANGE)
