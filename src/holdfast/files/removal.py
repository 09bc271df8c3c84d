"""Taking a detached tree apart, of any depth, without recursion and with two descriptors at most.

Owns: removal of a tree at a place that nobody else looks at. Must not know: the served folder.
A collection that is not empty is moved up beside the tree's root before it is emptied, so paths stay
one name long. What resists (a mounted file system, a missing permission) is left where it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Final

__all__ = ["remove_tree"]

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(at: int, name: str, fresh: Callable[[], str]) -> bool:
    """Remove `name` in the open collection `at`; `fresh` gives unused names there. True when nothing is left."""
    waiting = [name]
    clean = True
    while waiting:
        top = waiting.pop()
        if _removed(at, top):
            continue
        try:
            inner = _opened(at, top)
        except OSError:
            clean = False
            continue
        try:
            for below in os.listdir(inner):
                if _removed(inner, below):
                    continue
                slot = fresh()
                try:
                    os.rename(below, slot, src_dir_fd=inner, dst_dir_fd=at)
                except OSError:
                    clean = False
                else:
                    waiting.append(slot)
        except OSError:
            clean = False
        finally:
            os.close(inner)
        clean = _removed(at, top) and clean
    return clean


def _removed(at: int, name: str) -> bool:
    """Remove a plain entry or an empty collection."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=at)
        else:
            os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _opened(at: int, name: str) -> int:
    """Open a collection to empty it, taking the permission to do so where it is ours to take."""
    with contextlib.suppress(OSError):
        mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and stat.S_IMODE(mode) & 0o700 != 0o700:
            os.chmod(name, 0o700, dir_fd=at)
    return os.open(name, _OPEN, dir_fd=at)
