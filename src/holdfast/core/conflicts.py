"""Which locks can stand beside one another (RFC 4918 section 6.1 and the table of 9.10.5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from holdfast.core.model import Depth, Lock, LockScope
from holdfast.core.paths import ResourcePath

__all__ = ["COMPATIBLE", "closes_tree", "conflicting_locks", "covering_locks", "unexpired"]

COMPATIBLE: Final[dict[tuple[LockScope, LockScope], bool]] = {
    # (held, asked): may both stand?
    (LockScope.EXCLUSIVE, LockScope.EXCLUSIVE): False,
    (LockScope.EXCLUSIVE, LockScope.SHARED): False,
    (LockScope.SHARED, LockScope.EXCLUSIVE): False,
    (LockScope.SHARED, LockScope.SHARED): True,
}
"""RFC 4918 section 9.10.5; docs and tests read this table too."""


_BESIDE: Final = tuple(scopes for scopes, may_stand in COMPATIBLE.items() if may_stand)


def unexpired(locks: Iterable[Lock], now: datetime) -> list[Lock]:
    """Those whose time has not run out at `now`."""
    return [lock for lock in locks if not lock.is_expired_at(now)]


def closes_tree(lock: Lock) -> bool:
    """True for a lock that no other lock can stand beside anywhere at or below its root."""
    return lock.depth is Depth.INFINITY and lock.scope is LockScope.EXCLUSIVE


def covering_locks(locks: Iterable[Lock], resource: ResourcePath) -> list[Lock]:
    """Those that protect `resource`, directly or indirectly."""
    return [lock for lock in locks if lock.covers(resource)]


def conflicting_locks(held: Iterable[Lock], root: ResourcePath, scope: LockScope, depth: Depth) -> list[Lock]:
    """Those of `held` that cannot stand beside a new lock on `root`: their scopes meet and are not compatible."""
    return [
        lock
        for lock in held
        if (lock.scope, scope) not in _BESIDE
        and (lock.covers(root) or (depth is Depth.INFINITY and lock.root.is_below(root)))
    ]
