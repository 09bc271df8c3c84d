"""Rows to values and back: the one place that knows the order of the columns.

Owns: the conversion, which is on the hot path of every request, so it is lean. Must not know: SQL, connections.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from holdfast.core.model import Break, DeadProperty, Depth, Event, EventKind, Face, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath

__all__ = [
    "Row",
    "break_from",
    "changed_row",
    "end_of_range",
    "event_from",
    "event_row",
    "first_below",
    "instant_from",
    "lock_from",
    "lock_row",
    "microseconds",
    "property_from",
    "property_key",
    "waiter_from",
    "waiter_row",
]

Row = tuple[Any, ...]
"""What SQLite gives; STRICT tables vouch for the types."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SCOPES: Final = {scope.value: scope for scope in LockScope}
_DEPTHS: Final = {depth.value: depth for depth in Depth}
_FACES: Final = {face.value: face for face in Face}
_KINDS: Final = {kind.value: kind for kind in EventKind}


def instant_from(microseconds_since_epoch: int) -> datetime:
    """An aware UTC instant, exact (a float of seconds would not be, for far ones)."""
    return _EPOCH + timedelta(0, 0, microseconds_since_epoch)


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def lock_from(row: Row) -> Lock:
    """A lock from its columns, in the order of the fields."""
    (
        lock_id,
        token,
        root,
        scope,
        depth,
        principal,
        owner,
        owner_xml,
        reason,
        client,
        face,
        fencing_token,
        created_at,
        refreshed_at,
        expires_at,
    ) = row
    created = instant_from(created_at)
    return Lock(
        lock_id,
        token,
        ResourcePath(root),
        _SCOPES[scope],
        _DEPTHS[depth],
        principal,
        owner,
        owner_xml,
        reason,
        client,
        _FACES[face],
        fencing_token,
        created,
        created if refreshed_at == created_at else instant_from(refreshed_at),
        None if expires_at is None else instant_from(expires_at),
    )


def lock_row(lock: Lock) -> Row:
    """The columns of a lock, in the order of its fields. Enum members are str, which SQLite takes as they are."""
    expires_at = lock.expires_at
    return (
        lock.id,
        lock.token,
        lock.root.text,
        lock.scope._value_,
        lock.depth._value_,
        lock.principal,
        lock.owner,
        lock.owner_xml,
        lock.reason,
        lock.client,
        lock.face._value_,
        lock.fencing_token,
        microseconds(lock.created_at),
        microseconds(lock.refreshed_at),
        None if expires_at is None else microseconds(expires_at),
    )


def changed_row(lock: Lock) -> Row:
    """The columns of a lock that may change, in the order of its fields, then its root and id."""
    row = lock_row(lock)
    return row[1], *row[3:5], *row[6:], row[2], row[0]


def waiter_from(row: Row) -> Waiter:
    """A waiter from its columns."""
    (
        seq,
        lock_id,
        root,
        scope,
        depth,
        principal,
        owner,
        owner_xml,
        reason,
        client,
        face,
        asked_s,
        endless,
        enqueued_at,
        lease_until,
        comes_back,
    ) = row
    return Waiter(
        lock_id,
        seq,
        ResourcePath(root),
        _SCOPES[scope],
        _DEPTHS[depth],
        principal,
        owner,
        owner_xml,
        reason,
        client,
        _FACES[face],
        asked_s,
        bool(endless),
        instant_from(enqueued_at),
        instant_from(lease_until),
        bool(comes_back),
    )


def waiter_row(waiter: Waiter) -> Row:
    """The columns of a waiter."""
    return (
        waiter.seq,
        waiter.id,
        waiter.root.text,
        waiter.scope._value_,
        waiter.depth._value_,
        waiter.principal,
        waiter.owner,
        waiter.owner_xml,
        waiter.reason,
        waiter.client,
        waiter.face._value_,
        waiter.asked_s,
        waiter.endless,
        microseconds(waiter.enqueued_at),
        microseconds(waiter.lease_until),
        waiter.comes_back,
    )


def event_from(row: Row) -> Event:
    """An event from its columns."""
    seq, at, kind, lock_id, root, scope, depth, holder, actor, reason, fencing_token, ends_at, owner = row
    return Event(
        seq,
        instant_from(at),
        _KINDS[kind],
        lock_id,
        ResourcePath(root),
        _SCOPES[scope],
        _DEPTHS[depth],
        holder,
        actor,
        reason,
        fencing_token,
        None if ends_at is None else instant_from(ends_at),
        owner,
    )


def break_from(row: Row) -> Break:
    """A break from its columns after the token."""
    lock_id, at, actor, reason = row
    return Break(lock_id, instant_from(at), actor, reason)


def event_row(event: Event) -> Row:
    """The columns of an event after its seq, which it has yet to get."""
    ends_at = event.ends_at
    return (
        microseconds(event.at),
        event.kind._value_,
        event.lock_id,
        event.root.text,
        event.scope._value_,
        event.depth._value_,
        event.holder,
        event.actor,
        event.reason,
        event.fencing_token,
        None if ends_at is None else microseconds(ends_at),
        event.owner,
    )


def property_from(row: Row) -> DeadProperty:
    """A dead property from its whole path and its other columns."""
    path, namespace, name, xml = row
    return DeadProperty(ResourcePath(path), namespace, name, xml)


def property_key(path: ResourcePath) -> tuple[str, str]:
    """The two columns of a path: what its collection's members start with, and the rest."""
    text = path.text
    if text == "/":
        return "", "/"
    cut = text.rindex("/") + 1
    return text[:cut], text[cut:]


def first_below(prefix: str) -> str:
    """No greater than any path below `prefix`, but greater than `/`, which starts with its own prefix."""
    return prefix + "\x01"


def end_of_range(prefix: str) -> str:
    """The least text that is greater than everything that starts with `prefix`, which ends in a slash ('0' follows '/')."""
    return prefix[:-1] + "0"
