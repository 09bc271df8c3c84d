"""The waiting line: whose turn it is, as a pure function of what is held and who waits.

Owns: fairness. First come, first served among requests that conflict; requests that do not conflict
pass each other freely, so shared ones are granted together, and no reader passes a waiting writer.
Must not know: connections, time passing, how the line is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from holdfast.core.conflicts import COMPATIBLE
from holdfast.core.decisions import Standing
from holdfast.core.model import Depth, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath

__all__ = [
    "MAX_COUNTED",
    "MAX_LOCKS_COUNTED",
    "PARKED_LEASE",
    "RENEW_EVERY",
    "ahead_of",
    "asks_conflict",
    "decide_turns",
    "first_ahead_of",
    "lengths_of",
    "standing_of",
    "waiting",
]

PARKED_LEASE: Final = timedelta(seconds=10)
"""How long the place of one who waits is kept without being renewed; the process that waits may have died."""

RENEW_EVERY: Final = timedelta(seconds=3)
"""How often whoever waits renews a place."""

MAX_COUNTED: Final = 200
"""Most waiters that are counted for one answer, which costs reading them: a place further back is told as one behind these."""

MAX_LOCKS_COUNTED: Final = 20
"""Most locks of one refusal whose waiters are counted; no answer describes more."""

_BESIDE: Final = tuple(scopes for scopes, may_stand in COMPATIBLE.items() if may_stand)
_REFUSED_BY: Final = {asked: tuple(other for other in LockScope if not COMPATIBLE[other, asked]) for asked in LockScope}
"""For each scope, those that it cannot stand beside."""


def waiting(waiters: Iterable[Waiter], now: datetime) -> list[Waiter]:
    """Those whose own lease has not run out: a waiter that died must not hold up the line."""
    return [waiter for waiter in waiters if not waiter.has_lapsed_at(now)]


def asks_conflict(first: Waiter, root: ResourcePath, scope: LockScope, depth: Depth) -> bool:
    """True where a lock as `first` asks for and one as the other arguments ask for cannot both stand (RFC 4918 9.10.5)."""
    if (first.scope, scope) in _BESIDE:
        return False
    if first.root == root:
        return True
    if first.depth is Depth.INFINITY and root.is_below(first.root):
        return True
    return depth is Depth.INFINITY and first.root.is_below(root)


def ahead_of(
    line: Iterable[Waiter], root: ResourcePath, scope: LockScope, depth: Depth, *, before_seq: int | None = None
) -> list[Waiter]:
    """The waiters that a request must not pass, in the order of the line; all of the line, or those before a place in it."""
    return [
        waiter
        for waiter in line
        if (before_seq is None or waiter.seq < before_seq) and asks_conflict(waiter, root, scope, depth)
    ]


def first_ahead_of(
    line: Iterable[Waiter], root: ResourcePath, scope: LockScope, depth: Depth, *, before_seq: int | None = None
) -> Waiter | None:
    """The first of those, or None where nobody is ahead; looks no further than that one. The line comes by seq."""
    for waiter in line:
        if before_seq is not None and waiter.seq >= before_seq:
            return None
        if asks_conflict(waiter, root, scope, depth):
            return waiter
    return None


def standing_of(
    line: Iterable[Waiter],
    root: ResourcePath,
    scope: LockScope,
    depth: Depth,
    *,
    place: Waiter | None,
    lengths: dict[str, int],
) -> Standing:
    """How a line of living waiters stands for a request that was refused, and that may have a `place` in it.

    `lengths` are those of the locks in the way, as `lengths_of` counts them.
    """
    conflicting = [waiter for waiter in ahead_of(line, root, scope, depth) if place is None or waiter.id != place.id]
    return Standing(
        first=conflicting[0] if conflicting else None,
        length=len(conflicting) + (place is not None),
        position=None if place is None else 1 + sum(waiter.seq < place.seq for waiter in conflicting),
        lengths=lengths,
    )


def lengths_of(locks: Iterable[Lock], line_of: Callable[[ResourcePath, Depth], Iterable[Waiter]]) -> dict[str, int]:
    """How many wait for each of these locks to end, by lock id; those without anybody are left out.

    `line_of` gives the living waiters that a lock of this root and depth may meet; it is asked once for each.
    """
    lengths: dict[str, int] = {}
    lines: dict[tuple[str, Depth], list[Waiter]] = {}
    for lock in locks:
        key = lock.root.text, lock.depth
        if key not in lines:
            lines[key] = list(line_of(lock.root, lock.depth))
        length = len(ahead_of(lines[key], lock.root, lock.scope, lock.depth))
        if length:
            lengths[lock.id] = length
    return lengths


def decide_turns(held: Iterable[Lock], line: Sequence[Waiter]) -> list[Waiter]:
    """Who of the line can be granted now, in its order: nothing held is in the way, and nobody before with whom it conflicts.

    `held` are unexpired locks and `line` living waiters by seq, both as far as they can meet. Those granted
    together conflict neither with what is held nor with one another. Costs each of them its depth, not the others.
    """
    before = _Claims()
    for lock in held:
        before.add(lock.root, lock.scope, lock.depth)
    turns: list[Waiter] = []
    for waiter in line:
        if not before.refuse(waiter.root, waiter.scope, waiter.depth):
            turns.append(waiter)
        before.add(waiter.root, waiter.scope, waiter.depth)
    return turns


class _Claims:
    """Locks that are held or asked for, by the paths on which another one meets them, for each scope."""

    def __init__(self) -> None:
        self._on: dict[LockScope, set[str]] = {scope: set() for scope in LockScope}
        """Their roots."""
        self._deep: dict[LockScope, set[str]] = {scope: set() for scope in LockScope}
        """The roots of those of depth infinity, which meet all below."""
        self._above: dict[LockScope, set[str]] = {scope: set() for scope in LockScope}
        """Whatever has a root below, where one of depth infinity would meet it."""

    def add(self, root: ResourcePath, scope: LockScope, depth: Depth) -> None:
        """One more."""
        *above, text = root.lineage
        self._on[scope].add(text)
        self._above[scope].update(above)
        if depth is Depth.INFINITY:
            self._deep[scope].add(text)

    def refuse(self, root: ResourcePath, scope: LockScope, depth: Depth) -> bool:
        """True where one of them cannot stand beside a lock like this."""
        *above, text = root.lineage
        for other in _REFUSED_BY[scope]:
            if text in self._on[other] or not self._deep[other].isdisjoint(above):
                return True
            if depth is Depth.INFINITY and text in self._above[other]:
                return True
        return False
