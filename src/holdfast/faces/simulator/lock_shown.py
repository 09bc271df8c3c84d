"""A simulated lock as it is shown to whoever manages it: held, with who waits for it; or how it ended.

Owns: those bodies, and the sentence about an end. Must not know: requests, or what may be done to a lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.core.model import Event, EventKind, Waiter
from holdfast.faces.simulator.answer import Moment
from holdfast.faces.simulator.face import LOCKS, MOUNT
from holdfast.registry import Found
from holdfast.wire.sentences import clean, clock_text

__all__ = ["Shown", "ended_sentence", "show"]

_MOST_WAITERS: Final = 20

_HOW: Final = {
    EventKind.RELEASED: "was released by {by}",
    EventKind.EXPIRED: "expired",
    EventKind.DESTROYED: "ended with its resource, by {by}",
    EventKind.BROKEN: "was broken by {by}",
}


class _Ended(msgspec.Struct, frozen=True):
    """How a lock ended, as it is shown."""

    how: EventKind
    at: datetime
    by: str
    reason: str


class _Waiting(msgspec.Struct, frozen=True):
    """One who waits for its end."""

    name: str
    since: datetime


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How a lock stands, as it is shown. `url` is its address among these, `lock` among all locks."""

    key: str
    state: Literal["held", "ended"]
    holder: str
    reason: str
    expires_in: int | UnsetType | None = UNSET
    expires_at: datetime | UnsetType = UNSET
    since: datetime | UnsetType = UNSET
    waiting: list[_Waiting] | UnsetType = UNSET
    ended: _Ended | UnsetType = UNSET
    resource: str
    url: str
    lock: str
    simulate: str


def show(key: str, found: Found | Event, waiters: Sequence[Waiter], moment: Moment) -> Shown:
    """How the lock `key` stands, and who waits for its end."""
    offset = moment.wall_offset
    is_event = isinstance(found, Event)
    about = found if is_event else found.lock
    shown = Shown(
        key=key,
        state="ended" if is_event else "held",
        holder=found.holder if is_event else found.lock.principal,
        reason="" if is_event else found.lock.reason,
        resource=about.root.href(),
        url=f"{LOCKS}/{key}",
        lock=f"/api/locks/{found.lock_id if is_event else found.lock.id}",
        simulate=f"{MOUNT}/423?lock={key}",
    )
    if is_event:
        reason = found.reason if found.kind is EventKind.BROKEN else ""
        ended = _Ended(found.kind, _down(found.at + offset), found.actor, reason)
        return msgspec.structs.replace(shown, ended=ended)
    lock = found.lock
    return msgspec.structs.replace(
        shown,
        since=_down(lock.created_at + offset),
        expires_in=lock.seconds_left(moment.now),
        expires_at=UNSET if lock.expires_at is None else _up(lock.expires_at + offset),
        waiting=[_Waiting(one.principal, _down(one.enqueued_at + offset)) for one in waiters[:_MOST_WAITERS]],
    )


def ended_sentence(event: Event, moment: Moment) -> str:
    """How a lock ended, for a person."""
    offset = moment.wall_offset
    how = _HOW[event.kind].format(by=clean(event.actor) or "somebody")
    because = f"; reason: {clean(event.reason)}" if event.kind is EventKind.BROKEN and event.reason else ""
    at = clock_text(event.at + offset, moment.wall_now)
    return f"The lock that {clean(event.holder)} held {how} at {at}{because}. PUT begins it anew."


def _down(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def _up(instant: datetime) -> datetime:
    return (instant + timedelta(microseconds=999_999)).replace(microsecond=0)
