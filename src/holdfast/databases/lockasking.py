"""One request for a lock of a LockTable, over all the transactions that it takes: being granted, standing in line, giving up.

Owns: applying `core.decisions` and the rules of the line (`lockwaiting`) to the rows, inside the transaction. Must not know: SQL
(`lockrows`, `lockplaces`), engines, threads, how long is waited.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

import msgspec
from sqlalchemy import Connection

from holdfast.core.decisions import Refused, decide_acquire
from holdfast.core.model import Depth, EventKind, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.core.timeouts import FOREVER, TimeoutPolicy
from holdfast.databases.lockplaces import LockPlaces
from holdfast.databases.lockrows import LockRows
from holdfast.databases.lockwaiting import Look, Sought, Step, look, passing, told
from holdfast.databases.rowvalues import instant, milliseconds

__all__ = ["Asking", "LockWish", "TurnedDownError", "span_of"]


class LockWish(TypedDict, total=False):
    """What may be said of a lock that is asked for.

    `ttl` is in seconds; None is the table's usual time (30 minutes). `owner` is what the holder says of itself, `client` its program.
    `lock_id` names the lock: the same one again gives the same lock, or the same place in line. With a reason in `break_first`, what
    is in the way is broken in the same step: the holder's own locks, and with `may_break` everybody's; that passes the line.
    """

    scope: LockScope
    depth: Depth
    ttl: float | None
    owner: str
    reason: str
    client: str
    lock_id: str | None
    break_first: str
    may_break: bool


class TurnedDownError(Exception):
    """Ends a transaction in which nothing was changed; the request knows why."""


class Asking:
    """What is asked for, and what has come of it: `lock`, or `refused` with the time (milliseconds, by the database's clock)."""

    def __init__(
        self, rows: LockRows, places: LockPlaces, timeouts: TimeoutPolicy, wanted: Lock, wish: LockWish
    ) -> None:
        """`wanted` is made once: where nobody knows whether a COMMIT came through, the next attempt finds its own lock or place."""
        self._rows = rows
        self._places = places
        self._timeouts = timeouts
        self._wanted = wanted
        self._wish = wish
        self._sought = Sought(wanted.root, wanted.scope, wanted.depth)
        self._seq: int | None = None
        self.lock: Lock | None = None
        self.refused: tuple[Refused, int] | None = None

    @property
    def root(self) -> ResourcePath:
        """What it wants to lock."""
        return self._wanted.root

    @property
    def may_have_place(self) -> bool:
        """True from when it has taken one, for all that is known."""
        return self._seq is not None

    def go(self, connection: Connection, step: Step) -> Look:
        """One step, in one transaction. Raises TurnedDownError instead of REFUSED where there is nothing to commit; RowsBusyError; ValueError."""
        match step:
            case Step.LOOK:
                return self._look(connection)
            case Step.RENEW:
                assert self._seq is not None
                return Look.NEAR if self._places.renew(connection, self._wanted.id, self._seq) else Look.TURN
            case _:
                return self._try(connection, step)

    def leave(self, connection: Connection) -> None:
        """Give up the place, and the lock if it was granted unheard."""
        _, now = self._rows.take_turn(connection)
        wanted = self._wanted
        if self._seq is not None:
            self._places.remove(connection, wanted.id, self._seq)
        found = self._rows.find(connection, wanted.token, now)
        if found is not None and found[1] is None:
            self._rows.end(connection, wanted.id, now, EventKind.RELEASED, by=wanted.principal)

    def _look(self, connection: Connection) -> Look:
        """Whether somebody stands before it, by one SELECT; whether something is held, where nobody does."""
        wanted = self._wanted
        if self._seq is None or self._wish.get("break_first"):
            return Look.TURN
        found = self._places.before(connection, wanted.id, wanted.root, wanted.depth, self._seq)
        return look(self._sought, wanted.id, found, lambda now: self._held(connection, milliseconds(now)))

    def _held(self, connection: Connection, now: int) -> list[Lock]:
        wanted = self._wanted
        return self._rows.held(connection, wanted.root, now, below=wanted.depth is Depth.INFINITY)

    def _try(self, connection: Connection, step: Step) -> Look:
        fencing_token, now = self._rows.take_turn(connection, mints=True)
        wanted = self._wanted
        known = self._rows.find(connection, wanted.id, now)
        if known is not None:
            lock, ended = known
            if ended is None and lock.principal == wanted.principal and lock.root == wanted.root:
                self.lock = lock
                return Look.GRANTED
            msg = f"there was a lock {wanted.id} already"
            raise ValueError(msg)
        place = self._place(connection, now)
        self._rows.tidy(connection, wanted.root, now)
        refused = self._judge(connection, place, now)
        if refused is None:
            if place is not None:
                self._places.remove(connection, place.id, place.seq)
            self.lock = self._put(connection, fencing_token, now)
            return Look.GRANTED
        return self._settle(connection, refused, place, step, now)

    def _judge(self, connection: Connection, place: Waiter | None, now: int) -> Refused | None:
        """What is against it: locks held, or those who come before it. Whoever breaks what is held passes the line."""
        wanted = self._wanted
        refused = decide_acquire(wanted.root, wanted.scope, wanted.depth, self._held(connection, now))
        reason = self._wish.get("break_first", "")
        if not reason:
            return refused or passing(self._sought, place, self._places.reading(connection, now))
        locks = [] if refused is None else [one.lock for one in refused.contentions]
        if not all(self._wish.get("may_break", False) or lock.principal == wanted.principal for lock in locks):
            return refused
        for row in self._rows.seize(connection, [lock.id for lock in locks], now, live=True) if locks else []:
            self._rows.end(connection, row.id, now, EventKind.BROKEN, by=wanted.principal, reason=reason)
        return None

    def _settle(self, connection: Connection, refused: Refused, place: Waiter | None, step: Step, now: int) -> Look:
        """What becomes of a request that was refused, and of its place."""
        if step is not Step.TRY:
            if not self._places.is_empty(connection):
                refused = told(self._sought, refused, place, self._places.reading(connection, now))
            self.refused = refused, now
        if step is Step.ONCE or (step is Step.LAST and place is None):
            raise TurnedDownError
        self._rows.give_back(connection)
        if step is Step.TRY:
            if place is None:
                place = self._places.enter(connection, self._wanted, now)
            else:
                self._places.renew(connection, place.id, place.seq, even_lapsed=True)
            self._seq = place.seq
            return Look.NEAR
        assert place is not None
        self._places.remove(connection, place.id, place.seq)
        return Look.REFUSED

    def _place(self, connection: Connection, now: int) -> Waiter | None:
        """Its living place, which an earlier request with the same id may have taken; one that has lapsed is removed."""
        wanted = self._wanted
        if self._seq is None and self._wish.get("lock_id") is None:
            return None
        place = self._places.find(connection, wanted.id)
        if place is None:
            return None
        if place.has_lapsed_at(instant(now)):
            self._places.remove(connection, place.id, place.seq)
            return None
        if place.principal != wanted.principal or Sought(place.root, place.scope, place.depth) != self._sought:
            msg = f"there is a request for a lock {wanted.id} in line already"
            raise ValueError(msg)
        return place

    def _put(self, connection: Connection, fencing_token: int, now: int) -> Lock:
        at = instant(now)
        lock = msgspec.structs.replace(
            self._wanted,
            fencing_token=fencing_token,
            created_at=at,
            refreshed_at=at,
            expires_at=at + self._timeouts.grant(span_of(self._wish.get("ttl"))),
        )
        self._rows.put(connection, lock)
        return lock


def span_of(seconds: float | None) -> timedelta | None:
    """What is said in seconds; anything above FOREVER is that."""
    if seconds is None:
        return None
    return FOREVER if seconds >= FOREVER.total_seconds() else timedelta(seconds=seconds)
