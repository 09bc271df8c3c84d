"""Decisions: the rules of locking, as pure functions from what is held and what is asked to an answer.

Owns: who may acquire, refresh, release and write (RFC 4918 sections 6, 7, 9.10, 9.11). Must not know:
stores, HTTP, the clock. `service.LockService` calls these inside the store's transaction and applies
the answer, so that nothing can change between the check and the act.

All locks given to these functions are unexpired. A refusal is a value, not an exception.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from holdfast.core.conditions import Submission
from holdfast.core.conflicts import conflicting_locks
from holdfast.core.model import Break, Depth, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath

__all__ = [
    "MAX_CONTENTIONS",
    "Contention",
    "Effect",
    "Reach",
    "Refusal",
    "Refused",
    "Standing",
    "decide_acquire",
    "decide_holder",
    "decide_write",
    "protected_resources",
]


MAX_CONTENTIONS: Final = 1000
"""Most contentions that one refusal names; an answer must stay small beside any number of locks."""


class Reach(enum.Enum):
    """How far a change goes from the resource that it names (RFC 4918 section 7.4)."""

    CONTENT = "content"
    """The body or the properties of the resource itself: PUT onto it, PROPPATCH."""
    MEMBERSHIP = "membership"
    """CONTENT, and the resource appears in its parent collection: PUT, MKCOL, COPY, LOCK of an unmapped URL."""
    TREE = "tree"
    """MEMBERSHIP, and everything below goes with it: DELETE, MOVE, and what a COPY or MOVE overwrites."""


class Effect(msgspec.Struct, frozen=True):
    """What a request would do to one resource."""

    resource: ResourcePath
    reach: Reach


class Refusal(enum.Enum):
    """Why not. The WebDAV status that each becomes stands beside it."""

    CONDITION_FAILED = "condition-failed"
    """412: the If header, or another precondition, is false (RFC 4918 section 10.4.3)."""
    LOCKED = "locked"
    """423 `lock-token-submitted`: a lock stands and its token was not submitted by its creator (section 16)."""
    CONFLICT = "conflict"
    """423 `no-conflicting-lock`: a lock that cannot stand beside the one asked for (section 9.10.6), or one in line for that."""
    NOT_IN_SCOPE = "not-in-scope"
    """`lock-token-matches-request-uri`: 409 on UNLOCK, 412 on a refresh (sections 9.10.6, 9.11.1)."""
    NOT_HOLDER = "not-holder"
    """403: the token is right and the principal is not its creator (section 6.4)."""
    TOO_MANY_LOCKS = "too-many-locks"
    """507: this principal, or the server, holds as many locks as the settings allow."""


class Contention(msgspec.Struct, frozen=True):
    """`lock` stands in the way of changing `resource`."""

    resource: ResourcePath
    lock: Lock


class Standing(msgspec.Struct, frozen=True):
    """How the waiting line stands for a request that was refused.

    `first` is who is next, of those whom the request must not pass. `length` counts all in line with whom it conflicts,
    itself included; `position` is its own place among them, 1 for the next, None where it has none. `lengths` counts, by
    lock id, who waits for that lock to end. `is_full` tells that no place could be had.
    """

    first: Waiter | None = None
    length: int = 0
    position: int | None = None
    lengths: dict[str, int] = {}
    is_full: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The answer no, with the locks in the way, up to MAX_CONTENTIONS; without any where others are next in line.

    `broken` tells a former holder, who submitted the token of a lock that was broken, who did it, when and why.
    `line` is None while nobody waits.
    """

    refusal: Refusal
    contentions: tuple[Contention, ...] = ()
    broken: Break | None = None
    line: Standing | None = None

    @property
    def is_locked(self) -> bool:
        """True for a 423, which waiting may help; False for what it cannot."""
        return self.refusal in {Refusal.LOCKED, Refusal.CONFLICT}


def protected_resources(effects: Iterable[Effect]) -> list[ResourcePath]:
    """The resources that an effect changes directly: each itself, and its parent where membership changes."""
    found: dict[str, ResourcePath] = {}
    for effect in effects:
        found[effect.resource.text] = effect.resource
        if effect.reach is not Reach.CONTENT and not effect.resource.is_root:
            parent = effect.resource.parent
            found[parent.text] = parent
    return list(found.values())


def decide_write(
    effects: Sequence[Effect], held: Sequence[Lock], submitted: Sequence[Submission], principal: str
) -> Refused | None:
    """None when `principal` may make the change, else LOCKED with each lock in the way.

    `held`: the locks that cover any protected resource, and for TREE effects those below. For every
    changed resource that is locked, one covering lock's token must be submitted by that lock's creator;
    any one of several shared locks suffices for its holder (RFC 4918 sections 6.2, 7, 7.5).
    """
    if not held:
        return None
    if not submitted and len(effects) == 1 and effects[0].reach is Reach.CONTENT:
        # The commonest refusal: no token at all, one document. Whatever covers it is in the way.
        resource = effects[0].resource
        covering = [Contention(resource, lock) for lock in held if lock.covers(resource)]
        return Refused(Refusal.LOCKED, tuple(covering[:MAX_CONTENTIONS])) if covering else None
    cover = _Cover(held, submitted, principal)
    contentions: list[Contention] = []
    for resource, with_members in _changed_resources(effects, held):
        if not cover.permits(resource, with_members=with_members):
            contentions.extend(Contention(resource, lock) for lock in cover.contending(resource))
            if len(contentions) >= MAX_CONTENTIONS:
                break
    if not contentions:
        return None
    return Refused(Refusal.LOCKED, tuple(contentions[:MAX_CONTENTIONS]))


def _changed_resources(effects: Sequence[Effect], held: Sequence[Lock]) -> list[tuple[ResourcePath, bool]]:
    """What changes, and whether all its members do with it."""
    changed = {resource.text: (resource, False) for resource in protected_resources(effects)}
    for effect in effects:
        if effect.reach is Reach.TREE:
            changed[effect.resource.text] = (effect.resource, True)
            for lock in held:
                if lock.root.is_below(effect.resource):
                    changed[lock.root.text] = (lock.root, True)
    return list(changed.values())


class _Cover:
    """The held locks by root, so that a tree with many locks costs their number times its depth, not their square."""

    __slots__ = ("_by_root", "_permitted", "_reaching_down")

    def __init__(self, held: Sequence[Lock], submitted: Sequence[Submission], principal: str) -> None:
        self._by_root: dict[str, list[Lock]] = {}
        self._reaching_down = {lock.root.text for lock in held if lock.depth is Depth.INFINITY}
        # What the requester may write to by its tokens: (lock root, depth) of each lock that one of them unlocks.
        self._permitted: set[tuple[str, Depth]] = set()
        by_token: dict[str, list[Submission]] = {}
        for item in submitted:
            by_token.setdefault(item.token, []).append(item)
        for lock in held:
            self._by_root.setdefault(lock.root.text, []).append(lock)
            if lock.principal == principal and any(item.unlocks(lock) for item in by_token.get(lock.token, ())):
                self._permitted.add((lock.root.text, lock.depth))

    def contending(self, resource: ResourcePath) -> list[Lock]:
        """Those that cover the resource and are not written past, from the top down."""
        return [
            lock
            for root in resource.lineage
            for lock in self._by_root.get(root, ())
            if lock.covers(resource) and (root, lock.depth) not in self._permitted
        ]

    def permits(self, resource: ResourcePath, *, with_members: bool) -> bool:
        """True where no lock covers the resource, or one does whose token its creator submitted.

        `with_members`: the same for every member, known or not: where a lock of depth infinity stands
        that the requester has no part in, a shared lock of depth 0 beside it permits the collection alone.
        """
        lineage = resource.lineage
        if any((root, Depth.INFINITY) in self._permitted for root in lineage):
            return True
        is_reached = not self._reaching_down.isdisjoint(lineage)
        if is_reached and with_members:
            return False
        if resource.text in self._by_root:
            return (resource.text, Depth.ZERO) in self._permitted
        return not is_reached


def decide_acquire(root: ResourcePath, scope: LockScope, depth: Depth, held: Sequence[Lock]) -> Refused | None:
    """None when a new lock can be granted beside `held` (RFC 4918 section 9.10.5), else CONFLICT."""
    conflicting = conflicting_locks(held, root, scope, depth)
    if not conflicting:
        return None
    return Refused(
        Refusal.CONFLICT,
        tuple(
            Contention(lock.root if lock.root.is_below(root) else root, lock) for lock in conflicting[:MAX_CONTENTIONS]
        ),
    )


def decide_holder(lock: Lock | None, resource: ResourcePath, principal: str) -> Refused | None:
    """None when `principal` may refresh or release `lock` by way of `resource`.

    Refused NOT_IN_SCOPE when there is no such lock or it does not cover the resource, NOT_HOLDER when
    another principal created it (RFC 4918 sections 6.4, 9.10.2, 9.11).
    """
    if lock is None or not lock.covers(resource):
        return Refused(Refusal.NOT_IN_SCOPE)
    if lock.principal != principal:
        return Refused(Refusal.NOT_HOLDER, (Contention(resource, lock),))
    return None
