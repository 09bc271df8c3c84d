"""Locks and events as the API shows them, and who may see which.

Owns: the rule of visibility, and the way from values to bodies. A token gets into one body only, its
creator's. Instants are shown on the wall clock, to the second; an end is rounded up, so that nobody comes too early.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import UNSET

from holdfast.core.access import Principal, Role
from holdfast.core.model import Depth, Event, EventKind, Lock
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import EndedLock, EventBody, GrantedLock, LockDepth, PendingBreak, ShownLock
from holdfast.registry import Found
from holdfast.wire.locked import Holder
from holdfast.wire.sentences import clean, clock_text, holder_text

__all__ = [
    "ended_lock",
    "ended_sentence",
    "ended_text",
    "event_body",
    "granted_lock",
    "may_see",
    "may_see_event",
    "shown_lock",
]

_SECOND = timedelta(seconds=1)

_HOW = {
    EventKind.RELEASED: "was released by {by}",
    EventKind.EXPIRED: "expired",
    EventKind.DESTROYED: "ended when {by} removed its resource",
    EventKind.BROKEN: "was broken by {by}",
}


def may_see(principal: Principal, lock: Lock) -> bool:
    """A principal sees its own locks, and those that protect something that it may read."""
    return lock.principal == principal.name or _reads(principal, lock.root, lock.depth)


def may_see_event(principal: Principal, event: Event) -> bool:
    """The same of what happened to a lock."""
    return principal.name in {event.holder, event.actor} or _reads(principal, event.root, event.depth)


def _reads(principal: Principal, root: ResourcePath, depth: Depth) -> bool:
    if principal.role_at(root) >= Role.READER:
        return True
    return depth is Depth.INFINITY and any(
        grant.role >= Role.READER and grant.path.is_below(root) for grant in principal.grants
    )


def shown_lock(found: Found, now: datetime, offset: timedelta) -> ShownLock:
    """A lock without its token; `now` is on the store's clock, and `offset` leads from there to the wall clock."""
    lock, pending = found.lock, found.breaking
    return ShownLock(
        id=lock.id,
        root=lock.root.href(),
        scope=lock.scope,
        depth=lock.depth,
        holder=Holder(lock.principal, lock.owner, lock.client),
        reason=lock.reason,
        since=_down(lock.created_at + offset),
        expires_at=None if lock.expires_at is None else _up(lock.expires_at + offset),
        expires_in=lock.seconds_left(now),
        queue_length=found.queue_length,
        url=f"/api/locks/{lock.id}",
        face=lock.face,
        refreshed_at=_down(lock.refreshed_at + offset),
        breaking=None
        if pending is None
        else PendingBreak(at=_up(pending.at + offset), by=pending.actor, reason=pending.reason),
    )


def granted_lock(found: Found, offset: timedelta) -> GrantedLock:
    """A lock with its token, for its creator alone."""
    lock = found.lock
    shown = shown_lock(found, lock.refreshed_at, offset)
    return GrantedLock(
        id=shown.id,
        root=shown.root,
        scope=shown.scope,
        depth=shown.depth,
        holder=shown.holder,
        reason=shown.reason,
        since=shown.since,
        expires_at=shown.expires_at,
        expires_in=shown.expires_in,
        url=shown.url,
        face=shown.face,
        refreshed_at=shown.refreshed_at,
        breaking=shown.breaking,
        token=lock.token,
        fencing_token=lock.fencing_token,
        ttl=None if lock.expires_at is None else (lock.expires_at - lock.refreshed_at).total_seconds(),
    )


def ended_lock(event: Event, offset: timedelta) -> EndedLock:
    """How a lock ended."""
    return EndedLock(
        lock_id=event.lock_id,
        root=event.root.href(),
        scope=event.scope,
        depth=_depth(event.depth),
        holder=event.holder,
        owner=event.owner,
        how=event.kind,
        at=_down(event.at + offset),
        by=event.actor,
        reason=event.reason if event.kind is EventKind.BROKEN else "",
    )


def ended_sentence(event: Event, now: datetime, offset: timedelta) -> str:
    """The same for a person."""
    return ended_text(ended_lock(event, offset), now + offset)


def ended_text(ended: EndedLock, today: datetime) -> str:
    """The same of a lock as a program sees it; the instants are on the wall clock."""
    how = _HOW[ended.how].format(by=clean(ended.by) or "somebody")
    holder = holder_text(ended.holder, ended.owner, begins=False)
    reason = f"; reason: {clean(ended.reason)}" if ended.reason else ""
    root = ResourcePath.from_target(ended.root).text
    return f"The lock on {root} that {holder} held {how} at {clock_text(ended.at, today)}{reason}."


def event_body(event: Event, offset: timedelta) -> EventBody:
    """An entry of the record."""
    return EventBody(
        seq=event.seq,
        at=event.at + offset,
        kind=event.kind,
        lock_id=event.lock_id,
        root=event.root.href(),
        scope=event.scope,
        depth=_depth(event.depth),
        holder=event.holder,
        owner=event.owner,
        actor=event.actor,
        reason=event.reason,
        fencing_token=event.fencing_token,
        ends_at=UNSET if event.ends_at is None else event.ends_at + offset,
    )


def _depth(depth: Depth) -> LockDepth:
    return "infinity" if depth is Depth.INFINITY else "0"


def _down(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def _up(instant: datetime) -> datetime:
    return instant + timedelta(microseconds=1_000_000 - instant.microsecond) if instant.microsecond else instant
