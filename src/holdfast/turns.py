"""Turns: the waiting line inside a transaction: who is ahead of whom, and taking, keeping and leaving a place in it.

Owns: applying `core.queueing` to what a store keeps of the line, and telling a refused request how the line stands. Must
not know: locks' rules, connections, or who is parked where.

A place is a row with a lease. Whoever waits renews it; once it has lapsed it counts for nothing, whether or not
anybody has removed it. While nobody waits anywhere, each question here costs one look at a count.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from holdfast.claims import AcquireRequest
from holdfast.core.decisions import Refusal, Refused, Standing
from holdfast.core.model import Depth, Event, EventKind, Lock, Waiter
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.core.queueing import (
    MAX_COUNTED,
    MAX_LOCKS_COUNTED,
    PARKED_LEASE,
    RENEW_EVERY,
    ahead_of,
    lengths_of,
    standing_of,
    waiting,
)
from holdfast.store.protocol import ReadTransaction, WriteTransaction

__all__ = [
    "GIVEN_UP",
    "MAX_COUNTED",
    "MAX_LOCKS_COUNTED",
    "PARKED_LEASE",
    "RENEW_EVERY",
    "LineLimits",
    "Queued",
    "Stay",
    "Turns",
    "counted",
    "queue_lengths",
]

_FEW: Final = 16
_MOST_LAPSED: Final = 1000

LAPSED: Final = "no sign of life from who waited"
ENDED: Final = "the wait was over"
CUT_OFF: Final = "the server ended without a word, and the connection with it"

GIVEN_UP: Final = "given up by its principal"
"""Why a place was left, where its request must not take another one: it was told apart from the request itself."""


class Stay(enum.Enum):
    """What becomes of the place in line of a request that is not granted now."""

    PARKED = "parked"
    """Somebody waits and renews it."""
    KEPT = "kept"
    """The client is told to come back, and it is kept for a while."""
    LAST = "last"
    """It is given up: this was the last attempt."""


class LineLimits(msgspec.Struct, frozen=True):
    """How many may stand in line, and for how long the place of one who went away to come back is kept."""

    waiters: int = 10_000
    place_kept: timedelta = timedelta(seconds=20)


class Queued(msgspec.Struct, frozen=True):
    """Not granted now, and in line. `refused` is what is in the way.

    `look_at` is the instant at which that is over if nothing happens; None where only an event can end it.
    """

    waiter: Waiter
    refused: Refused
    look_at: datetime | None


class Turns:
    """The rules of places; everything happens in the transaction that is given."""

    def __init__(self, limits: LineLimits) -> None:
        """Keep nothing: the store does."""
        self.limits = limits

    def place(self, tx: WriteTransaction, lock_id: str) -> Waiter | None:
        """The living waiter with this id; one that has lapsed leaves."""
        waiter = tx.waiter_with_id(lock_id) if tx.count_waiters() else None
        if waiter is not None and waiter.has_lapsed_at(tx.now):
            self.leave(tx, waiter, LAPSED)
            return None
        return waiter

    def blocked(self, tx: WriteTransaction, request: AcquireRequest, place: Waiter | None) -> Refused | None:
        """CONFLICT where somebody is before this request whom it must not pass. Those of them who have lapsed leave."""
        first = self._first_ahead(tx, request, place)
        return None if first is None else Refused(Refusal.CONFLICT, line=Standing(first, 1))

    def settle(
        self,
        tx: WriteTransaction,
        request: AcquireRequest,
        refused: Refused,
        *,
        stay: Stay | None,
        place: Waiter | None,
        lock_id: str | None = None,
        endless: bool = False,
    ) -> Refused | Queued:
        """What becomes of a request that was refused, and of its `place`, or of the one that it is to have.

        A new place has the id `lock_id`, or a new one. Without a `stay` the request takes none.
        """
        if not refused.is_locked:
            if place is not None:
                self.leave(tx, place, "it was refused")
            return refused
        if stay is None or (stay is Stay.LAST and place is None):
            return self.told(tx, request, refused, place)
        if place is None:
            if not self._has_room(tx):
                told = self.told(tx, request, refused, None)
                return msgspec.structs.replace(
                    told, line=msgspec.structs.replace(told.line or Standing(), is_full=True)
                )
            place = self._enqueue(tx, request, lock_id, endless=endless)
        if stay is Stay.PARKED:
            if place.lease_until < tx.now + PARKED_LEASE - RENEW_EVERY:
                tx.renew_waiters([place.id], tx.now + PARKED_LEASE)
            return Queued(place, refused, _over_at(refused))
        told = self.told(tx, request, refused, place)
        if stay is Stay.LAST:
            self.leave(tx, place, ENDED)
        else:
            tx.renew_waiters([place.id], tx.now + self.limits.place_kept)
        return told

    def leave(self, tx: WriteTransaction, waiter: Waiter, reason: str) -> None:
        """Give a place up."""
        tx.dequeue(waiter)
        tx.append(Event.about_waiter(waiter, EventKind.LEFT, tx.now, reason=reason))

    def remove_lapsed(self, tx: WriteTransaction, limit: int) -> int:
        """Tidy away who gave no sign of life; returns how many."""
        lapsed = tx.lapsed_waiters(limit) if tx.count_waiters() else []
        for waiter in lapsed:
            self.leave(tx, waiter, LAPSED)
        return len(lapsed)

    def remove_parked(self, tx: WriteTransaction) -> int:
        """Give up the places of all whose connections have ended with the processes that had them; returns how many."""
        if not tx.count_waiters():
            return 0
        parked = [waiter for waiter in (*tx.waiters_on([ROOT.text]), *tx.waiters_below(ROOT)) if not waiter.comes_back]
        for waiter in parked:
            self.leave(tx, waiter, CUT_OFF)
        return len(parked)

    def told(self, tx: ReadTransaction, request: AcquireRequest, refused: Refused, place: Waiter | None) -> Refused:
        """The refusal of a new lock, with how the line stands for it."""
        if not refused.is_locked or not tx.count_waiters():
            return refused
        root = request.claim.resource
        line = _line(tx, root, request.depth)
        lengths = lengths_of(
            [item.lock for item in refused.contentions[:MAX_LOCKS_COUNTED]],
            lambda at, depth: line if (at, depth) == (root, request.depth) else _line(tx, at, depth),
        )
        standing = standing_of(line, root, request.scope, request.depth, place=place, lengths=lengths)
        return msgspec.structs.replace(refused, line=standing)

    def _first_ahead(self, tx: WriteTransaction, request: AcquireRequest, place: Waiter | None) -> Waiter | None:
        if not tx.count_waiters():
            return None
        root = request.claim.resource
        before = None if place is None else place.seq
        found = [self._first_of(tx, request, lambda limit: tx.waiters_on(root.lineage, before=before, limit=limit))]
        if request.depth is Depth.INFINITY:
            found.append(self._first_of(tx, request, lambda limit: tx.waiters_below(root, before=before, limit=limit)))
        return min((waiter for waiter in found if waiter is not None), key=_seq, default=None)

    def _first_of(
        self, tx: WriteTransaction, request: AcquireRequest, read: Callable[[int], list[Waiter]]
    ) -> Waiter | None:
        """The first living one, of those that are read in order, with whom the request conflicts."""
        limit = _FEW
        while True:
            found = read(limit)
            for waiter in ahead_of(found, request.claim.resource, request.scope, request.depth):
                if not waiter.has_lapsed_at(tx.now):
                    return waiter
                self.leave(tx, waiter, LAPSED)
            if limit < 0 or len(found) < limit:
                return None
            limit = -1

    def _has_room(self, tx: WriteTransaction) -> bool:
        while tx.count_waiters() >= self.limits.waiters:
            # Only those who live count, whether or not the sweeper has been by.
            if not self.remove_lapsed(tx, _MOST_LAPSED):
                return False
        return True

    def _enqueue(self, tx: WriteTransaction, request: AcquireRequest, lock_id: str | None, *, endless: bool) -> Waiter:
        waiter = tx.enqueue(
            Waiter(
                id=lock_id or _new_id(tx),
                seq=0,
                root=request.claim.resource,
                scope=request.scope,
                depth=request.depth,
                principal=request.claim.principal,
                owner=request.owner,
                owner_xml=request.owner_xml,
                reason=request.reason,
                client=request.client,
                face=request.face,
                asked_s=None if request.asked is None else request.asked.total_seconds(),
                endless=endless,
                enqueued_at=tx.now,
                lease_until=tx.now + PARKED_LEASE,
                comes_back=lock_id is not None,
            )
        )
        tx.append(Event.about_waiter(waiter, EventKind.QUEUED, tx.now, reason=waiter.reason))
        return waiter


def counted(tx: ReadTransaction, refused: Refused) -> Refused:
    """The refusal of a write, with how many wait for each lock in the way."""
    lengths = queue_lengths(tx, [item.lock for item in refused.contentions[:MAX_LOCKS_COUNTED]])
    return msgspec.structs.replace(refused, line=Standing(lengths=lengths)) if lengths else refused


def queue_lengths(tx: ReadTransaction, locks: Iterable[Lock]) -> dict[str, int]:
    """How many wait for each of these locks to end, by lock id; those without anybody are left out."""
    return lengths_of(locks, lambda at, depth: _line(tx, at, depth)) if tx.count_waiters() else {}


def _line(tx: ReadTransaction, root: ResourcePath, depth: Depth) -> list[Waiter]:
    """Who waits and lives, for anything that a lock would meet, in order, up to MAX_COUNTED of them."""
    line = tx.waiters_on(root.lineage, limit=MAX_COUNTED)
    if depth is Depth.INFINITY:
        line = sorted([*line, *tx.waiters_below(root, limit=MAX_COUNTED)], key=_seq)[:MAX_COUNTED]
    return waiting(line, tx.now)


def _over_at(refused: Refused) -> datetime | None:
    """When all that is in the way has ended by itself."""
    if not refused.contentions:
        return None if refused.line is None or refused.line.first is None else refused.line.first.lease_until
    ends = [item.lock.expires_at for item in refused.contentions]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None


def _seq(waiter: Waiter) -> int:
    return waiter.seq


def _new_id(tx: ReadTransaction) -> str:
    """An id for a lock that is yet to come: it begins with a rising number, as those of locks do, and cannot be guessed."""
    return f"{tx.latest_seq() + 1:010x}{os.urandom(5).hex()}"
