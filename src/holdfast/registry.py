"""LockRegistry: locks by their public ids: idempotent acquire, refresh, release, break, take-over, and what became of them.

Owns: what can be asked of a lock by its id, by whoever holds it, breaks it, or looks for it, and the pages of
locks and of history. Must not know: HTTP, JSON, roles; who may break or see what is a function that it is given.
The rules of locking are `core.decisions`; each operation here is one transaction, as in `service`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from holdfast import finding
from holdfast.core.conditions import IfHeader, Submission
from holdfast.core.decisions import Effect, Reach, Refused, decide_write
from holdfast.core.model import Break, Event, EventKind, Lock, Waiter
from holdfast.finding import Filter, Found, Key, Page, Past
from holdfast.service import AcquireRequest, Claim, LockService, Queued, Stay, WriteRequest
from holdfast.store.protocol import Store, WriteTransaction
from holdfast.turns import GIVEN_UP, counted

__all__ = [
    "ENDLESS",
    "BreakOrder",
    "Filter",
    "Found",
    "Granted",
    "IdTaken",
    "Key",
    "LockRegistry",
    "Miss",
    "Page",
    "Past",
    "Renewal",
    "Ttl",
]


class Endless(enum.Enum):
    """See ENDLESS."""

    ENDLESS = "endless"


ENDLESS = Endless.ENDLESS
"""A lock that never ends by itself; the caller has made sure that an administrator asks."""

Ttl = timedelta | Endless | None
"""How long a lock is asked for; None: the usual time."""


class Miss(enum.Enum):
    """Why an operation on an id found nothing to do."""

    UNKNOWN = "unknown"
    """No lock has, or had within the time that events are kept, this id."""
    NOT_CREATOR = "not-creator"
    """Another principal created it, and nothing else permits the operation."""
    WRONG_TOKEN = "wrong-token"  # noqa: S105 - no password
    """The token is not this lock's."""


class IdTaken(msgspec.Struct, frozen=True):
    """The chosen id is that of a lock which is held, or waited for, by another principal or for another request."""

    by_other: bool


class Granted(msgspec.Struct, frozen=True):
    """The lock; `is_new` is False where an earlier request with this id was granted it."""

    lock: Lock
    is_new: bool = True


class BreakOrder(msgspec.Struct, frozen=True):
    """End the lock `lock_id`, `after` a grace, because of `reason`.

    Together with an acquire, an empty `lock_id` means every lock that is in the way.
    """

    lock_id: str
    actor: str
    reason: str
    after: timedelta = timedelta()


class Renewal(msgspec.Struct, frozen=True):
    """One lock to refresh."""

    lock_id: str
    token: str
    ttl: Ttl = None


class _UndoneError(Exception):
    """Ends a transaction with nothing changed; `answer` says why."""

    def __init__(self, answer: Refused | IdTaken | Event | Miss) -> None:
        super().__init__()
        self.answer = answer


class LockRegistry:
    """Safe from any thread; every method is one transaction."""

    def __init__(self, service: LockService, store: Store) -> None:
        """Work on the store of `service`."""
        self._service = service
        self._store = store

    # -- acquire, refresh, release ------------------------------------------------------------------

    def acquire(
        self,
        request: AcquireRequest,
        *,
        lock_id: str | None = None,
        endless: bool = False,
        first: BreakOrder | None = None,
        may_break: Callable[[Lock], bool],
        stay: Stay | None = None,
    ) -> Granted | Refused | Queued | IdTaken | Event | Miss:
        """Grant a new lock, or the one that an earlier request with this `lock_id` was granted.

        An Event is how the lock with this id has ended: one id is one lock, so that a request which is
        repeated late grants nothing that nobody waits for. `first` breaks another lock in the same step, passes the
        line and takes no place in it; a Miss is about that one. Where the answer is neither Granted nor Queued, no
        lock was changed.

        With a `stay` the request takes a place in line, as in `LockService.acquire`. Whoever asks the same again with
        the id of that place, has it; for everybody else the id is taken.
        """
        if lock_id is None and first is None and stay is None:
            refused = self._service._foresee_conflict(request)
            if refused is not None:
                return refused
        try:
            with self._store.write() as tx:
                answer = self._acquire(tx, request, lock_id, first, may_break, stay, endless=endless)
                if isinstance(answer, Granted | Queued) or first is None:
                    return answer
                raise _UndoneError(answer)  # noqa: TRY301 - it must pass out of the transaction
        except _UndoneError as undone:
            return undone.answer

    def _acquire(
        self,
        tx: WriteTransaction,
        request: AcquireRequest,
        lock_id: str | None,
        first: BreakOrder | None,
        may_break: Callable[[Lock], bool],
        stay: Stay | None,
        *,
        endless: bool,
    ) -> Granted | Refused | Queued | IdTaken | Event | Miss:
        place = None
        if lock_id is not None:
            earlier = self._live(tx, lock_id)
            if isinstance(earlier, Lock):
                return Granted(earlier, is_new=False) if _asks_for(request, earlier) else _taken(request, earlier)
            if isinstance(earlier, Event):
                return earlier
            place = self._service._turns.place(tx, lock_id)
            if place is not None and not _asks_for(request, place):
                return _taken(request, place)
        if first is not None:
            missed = self._break_first(tx, request, first, may_break)
            return missed or self._grant(tx, request, lock_id, place, endless=endless)
        refused = self._service._judge(tx, request, place, is_mapped=True)
        if refused is None:
            return self._keep(tx, request, lock_id, place, endless=endless)
        return self._service._turns.settle(
            tx, request, refused, stay=stay, place=place, lock_id=lock_id, endless=endless
        )

    def _break_first(
        self, tx: WriteTransaction, request: AcquireRequest, order: BreakOrder, may_break: Callable[[Lock], bool]
    ) -> Miss | None:
        """Break what the order names; one that has ended already is no hindrance."""
        if order.lock_id:
            found = self._live(tx, order.lock_id)
            if found is None:
                return Miss.UNKNOWN
            targets = [found] if isinstance(found, Lock) else []
            return self._break_all(tx, targets, order, may_break)
        while True:
            _, refused = self._service._weigh(tx, request)
            if refused is None:
                return None
            # A refusal names only so many at once.
            missed = self._break_all(tx, [item.lock for item in refused.contentions], order, may_break)
            if missed is not None:
                return missed

    def _break_all(
        self, tx: WriteTransaction, locks: Sequence[Lock], order: BreakOrder, may_break: Callable[[Lock], bool]
    ) -> Miss | None:
        for lock in locks:
            if lock.principal != order.actor and not may_break(lock):
                return Miss.NOT_CREATOR
            self._end_by_force(tx, lock, order.actor, order.reason)
        return None

    def _grant(
        self, tx: WriteTransaction, request: AcquireRequest, lock_id: str | None, place: Waiter | None, *, endless: bool
    ) -> Granted | Refused:
        """Grant it if what is held allows it, whoever waits."""
        _, refused = self._service._weigh(tx, request)
        refused = refused or self._service._check_caps(tx, request.claim.principal)
        if refused is not None:
            return self._service._turns.told(tx, request, refused, place)
        return self._keep(tx, request, lock_id, place, endless=endless)

    def _keep(
        self, tx: WriteTransaction, request: AcquireRequest, lock_id: str | None, place: Waiter | None, *, endless: bool
    ) -> Granted:
        lock = self._service._mint(tx, request)
        if lock_id is not None or endless:
            lock = msgspec.structs.replace(lock, id=lock_id or lock.id, expires_at=None if endless else lock.expires_at)
        return Granted(self._service._keep(tx, lock, place))

    def refresh(self, renewals: Sequence[Renewal], principal: str) -> list[Found | Event | Miss]:
        """Restart the timers; each is answered apart, in the same order. One that is being broken ends when it would.

        Found has the lock with the break, if any; not how many wait.
        """
        with self._store.write() as tx:
            return [self._refresh(tx, renewal, principal) for renewal in renewals]

    def _refresh(self, tx: WriteTransaction, renewal: Renewal, principal: str) -> Found | Event | Miss:
        lock = self._held_by(tx, renewal.lock_id, renewal.token, principal)
        if not isinstance(lock, Lock):
            return lock
        expires_at = None
        if not _stays_endless(lock, renewal.ttl):
            asked = None if isinstance(renewal.ttl, Endless) else renewal.ttl
            expires_at = tx.now + self._service._timeouts.grant(asked)
        pending = tx.break_with_token(lock.token)
        if pending is not None and (expires_at is None or expires_at > pending.at):
            expires_at = pending.at
        renewed = msgspec.structs.replace(lock, refreshed_at=tx.now, expires_at=expires_at)
        tx.replace(renewed)
        return Found(renewed, pending)

    def release(self, lock_id: str, token: str, principal: str) -> Lock | Event | Miss:
        """End a lock; the Event of its end where that has come already."""
        with self._store.write() as tx:
            lock = self._held_by(tx, lock_id, token, principal)
            if isinstance(lock, Lock):
                tx.remove(lock)
                tx.append(Event.about(lock, EventKind.RELEASED, tx.now, actor=principal))
            return lock

    def give_up(self, place_id: str, principal: str) -> Waiter | Miss:
        """Leave the line before the turn has come. Only the principal that waits may; whoever is parked with the place is told."""
        with self._store.write() as tx:
            place = self._service._turns.place(tx, place_id)
            if place is None:
                return Miss.UNKNOWN
            if place.principal != principal:
                return Miss.NOT_CREATOR
            self._service._turns.leave(tx, place, GIVEN_UP)
            return place

    # -- break, take over ---------------------------------------------------------------------------

    def break_lock(self, order: BreakOrder, may_break: Callable[[Lock], bool]) -> Found | Event | Miss:
        """End a lock by force: its Event, or Found with the break that is set for after the grace.

        Its creator may do so, and whom `may_break` permits. A lock that has ended gives the Event of that end.
        """
        with self._store.write() as tx:
            lock = self._live(tx, order.lock_id)
            if lock is None:
                return Miss.UNKNOWN
            if isinstance(lock, Event):
                return lock
            if lock.principal != order.actor and not may_break(lock):
                return Miss.NOT_CREATOR
            if order.after <= timedelta():
                return self._end_by_force(tx, lock, order.actor, order.reason)
            pending = Break(lock.id, tx.now + order.after, order.actor, order.reason)
            earlier = tx.break_with_token(lock.token)
            if earlier is not None and earlier.at <= pending.at:
                return Found(lock, earlier)
            tx.put_break(lock.token, pending)
            tx.append(Event.about_break(lock, tx.now, pending))
            if lock.expires_at is None or lock.expires_at > pending.at:
                lock = msgspec.structs.replace(lock, expires_at=pending.at)
                tx.replace(lock)
            return Found(lock, pending)

    def take_over(
        self,
        lock_id: str,
        principal: str,
        ttl: Ttl,
        *,
        client: str,
        owner: str | None = None,
        reason: str | None = None,
    ) -> Granted | Refused | Event | Miss:
        """A new lock in place of the principal's own, with a new id, token and fencing token; the old one is broken.

        For whoever lost the token, or goes on at another desk. What holds the old token is told so.
        """
        with self._store.write() as tx:
            lock = self._live(tx, lock_id)
            if lock is None:
                return Miss.UNKNOWN
            if isinstance(lock, Event):
                return lock
            if lock.principal != principal:
                return Miss.NOT_CREATOR
            self._end_by_force(tx, lock, principal, "taken over")
            request = AcquireRequest(
                claim=Claim(resource=lock.root, principal=principal),
                scope=lock.scope,
                depth=lock.depth,
                asked=None if isinstance(ttl, Endless) else ttl,
                owner=lock.owner if owner is None else owner,
                owner_xml=lock.owner_xml if owner is None else None,
                reason=lock.reason if reason is None else reason,
                client=client,
                face=lock.face,
            )
            return self._grant(tx, request, None, None, endless=_stays_endless(lock, ttl))

    # -- look ---------------------------------------------------------------------------------------

    def describe(self, lock_id: str) -> Found | Event | None:
        """The lock with this id, or how it ended; None where nothing is known of it."""
        with self._store.read() as tx:
            return finding.describe(tx, lock_id)

    def find(self, wanted: Filter, may_see: Callable[[Lock], bool], after: Key | None, limit: int) -> Page:
        """Up to `limit` locks that fit and may be seen, after the key of the page before."""
        with self._store.read() as tx:
            return finding.find(tx, wanted, may_see, after, limit)

    def history(
        self,
        admits: Callable[[Event], bool],
        after_seq: int,
        limit: int,
        *,
        before_seq: int = 2**63,
        newest_first: bool = False,
    ) -> Past:
        """Up to `limit` events that fit, with a seq between the two, from the oldest or from the newest."""
        with self._store.read() as tx:
            if newest_first:
                return finding.history_backwards(tx, admits, before_seq, limit, after_seq=after_seq)
            return finding.history(tx, admits, after_seq, limit, before_seq=before_seq)

    def check(
        self, effects: Sequence[Effect], tokens: Sequence[str], principal: str, condition: IfHeader | None = None
    ) -> Refused | None:
        """Whether `principal` could make the changes now; each token counts as submitted for each resource.

        The condition is the request's If header, where there is one; its tokens are submitted too.
        """
        first = effects[0]
        reaches_down = first.reach is Reach.TREE
        claim = Claim(first.resource, principal, condition, tuple(tokens), reaches_down=reaches_down)
        if len(effects) == 1:
            return self._service.check_write(WriteRequest(claim, tuple(effects)))
        submissions = claim.submissions()
        for effect in effects[1:]:
            submissions.extend(Submission(token, effect.resource, effect.reach is Reach.TREE) for token in tokens)
        with self._store.read() as tx:
            failed = self._service._check_conditions(tx, claim, None)
            if failed is not None:
                return failed
            trees = [effect.resource for effect in effects if effect.reach is Reach.TREE]
            held = self._service._held_under(tx, effects, trees)
            refused = decide_write(effects, held, submissions, principal)
            return None if refused is None else counted(tx, refused)

    # -- inside a transaction -----------------------------------------------------------------------

    def _live(self, tx: WriteTransaction, lock_id: str) -> Lock | Event | None:
        """The held lock with this id, or its end; None where nothing is known of it."""
        lock = tx.lock_with_id(lock_id)
        if lock is not None and lock.is_expired_at(tx.now):
            self._service._remove_expired(tx, [lock])
            lock = None
        return tx.end_of_lock(lock_id) if lock is None else lock

    def _held_by(self, tx: WriteTransaction, lock_id: str, token: str, principal: str) -> Lock | Event | Miss:
        """The lock, where the token is its own and the principal its creator."""
        lock = self._live(tx, lock_id)
        if lock is None:
            return Miss.UNKNOWN
        if isinstance(lock, Event):
            return lock if lock.holder == principal else Miss.NOT_CREATOR
        if lock.principal != principal:
            return Miss.NOT_CREATOR
        return lock if lock.token == token else Miss.WRONG_TOKEN

    def _end_by_force(self, tx: WriteTransaction, lock: Lock, actor: str, reason: str) -> Event:
        tx.put_break(lock.token, Break(lock.id, tx.now, actor, reason))
        tx.remove(lock)
        event = Event.about(lock, EventKind.BROKEN, tx.now, actor=actor, reason=reason)
        return msgspec.structs.replace(event, seq=tx.append(event))


def _asks_for(request: AcquireRequest, lock: Lock | Waiter) -> bool:
    """True where the request is the one that the lock was granted for, or is waited for by, as far as that tells."""
    return (
        request.claim.principal == lock.principal
        and request.claim.resource == lock.root
        and request.scope is lock.scope
        and request.depth is lock.depth
        and request.owner == lock.owner
        and request.reason == lock.reason
        and (isinstance(lock, Lock) or request.face is lock.face)
    )


def _taken(request: AcquireRequest, lock: Lock | Waiter) -> IdTaken:
    return IdTaken(by_other=lock.principal != request.claim.principal)


def _stays_endless(lock: Lock, ttl: Ttl) -> bool:
    """True where no end is asked for, or none was and nothing is asked."""
    return isinstance(ttl, Endless) or (ttl is None and lock.expires_at is None)
