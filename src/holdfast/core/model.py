"""The values every floor speaks of: locks, events, dead properties.

Owns: their fields and the questions that a value answers about itself. Must not know: how they are
kept, sent or shown. Instants are aware UTC datetimes and end in `_at`; the word list is in
CONTRIBUTING.md.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final

import msgspec

from holdfast.core.paths import ResourcePath

__all__ = [
    "LOCK_ENDS",
    "Break",
    "DeadProperty",
    "Depth",
    "Event",
    "EventKind",
    "Face",
    "Lock",
    "LockScope",
    "Waiter",
]


class LockScope(enum.StrEnum):
    """Exclusive or shared (RFC 4918 section 6.2)."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Depth(enum.StrEnum):
    """The Depth header's values (RFC 4918 section 10.2); a lock has ZERO or INFINITY."""

    ZERO = "0"
    ONE = "1"
    INFINITY = "infinity"


class Face(enum.StrEnum):
    """The way in by which a lock came."""

    WEBDAV = "webdav"
    API = "api"
    COMMAND = "command"
    """`holdfast lock`, on the machine that keeps the state: maintenance."""


class Lock(msgspec.Struct, frozen=True):
    """One granted lock (RFC 4918 section 6).

    `token` is a secret: never in a log, an error, or an answer to another principal.
    `owner` is the client's own text and `owner_xml` its re-serialised DAV:owner element; both are
    informational and never compared. `expires_at` is None only for an administrator's lock without end.
    """

    id: str
    token: str
    root: ResourcePath
    scope: LockScope
    depth: Depth
    principal: str
    owner: str
    owner_xml: str | None
    reason: str
    client: str
    face: Face
    fencing_token: int
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime | None

    def is_expired_at(self, now: datetime) -> bool:
        """True once its time has run out; decided when read, never by a sweeper."""
        return self.expires_at is not None and self.expires_at <= now

    def covers(self, path: ResourcePath) -> bool:
        """True where the lock protects `path`: directly, or indirectly by depth infinity (RFC 4918 6.1)."""
        if self.root.text == path.text:
            return True
        return self.depth is Depth.INFINITY and path.text.startswith(self.root.prefix)

    def seconds_left(self, now: datetime) -> int | None:
        """Whole seconds until it expires, at least 0, rounded up; None without end."""
        if self.expires_at is None:
            return None
        return max(0, -int(-(self.expires_at - now).total_seconds() // 1))


class Waiter(msgspec.Struct, frozen=True):
    """One request that stands in line for a lock. `id` is the id that the lock will have.

    `seq` is its place, given by the store: a lower one is earlier; 0 before that. `asked_s` is the ttl asked for in
    seconds, None for the default; `endless` one for a lock without end. A waiter lives until `lease_until`, and
    whoever waits renews that; one that has lapsed is passed over and loses its place. One that `comes_back` may do
    so on another connection; all others end with theirs.
    """

    id: str
    seq: int
    root: ResourcePath
    scope: LockScope
    depth: Depth
    principal: str
    owner: str
    owner_xml: str | None
    reason: str
    client: str
    face: Face
    asked_s: float | None
    endless: bool
    enqueued_at: datetime
    lease_until: datetime
    comes_back: bool = False

    def has_lapsed_at(self, now: datetime) -> bool:
        """True once its lease has run out; decided when read, as with locks."""
        return self.lease_until <= now


class EventKind(enum.StrEnum):
    """What happened to a lock, or to a request that waits for one; each is one row of the feed."""

    GRANTED = "granted"
    RELEASED = "released"
    EXPIRED = "expired"
    DESTROYED = "destroyed"
    """Its root was deleted or moved away by a permitted request (RFC 4918 sections 9.6, 9.9)."""
    BREAKING = "breaking"
    """A break was set for a later instant, the event's `ends_at`: the lock is still held, but ends by then."""
    BROKEN = "broken"
    QUEUED = "queued"
    """A request took its place in the line; the event's `lock_id` is the id that the lock will have."""
    LEFT = "left"
    """A request left the line without a lock; the event's reason says why."""


LOCK_ENDS: Final = frozenset({EventKind.RELEASED, EventKind.EXPIRED, EventKind.DESTROYED, EventKind.BROKEN})
"""The kinds of event after which a lock is held no more."""


class Event(msgspec.Struct, frozen=True):
    """One row of the change feed. `seq` is given by the store, strictly rising, never reused; 0 before that.

    `ends_at` is the instant by which a lock ends that is BREAKING; None with every other kind. `owner` is what the holder
    said of itself, which is all there is on a server without users; empty in what was recorded before that was kept.
    """

    seq: int
    at: datetime
    kind: EventKind
    lock_id: str
    root: ResourcePath
    scope: LockScope
    depth: Depth
    holder: str
    actor: str
    reason: str
    fencing_token: int
    ends_at: datetime | None = None
    owner: str = ""

    @classmethod
    def about(cls, lock: Lock, kind: EventKind, at: datetime, *, actor: str, reason: str | None = None) -> Event:
        """What is to be appended when something happens to `lock`; `reason` is the lock's own where none is given."""
        return cls(
            seq=0,
            at=at,
            kind=kind,
            lock_id=lock.id,
            root=lock.root,
            scope=lock.scope,
            depth=lock.depth,
            holder=lock.principal,
            actor=actor,
            reason=lock.reason if reason is None else reason,
            fencing_token=lock.fencing_token,
            owner=lock.owner,
        )

    @classmethod
    def about_waiter(cls, waiter: Waiter, kind: EventKind, at: datetime, *, reason: str) -> Event:
        """The same for a request in line: it has no fencing token yet, so 0 stands there."""
        return cls(
            seq=0,
            at=at,
            kind=kind,
            lock_id=waiter.id,
            root=waiter.root,
            scope=waiter.scope,
            depth=waiter.depth,
            holder=waiter.principal,
            actor=waiter.principal,
            reason=reason,
            fencing_token=0,
            owner=waiter.owner,
        )

    @classmethod
    def about_break(cls, lock: Lock, at: datetime, pending: Break) -> Event:
        """The same for a lock that `pending` is to end later."""
        event = cls.about(lock, EventKind.BREAKING, at, actor=pending.actor, reason=pending.reason)
        return msgspec.structs.replace(event, ends_at=pending.at)

    @classmethod
    def about_expiry(cls, lock: Lock, at: datetime, pending: Break | None) -> Event:
        """The same for a lock whose time is up: it was broken where a break had set its end, else it expired."""
        if pending is None or lock.expires_at is None or pending.at > lock.expires_at:
            return cls.about(lock, EventKind.EXPIRED, at, actor="")
        return cls.about(lock, EventKind.BROKEN, at, actor=pending.actor, reason=pending.reason)


class Break(msgspec.Struct, frozen=True):
    """A lock's end by force: `actor` ended it at this instant, or has set it to end then, because of `reason`."""

    lock_id: str
    at: datetime
    actor: str
    reason: str


class DeadProperty(msgspec.Struct, frozen=True):
    """A property that the server keeps for its clients without a meaning of its own (RFC 4918 section 4).

    `xml` is the whole property element, re-serialised, with every namespace it needs declared on it.
    """

    path: ResourcePath
    namespace: str
    name: str
    xml: str
