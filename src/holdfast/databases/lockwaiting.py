"""Waiting in line for a lock in a database: its steps, when each is taken, and what the line means for a request.

Owns: the order of the steps and the pauses between them, once for threads, for tasks and for Django; asking `core.queueing` about the line.
Must not know: SQL, how a line is kept, how one sleeps.

Theory of operation: whoever is refused takes a place in line in the same transaction. From then on a look tells whether it is worth while
to try: one SELECT for all who have somebody before them. A place is kept for PARKED_LEASE from its last sign of life, and whoever
waits gives one every RENEW_EVERY: a waiter that was killed blocks nobody for longer than that. The last step gives the place up.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from holdfast.core.decisions import Refusal, Refused, Standing, decide_acquire
from holdfast.core.model import Depth, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.core.queueing import (
    MAX_COUNTED,
    MAX_LOCKS_COUNTED,
    PARKED_LEASE,
    RENEW_EVERY,
    ahead_of,
    first_ahead_of,
    lengths_of,
    standing_of,
)

__all__ = ["LineOf", "Look", "Sought", "Step", "counted", "following", "look", "passing", "told", "trying", "waiting"]

LineOf = Callable[[ResourcePath, Depth], Iterable[Waiter]]
"""The living waiters that a lock of this root and depth may meet, in order, read as far as they are asked for."""


class Step(enum.Enum):
    """What is to be done next, each in one transaction."""

    ONCE = "once"
    """Be granted the lock or be refused, without a place in line: nobody is passed all the same."""
    TRY = "try"
    """Be granted the lock, or stand in line."""
    LAST = "last"
    """Be granted the lock, or give the place up and be refused."""
    LOOK = "look"
    """Only read whether it is worth while to try."""
    RENEW = "renew"
    """Give a sign of life."""


class Look(enum.Enum):
    """What a step has come to."""

    GRANTED = "granted"
    REFUSED = "refused"
    TURN = "turn"
    """Nobody and nothing seems to be in the way, or the place is lost: try."""
    FADING = "fading"
    """In line, and the last sign of life is a while ago."""
    NEAR = "near"
    """In line, with one before or none."""
    FAR = "far"
    """In line, with more of them before."""


_PAUSE_S: Final = {Look.NEAR: 0.1, Look.FAR: 0.2}


def waiting(wait: float) -> Generator[Step | float, Look]:
    """The steps of one who waits for up to `wait` seconds; a number is a pause, in seconds.

    What each step has come to is sent back, anything for a pause. It ends with GRANTED or REFUSED.
    """
    until = time.monotonic() + wait
    step = Step.TRY if wait > 0 else Step.ONCE
    while True:
        found = yield step
        if found is Look.GRANTED or found is Look.REFUSED:
            return
        left = until - time.monotonic()
        if left <= 0:
            step = Step.LAST
        elif found is Look.TURN:
            step = Step.TRY
        elif found is Look.FADING:
            step = Step.RENEW
        else:
            yield min(left, _PAUSE_S[found])
            step = Step.LOOK if until > time.monotonic() else Step.LAST


def trying(wait: float) -> Generator[Step | float, Look]:
    """The same for one who cannot have a place: it tries again and again."""
    until = time.monotonic() + wait
    while (yield Step.ONCE) is not Look.GRANTED:
        left = until - time.monotonic()
        if left <= 0:
            return
        yield min(left, _PAUSE_S[Look.FAR])


def following(steps: Generator[Step | float, Look], found: Look) -> Step | float | None:
    """The step after one that has come to `found`; None after the last one."""
    try:
        return steps.send(found)
    except StopIteration:
        return None


class Sought(msgspec.Struct, frozen=True):
    """The lock that is asked for, as far as others can be in its way."""

    root: ResourcePath
    scope: LockScope
    depth: Depth


def passing(sought: Sought, place: Waiter | None, line_of: LineOf) -> Refused | None:
    """CONFLICT where somebody is before this request, or before its place, whom it must not pass."""
    line = line_of(sought.root, sought.depth)
    before = None if place is None else place.seq
    first = first_ahead_of(line, sought.root, sought.scope, sought.depth, before_seq=before)
    return None if first is None else Refused(Refusal.CONFLICT, line=Standing(first, 1))


def told(sought: Sought, refused: Refused, place: Waiter | None, line_of: LineOf) -> Refused:
    """The refusal, with how the line stands."""
    line = islice(line_of(sought.root, sought.depth), MAX_COUNTED)
    lengths = counted([item.lock for item in refused.contentions], line_of)
    standing = standing_of(line, sought.root, sought.scope, sought.depth, place=place, lengths=lengths)
    return msgspec.structs.replace(refused, line=standing)


def counted(locks: Iterable[Lock], line_of: LineOf) -> dict[str, int]:
    """How many wait for each of these locks to end, by lock id; of the first few locks alone, which is what an answer shows."""
    first = islice(locks, MAX_LOCKS_COUNTED)
    return lengths_of(first, lambda root, depth: islice(line_of(root, depth), MAX_COUNTED))


def look(
    sought: Sought,
    place_id: str,
    found: Iterator[tuple[Waiter, datetime]],
    held: Callable[[datetime], Sequence[Lock]],
) -> Look:
    """What one who stands in line is to do next.

    `found` is the place, and then those before it that a lock of that root and depth may meet, from the last one to the first, each with the
    time. `held` is asked for the locks in the way where nobody is before it.
    """
    place, now = next(found, (None, None))
    if place is None or now is None or place.id != place_id or place.has_lapsed_at(now):
        return Look.TURN
    before = 0
    for waiter, _ in found:
        before += len(ahead_of([waiter], sought.root, sought.scope, sought.depth))
        if before > 1:
            break
    if not before and decide_acquire(sought.root, sought.scope, sought.depth, held(now)) is None:
        return Look.TURN
    if place.lease_until < now + PARKED_LEASE - RENEW_EVERY:
        return Look.FADING
    return Look.NEAR if before <= 1 else Look.FAR
