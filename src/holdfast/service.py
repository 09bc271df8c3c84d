"""LockService: acquire, refresh, release, discover, places in the waiting line, and the writes that locks guard.

Owns: one transaction per operation: read the locks in scope, ask `core.decisions`, apply the answer,
append to the feed. Must not know: HTTP, XML, files; what a write does to them is a callback that runs
inside the transaction, after the check, so that no lock can be granted in between.

Order of judgement, everywhere (RFC 4918 sections 8.5, 10.4.3): the If header, then the other
preconditions, then locks, then who is ahead in the line. Authentication and authorization come before, in the faces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec

from holdfast.claims import AcquireRequest, Claim, WriteRequest
from holdfast.core.conditions import IfHeader
from holdfast.core.conflicts import closes_tree, covering_locks, unexpired
from holdfast.core.decisions import (
    Effect,
    Reach,
    Refusal,
    Refused,
    decide_acquire,
    decide_holder,
    decide_write,
    protected_resources,
)
from holdfast.core.model import Depth, Event, EventKind, Lock, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.store.protocol import ReadTransaction, Store, WriteTransaction
from holdfast.turns import PARKED_LEASE, LineLimits, Queued, Stay, Turns, counted

__all__ = ["AcquireRequest", "Claim", "Limits", "LockService", "Queued", "Stay", "WriteRequest"]

T = TypeVar("T")

EtagOf = Callable[[ResourcePath], str | None]

_MOST_BELOW = 1000  # locks below a new lock's root that are looked at first; enough to refuse, and to name them
_VARIANTS = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}  # RFC 9562 section 4.1: the two bits 1 0

_MOST_EXPIRED = 1000  # expired locks that are tidied away at once


class Limits(msgspec.Struct, frozen=True):
    """Caps on the number of locks kept, and on the waiting line."""

    locks_per_principal: int = 10_000
    locks_in_all: int = 1_000_000
    line: LineLimits = LineLimits()


class _State:
    """A StateLookup over one transaction, for one If header.

    A token matches only for a resource that its lock covers, or lies below (`Submission.unlocks`): so the locks
    there are looked through, and no store has to keep an index of tokens.
    """

    __slots__ = ("_by_token", "_condition", "_etag_of", "_reaches_down", "_tx")

    def __init__(
        self, tx: ReadTransaction, etag_of: EtagOf, condition: IfHeader, *, reaches_down: bool = False
    ) -> None:
        self._tx = tx
        self._etag_of = etag_of
        self._condition = condition
        self._reaches_down = reaches_down
        self._by_token: dict[str, Lock] | None = None

    def matching_lock(self, token: str) -> Lock | None:
        if self._by_token is None:
            self._by_token = {lock.token: lock for lock in unexpired(self._in_reach(), self._tx.now)}
        return self._by_token.get(token)

    def _in_reach(self) -> list[Lock]:
        lists = self._condition.lists
        found = self._tx.locks_on(_lineages(item.resource for item in lists if item.resource is not None))
        if self._reaches_down:
            for root in {item.resource for item in lists if item.resource is not None and not item.tagged}:
                found.extend(self._tx.locks_below(root))
        return found

    def etag_of(self, resource: ResourcePath) -> str | None:
        return self._etag_of(resource)


class LockService:
    """The one place that changes locks. Safe from any thread; every method is one transaction.

    `etag_of` gives the current entity tag of a resource, for conditions in If headers.
    """

    def __init__(
        self, store: Store, *, etag_of: EtagOf, timeouts: TimeoutPolicy | None = None, limits: Limits | None = None
    ) -> None:
        """Work on `store`; the defaults of TimeoutPolicy and Limits are the product's."""
        self._store = store
        self._etag_of = etag_of
        self._timeouts = timeouts or TimeoutPolicy()
        self._limits = limits or Limits()
        self._turns = Turns(self._limits.line)

    # -- acquire, refresh, release ------------------------------------------------------------------

    def acquire(
        self,
        request: AcquireRequest,
        *,
        is_mapped: Callable[[], bool],
        precondition: Callable[[], bool] | None = None,
        create: Callable[[], None] | None = None,
        stay: Stay | None = None,
        place_id: str | None = None,
    ) -> Lock | Refused | Queued:
        """Grant a new lock, or say what is in the way (RFC 4918 section 9.10).

        Where `is_mapped()` is false the URL becomes a member of its parent, so the parent's locks are
        asked too, and `create()` runs after the grant was decided; if it raises, nothing is granted.

        With a `stay`, a request that waiting may help takes a place in line, with PARKED it is answered Queued; at
        each further attempt everything is checked anew. `place_id` is the id of its place, which may have been lost
        since: then it gets another one, at the end. Without a `stay` it has none, and passes nobody all the same.
        """
        claim = request.claim
        if stay is None and claim.condition is None and precondition is None:
            refused = self._foresee_conflict(request)
            if refused is not None:
                return refused
        with self._store.write() as tx:
            place = None if place_id is None else self._turns.place(tx, place_id)
            refused = self._check_conditions(tx, claim, precondition)
            mapped = True
            if refused is not None:
                refused = _told(tx, refused, claim)
            else:
                mapped = is_mapped()
                refused = self._judge(tx, request, place, is_mapped=mapped)
            if refused is not None:
                return self._turns.settle(tx, request, refused, stay=stay, place=place)
            lock = self._mint(tx, request)
            if not mapped and create is not None:
                tx.ensure_room()
                # What a killed process may have left of an older resource of this name.
                tx.remove_properties(claim.resource)
                create()
            return self._keep(tx, lock, place)

    def refresh(self, claim: Claim, asked: timedelta | None) -> Lock | Refused:
        """Restart the timer of the one lock that the claim submits; its token stays (RFC 4918 section 9.10.2)."""
        with self._store.write() as tx:
            submitted = claim.submissions()
            lock = None
            if len({item.token for item in submitted}) == 1:
                held = unexpired(tx.locks_on(_lineages(item.resource for item in submitted)), tx.now)
                lock = next((lock for lock in held if any(item.unlocks(lock) for item in submitted)), None)
            refused = decide_holder(lock, claim.resource, claim.principal)
            if refused is not None or lock is None:
                return _told(tx, refused or Refused(Refusal.NOT_IN_SCOPE), claim)
            if claim.condition is not None and not self._holds(tx, claim.condition):
                return Refused(Refusal.CONDITION_FAILED)
            pending = tx.break_with_token(lock.token)
            # A lock without end keeps none where nothing is asked; one that is being broken ends when it would.
            expires_at = None if asked is None and lock.expires_at is None else tx.now + self._timeouts.grant(asked)
            if pending is not None and (expires_at is None or expires_at > pending.at):
                expires_at = pending.at
            renewed = msgspec.structs.replace(lock, refreshed_at=tx.now, expires_at=expires_at)
            tx.replace(renewed)
            return renewed

    def release(
        self, resource: ResourcePath, token: str, principal: str, *, condition: IfHeader | None = None
    ) -> Lock | Refused:
        """End the lock with this token by way of any resource in its scope (RFC 4918 section 9.11).

        An If header is not needed for it; where there is one it is a condition as everywhere.
        """
        with self._store.write() as tx:
            if condition is not None and not self._holds(tx, condition):
                return Refused(Refusal.CONDITION_FAILED)
            lock = next((lock for lock in tx.locks_on(resource.lineage) if lock.token == token), None)
            if lock is not None and lock.is_expired_at(tx.now):
                lock = None
            refused = decide_holder(lock, resource, principal)
            if refused is not None or lock is None:
                return _told(tx, refused or Refused(Refusal.NOT_IN_SCOPE), Claim(resource, principal, tokens=(token,)))
            tx.remove(lock)
            tx.append(Event.about(lock, EventKind.RELEASED, tx.now, actor=principal))
            return lock

    # -- discover -----------------------------------------------------------------------------------

    def discover(self, resource: ResourcePath) -> list[Lock]:
        """The unexpired locks that cover the resource, from the top down (lockdiscovery, RFC 4918 section 15.8)."""
        found = self._store.peek(resource.lineage)
        return covering_locks(unexpired(found, self._store.now()), resource) if found else found

    def discover_members(self, collection: ResourcePath) -> tuple[list[Lock], dict[str, list[Lock]]]:
        """What covers every member of a collection, and by member path what is locked directly; two look-ups."""
        with self._store.read() as tx:
            now = tx.now
            above = [lock for lock in unexpired(tx.locks_on(collection.lineage), now) if lock.depth is Depth.INFINITY]
            direct: dict[str, list[Lock]] = {}
            for lock in unexpired(tx.locks_on_members(collection), now):
                direct.setdefault(lock.root.text, []).append(lock)
            return above, direct

    def holds(self, condition: IfHeader) -> bool:
        """Whether an If header is true now; for methods that change nothing."""
        with self._store.read() as tx:
            return self._holds(tx, condition)

    # -- writes -------------------------------------------------------------------------------------

    def check_write(self, request: WriteRequest, precondition: Callable[[], bool] | None = None) -> Refused | None:
        """Whether the write would be permitted now; for refusing an upload before its body is read."""
        claim = request.claim
        effects = request.effects
        if claim.condition is None and precondition is None and len(effects) == 1 and effects[0].reach is Reach.CONTENT:
            # The commonest question by far, and one look-up answers it: no transaction is begun for that.
            found = self._store.peek(effects[0].resource.lineage)
            held = unexpired(found, self._store.now()) if found else found
            refused = decide_write(effects, held, claim.submissions(), claim.principal) if held else None
            if refused is None:
                return None
            if not claim.tokens:
                return self._counted(refused)
        with self._store.read() as tx:
            return self._check_write(tx, request, precondition)

    def write(
        self,
        plan: WriteRequest | Callable[[], WriteRequest],
        apply: Callable[[WriteTransaction], T],
        *,
        precondition: Callable[[], bool] | None = None,
    ) -> T | Refused:
        """Check, then change, in one transaction.

        `plan` is a function where the effects hang on what is there, which may change until the
        transaction begins. `precondition()` is False when another conditional header fails (412).
        `apply` makes the change; what it raises undoes the transaction and passes through.
        """
        with self._store.write() as tx:
            request = plan if isinstance(plan, WriteRequest) else plan()
            refused = self._check_write(tx, request, precondition)
            if refused is not None:
                return refused
            result = apply(tx)
            for resource in request.destroys:
                self._destroy(tx, resource, request.claim.principal)
            return result

    # -- places in line -----------------------------------------------------------------------------

    @property
    def place_kept(self) -> timedelta:
        """For how long the place of one who went away to come back is kept."""
        return self._limits.line.place_kept

    def leave(self, place_id: str, reason: str) -> None:
        """Give a place up; harmless when it is gone."""
        with self._store.write() as tx:
            waiter = tx.waiter_with_id(place_id)
            if waiter is not None:
                self._turns.leave(tx, waiter, reason)

    def keep_place(self, place_id: str) -> None:
        """Keep a place for one who went away and may come back; harmless when it is gone."""
        with self._store.write() as tx:
            tx.renew_waiters([place_id], tx.now + self._limits.line.place_kept)

    def renew(self, place_ids: Sequence[str]) -> None:
        """Those with these places are still waiting; harmless for places that are gone."""
        with self._store.write() as tx:
            tx.renew_waiters(place_ids, tx.now + PARKED_LEASE)

    def give_up_parked(self) -> int:
        """Give up the places of all who are parked; returns how many.

        For a start after which nobody else serves: their connections ended with the processes that died. Who may come
        back on another one keeps the place, as when a connection ends otherwise.
        """
        with self._store.write() as tx:
            return self._turns.remove_parked(tx)

    # -- upkeep -------------------------------------------------------------------------------------

    def sweep(self, limit: int = _MOST_EXPIRED) -> int:
        """Tidy away locks and places whose time ran out, with an event each; returns how many. Decides nothing."""
        with self._store.read() as peek:
            if not peek.expired_locks(1) and not (peek.count_waiters() and peek.lapsed_waiters(1)):
                return 0
        with self._store.write() as tx:
            expired = tx.expired_locks(limit)
            self._remove_expired(tx, expired)
            return len(expired) + self._turns.remove_lapsed(tx, limit)

    def trim(self, keep: timedelta) -> int:
        """Drop feed rows older than `keep`; returns how many."""
        with self._store.write() as tx:
            return tx.trim_events(tx.now - keep)

    # -- inside a transaction -----------------------------------------------------------------------

    def _check_write(
        self, tx: ReadTransaction, request: WriteRequest, precondition: Callable[[], bool] | None
    ) -> Refused | None:
        failed = self._check_conditions(tx, request.claim, precondition)
        if failed is not None:
            return _told(tx, failed, request.claim)
        below = any(effect.reach is Reach.TREE for effect in request.effects)
        if below:
            trees = [effect.resource for effect in request.effects if effect.reach is Reach.TREE]
            held = self._held_under(tx, request.effects, trees)
        else:
            held = unexpired(tx.locks_on(_lineages(effect.resource for effect in request.effects)), tx.now)
        if not held:
            return None
        claim = request.claim
        refused = decide_write(request.effects, held, claim.submissions(), claim.principal)
        return None if refused is None else counted(tx, _told(tx, refused, claim))

    def _check_conditions(
        self, tx: ReadTransaction, claim: Claim, precondition: Callable[[], bool] | None
    ) -> Refused | None:
        condition = claim.condition
        if condition is not None and not self._holds(tx, condition, reaches_down=claim.reaches_down):
            return Refused(Refusal.CONDITION_FAILED)
        if precondition is not None and not precondition():
            return Refused(Refusal.CONDITION_FAILED)
        return None

    def _foresee_conflict(self, request: AcquireRequest) -> Refused | None:
        """The refusal that the transaction would come to, where one look-up tells it: no writer's turn is taken for that.

        Not asked while this thread holds changes for a shared commit: then its turn is taken already.
        """
        if self._store.has_held:
            return None
        root = request.claim.resource
        found = self._store.peek(root.lineage)
        held = unexpired(found, self._store.now()) if found else found
        if request.depth is Depth.INFINITY and not any(closes_tree(lock) for lock in held):
            return None  # locks below the root may be in the way too, and the answer names them
        refused = decide_acquire(root, request.scope, request.depth, held) if held else None
        if refused is None:
            return None
        with self._store.read() as tx:
            return self._turns.told(tx, request, refused, None)

    def _counted(self, refused: Refused) -> Refused:
        """`counted` in a transaction of its own."""
        with self._store.read() as tx:
            return counted(tx, refused)

    def _judge(
        self, tx: WriteTransaction, request: AcquireRequest, place: Waiter | None, *, is_mapped: bool
    ) -> Refused | None:
        """What is against a new lock: locks held, or the line, or their number."""
        claim = request.claim
        held, refused = self._weigh(tx, request)
        if refused is None and not is_mapped:
            # Locks that cover the new URL itself were weighed above, by the table of 9.10.5; what is
            # left is the parent's protection of its membership (section 7.4).
            parents = [Effect(claim.resource.parent, Reach.CONTENT)]
            refused = decide_write(parents, held, claim.submissions(), claim.principal)
        if refused is None:
            refused = self._turns.blocked(tx, request, place)
        return refused or self._check_caps(tx, claim.principal)

    def _keep(self, tx: WriteTransaction, lock: Lock, place: Waiter | None) -> Lock:
        """Grant `lock`, whose id is that of its place in line where it had one."""
        if place is not None:
            tx.dequeue(place)
            lock = msgspec.structs.replace(lock, id=place.id)
        tx.insert(lock)
        tx.append(Event.about(lock, EventKind.GRANTED, tx.now, actor=lock.principal))
        return lock

    def _holds(self, tx: ReadTransaction, condition: IfHeader, *, reaches_down: bool = False) -> bool:
        state = _State(tx, self._etag_of, condition, reaches_down=reaches_down)
        return condition.holds(state, reaches_down=reaches_down)

    def _weigh(self, tx: WriteTransaction, request: AcquireRequest) -> tuple[list[Lock], Refused | None]:
        """The unexpired locks that a new one would meet, and what they have against it."""
        root = request.claim.resource
        above = self._without_expired(tx, tx.locks_on(root.lineage))
        if request.depth is not Depth.INFINITY:
            return above, decide_acquire(root, request.scope, request.depth, above)
        limit = _MOST_BELOW
        while True:
            below = tx.locks_below(root, limit)
            held = above + self._without_expired(tx, below)
            refused = decide_acquire(root, request.scope, request.depth, held)
            if refused is not None or limit < 0 or len(below) < limit:
                return held, refused
            limit = -1  # expired and compatible locks filled the window; one in the way may lie behind it

    def _without_expired(self, tx: WriteTransaction, found: list[Lock]) -> list[Lock]:
        live = unexpired(found, tx.now)
        if len(live) != len(found):
            self._remove_expired(tx, [lock for lock in found if lock.is_expired_at(tx.now)])
        return live

    def _held_under(self, tx: ReadTransaction, effects: Sequence[Effect], trees: Sequence[ResourcePath]) -> list[Lock]:
        found = tx.locks_on(_lineages(protected_resources(effects)))
        for tree in trees:
            found.extend(tx.locks_below(tree, -1))
        return unexpired({lock.id: lock for lock in found}.values(), tx.now)

    def _check_caps(self, tx: WriteTransaction, principal: str) -> Refused | None:
        limits = self._limits
        while tx.count_locks(principal) >= limits.locks_per_principal or tx.count_locks() >= limits.locks_in_all:
            # Only locks that still hold count, whether or not the sweeper has been by.
            expired = tx.expired_locks(_MOST_EXPIRED)
            if not expired:
                return Refused(Refusal.TOO_MANY_LOCKS)
            self._remove_expired(tx, expired)
        return None

    def _mint(self, tx: WriteTransaction, request: AcquireRequest) -> Lock:
        now = tx.now
        fencing_token = tx.mint_fencing_token()
        lock_id, token = _new_names(fencing_token)
        return Lock(
            id=lock_id,
            token=token,
            root=request.claim.resource,
            scope=request.scope,
            depth=request.depth,
            principal=request.claim.principal,
            owner=request.owner,
            owner_xml=request.owner_xml,
            reason=request.reason,
            client=request.client,
            face=request.face,
            fencing_token=fencing_token,
            created_at=now,
            refreshed_at=now,
            expires_at=now + self._timeouts.grant(request.asked),
        )

    def _destroy(self, tx: WriteTransaction, resource: ResourcePath, actor: str) -> None:
        for lock in self._without_expired(tx, [*tx.locks_on([resource.text]), *tx.locks_below(resource)]):
            tx.remove(lock)
            tx.append(Event.about(lock, EventKind.DESTROYED, tx.now, actor=actor))

    def _remove_expired(self, tx: WriteTransaction, locks: Iterable[Lock]) -> None:
        for lock in locks:
            tx.remove(lock)
            tx.append(Event.about_expiry(lock, tx.now, tx.break_with_token(lock.token)))


def _new_names(fencing_token: int) -> tuple[str, str]:
    """A new public id and a new lock token, a version 4 UUID (RFC 9562 section 5.4).

    Ids begin with the rising number, so that those of new locks lie side by side in a store's index, and end in
    40 random bits, so that a client that chooses an id cannot hit one that is yet to come.
    """
    drawn = os.urandom(21).hex()
    token = f"urn:uuid:{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{_VARIANTS[drawn[16]]}{drawn[17:20]}-{drawn[20:32]}"
    return f"{fencing_token:010x}{drawn[32:]}", token


def _lineages(resources: Iterable[ResourcePath]) -> list[str]:
    roots: dict[str, None] = {}
    for resource in resources:
        roots.update(dict.fromkeys(resource.lineage))
    return list(roots)


def _told(tx: ReadTransaction, refused: Refused, claim: Claim) -> Refused:
    """The refusal, with how the lock was broken whose token the claim still submits."""
    for token in dict.fromkeys(item.token for item in claim.submissions()):
        broken = tx.break_with_token(token)
        if broken is not None and broken.at <= tx.now:
            return msgspec.structs.replace(refused, broken=broken)
    return refused
