"""The waiting line: whose turn it is, as a pure function of what is held and who waits.

Owns: fairness. First come, first served among requests that conflict; requests that do not conflict
pass each other freely, so shared ones are granted together, and no reader passes a waiting writer.
Must not know: connections, time passing, how the line is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from holdfast.core.conflicts import COMPATIBLE, conflicting_locks
from holdfast.core.model import Depth, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath

__all__ = ["ahead_of", "asks_conflict", "decide_turns", "waiting"]


def waiting(waiters: Iterable[Waiter], now: datetime) -> list[Waiter]:
    """Those whose own lease has not run out: a waiter that died must not hold up the line."""
    return [waiter for waiter in waiters if waiter.lease_until > now]


def asks_conflict(first: Waiter, root: ResourcePath, scope: LockScope, depth: Depth) -> bool:
    """True where a lock as `first` asks for and one as the other arguments ask for cannot both stand (RFC 4918 9.10.5)."""
    if COMPATIBLE[first.scope, scope]:
        return False
    if first.root == root:
        return True
    if first.depth is Depth.INFINITY and root.is_below(first.root):
        return True
    return depth is Depth.INFINITY and first.root.is_below(root)


def ahead_of(
    line: Sequence[Waiter], root: ResourcePath, scope: LockScope, depth: Depth, *, before_seq: int | None = None
) -> list[Waiter]:
    """The waiters that a request must not pass, in the order of the line; all of the line, or those before a place in it."""
    return [
        waiter
        for waiter in line
        if (before_seq is None or waiter.seq < before_seq) and asks_conflict(waiter, root, scope, depth)
    ]


def decide_turns(held: Sequence[Lock], line: Sequence[Waiter]) -> list[Waiter]:
    """Who of the line can be granted now, in its order: nothing held is in the way, and nobody before with whom it conflicts.

    `held` are unexpired locks and `line` living waiters by seq, both as far as they can meet. Those granted
    together conflict neither with what is held nor with one another.
    """
    turns: list[Waiter] = []
    for waiter in line:
        if conflicting_locks(held, waiter.root, waiter.scope, waiter.depth):
            continue
        if not ahead_of(line, waiter.root, waiter.scope, waiter.depth, before_seq=waiter.seq):
            turns.append(waiter)
    return turns
