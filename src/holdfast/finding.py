"""Finding locks, and what happened to them, in pages.

Owns: which locks a filter admits, what is told of a held one, and the pages of locks and of the record. Must not know: who
may see what, which is a function that it is given; or how a page is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from holdfast.core.conflicts import unexpired
from holdfast.core.model import Break, Event, Lock, LockScope
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.protocol import ReadTransaction
from holdfast.turns import queue_lengths

__all__ = ["Filter", "Found", "Key", "Page", "Past", "describe", "find", "history", "history_backwards"]

_MOST_LOOKED_AT = 10_000  # locks or events that one page looks at; a page that finds few of them is shorter
_CHUNK = 500
_ENDLESS = 2**63  # above every seq


class Found(msgspec.Struct, frozen=True):
    """A held lock, with the break that will end it, if any, and how many wait for that end."""

    lock: Lock
    breaking: Break | None = None
    queue_length: int = 0


class Filter(msgspec.Struct, frozen=True):
    """Which locks are looked for; all that is given must fit. `reason` is a part of it, in any case."""

    resource: ResourcePath | None = None
    covering: ResourcePath | None = None
    under: ResourcePath | None = None
    principal: str | None = None
    scope: LockScope | None = None
    reason: str | None = None

    def admits(self, lock: Lock) -> bool:
        """True where the lock fits."""
        return (
            (self.resource is None or lock.root == self.resource)
            and (self.covering is None or lock.covers(self.covering))
            and (self.under is None or lock.root.is_at_or_below(self.under))
            and (self.principal is None or lock.principal == self.principal)
            and (self.scope is None or lock.scope is self.scope)
            and (self.reason is None or self.reason.casefold() in lock.reason.casefold())
        )


Key = tuple[str, str]
"""The root and the id of a lock: its place in the order of pages."""


class Page(msgspec.Struct, frozen=True):
    """Some locks, in the order of root and id; `next_key` is None where no more can follow."""

    found: list[Found]
    next_key: Key | None


class Past(msgspec.Struct, frozen=True):
    """Some events, in order. What follows comes after `next_seq`; `more` is True where the page may not be the last."""

    events: list[Event]
    next_seq: int
    more: bool


def describe(tx: ReadTransaction, lock_id: str) -> Found | Event | None:
    """The lock with this id, or how it ended; None where nothing is known of it."""
    lock = tx.lock_with_id(lock_id)
    if lock is None:
        return tx.end_of_lock(lock_id)
    if lock.is_expired_at(tx.now):
        return Event.about_expiry(lock, lock.expires_at or tx.now, tx.break_with_token(lock.token))
    return _told(tx, [lock])[0]


def find(tx: ReadTransaction, wanted: Filter, may_see: Callable[[Lock], bool], after: Key | None, limit: int) -> Page:
    """Up to `limit` locks that fit and may be seen, after the key of the page before."""
    if wanted.resource is not None or wanted.covering is not None:
        return _find_on(tx, wanted, may_see, after, limit)
    found: list[Lock] = []
    looked_at = 0
    while looked_at < _MOST_LOOKED_AT:
        chunk = tx.locks_at_or_below(wanted.under or ROOT, after, _CHUNK)
        for lock in chunk:
            after = (lock.root.text, lock.id)
            if not lock.is_expired_at(tx.now) and wanted.admits(lock) and may_see(lock):
                found.append(lock)
                if len(found) == limit:
                    return Page(_told(tx, found), after)
        if len(chunk) < _CHUNK:
            return Page(_told(tx, found), None)
        looked_at += len(chunk)
    return Page(_told(tx, found), after)


def _find_on(
    tx: ReadTransaction, wanted: Filter, may_see: Callable[[Lock], bool], after: Key | None, limit: int
) -> Page:
    """Of the locks on one resource and above it, which are few."""
    path = wanted.resource or wanted.covering or ROOT
    roots = [path.text] if wanted.resource is not None else path.lineage
    fitting = sorted(
        [lock for lock in unexpired(tx.locks_on(roots), tx.now) if wanted.admits(lock) and may_see(lock)],
        key=_key,
    )
    rest = fitting if after is None else [lock for lock in fitting if _key(lock) > after]
    return Page(_told(tx, rest[:limit]), _key(rest[limit - 1]) if len(rest) > limit else None)


def history(
    tx: ReadTransaction, admits: Callable[[Event], bool], after_seq: int, limit: int, *, before_seq: int = _ENDLESS
) -> Past:
    """Up to `limit` events that fit, from just after a seq and up to just before another."""
    found: list[Event] = []
    looked_at = 0
    while looked_at < _MOST_LOOKED_AT:
        chunk = tx.events_after(after_seq, _CHUNK)
        for event in chunk:
            if event.seq >= before_seq:
                return Past(found, after_seq, more=False)
            after_seq = event.seq
            if admits(event):
                found.append(event)
                if len(found) == limit:
                    return Past(found, after_seq, more=True)
        if len(chunk) < _CHUNK:
            return Past(found, after_seq, more=False)
        looked_at += len(chunk)
    return Past(found, after_seq, more=True)


def history_backwards(
    tx: ReadTransaction, admits: Callable[[Event], bool], before_seq: int, limit: int, *, after_seq: int = 0
) -> Past:
    """The same from the newest: what follows comes before `next_seq`."""
    oldest = next((event.seq for event in tx.events_after(after_seq, 1)), _ENDLESS)
    before_seq = min(before_seq, tx.latest_seq() + 1)
    found: list[Event] = []
    looked_at = 0
    while before_seq > oldest and looked_at < _MOST_LOOKED_AT:
        # As many seqs as a chunk may have, so that none in between is passed over.
        first = max(after_seq, before_seq - 1 - _CHUNK)
        for event in reversed(tx.events_after(first, _CHUNK)):
            if event.seq >= before_seq:
                continue
            before_seq = event.seq
            if admits(event):
                found.append(event)
                if len(found) == limit:
                    return Past(found, before_seq, more=before_seq > oldest)
        before_seq = first + 1
        looked_at += _CHUNK
    return Past(found, before_seq, more=before_seq > oldest)


def _told(tx: ReadTransaction, locks: Sequence[Lock]) -> list[Found]:
    lengths = queue_lengths(tx, locks)
    return [Found(lock, tx.break_with_token(lock.token), lengths.get(lock.id, 0)) for lock in locks]


def _key(lock: Lock) -> Key:
    return lock.root.text, lock.id
