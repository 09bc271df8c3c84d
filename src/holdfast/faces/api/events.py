"""The record of what happened to locks, as it happens: Server-Sent Events.

Owns: which events a request asks for, here and in the pages of the record; where a stream goes on; what an event looks
like in one. Must not know: who else listens, or how events come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.clock import Clock
from holdfast.core.model import Event
from holdfast.faces.api.bodies import EventsQuery, RecordQuery
from holdfast.faces.api.call import Call
from holdfast.faces.api.errors import RefusalError
from holdfast.faces.api.shown import event_body, may_see_event
from holdfast.live.feed import EventFilter
from holdfast.wire.exchange import Response

__all__ = ["LISTS", "asked_events", "event_writer", "events"]

LISTS: Final = ("kind",)
"""Parameters of a RecordQuery that may have more than one value."""

_HEADERS: Final = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    # nginx keeps an answer back until a buffer is full, unless it is told not to.
    ("X-Accel-Buffering", "no"),
)

_HIGHEST: Final = 2**63 - 1
_RETRY_AFTER_S: Final = 10


def events(call: Call) -> Response:
    """GET /api/events: from now on, or from just after the Last-Event-ID."""
    query = call.query(EventsQuery, lists=LISTS)
    after = _last_event_id(call, query)
    listener = _Listener(call, query)
    if call.request.method == "HEAD":
        return Response(200, list(_HEADERS), iter(()))
    stream = call.site.feed.open(listener.admits, after, listener.is_welcome)
    if stream is None:
        retry = ("Retry-After", str(_RETRY_AFTER_S))
        raise RefusalError(503, "Too many event streams are open here; /api/history has the same.", headers=(retry,))
    return Response(200, list(_HEADERS), stream)


def asked_events(call: Call, query: RecordQuery) -> Callable[[Event], bool]:
    """Which events fit the query and may be seen by who asks; 400 where `under` is no path."""
    principal = call.principal
    wanted = _filter(call, query)
    return lambda event: wanted.admits(event) and may_see_event(principal, event)


class _Listener:
    """Who follows a stream, and what of it is for them: with the grants that they have by then."""

    def __init__(self, call: Call, query: RecordQuery) -> None:
        self._wanted = _filter(call, query)
        self._principal = call.principal
        self._current = call.site.follow(call.principal)

    def admits(self, event: Event) -> bool:
        return self._wanted.admits(event) and may_see_event(self._principal, event)

    def is_welcome(self) -> bool:
        """Look again who it is; False where it is nobody any more."""
        current = self._current()
        if current is None:
            return False
        self._principal = current
        return True


def _filter(call: Call, query: RecordQuery) -> EventFilter:
    return EventFilter(
        under=None if isinstance(query.under, UnsetType) else call.resource(query.under, "under", 400),
        kinds=frozenset() if isinstance(query.kind, UnsetType) else frozenset(query.kind),
        lock_id=None if isinstance(query.lock, UnsetType) else query.lock,
        principal=None if isinstance(query.principal, UnsetType) else query.principal,
    )


def event_writer(clock: Clock) -> Callable[[Event], bytes]:
    """What writes an event for a stream: as JSON, in one line, on the wall clock."""
    encode = msgspec.json.Encoder().encode
    return lambda event: encode(event_body(event, clock.wall_offset()))


def _last_event_id(call: Call, query: EventsQuery) -> int | None:
    """The field comes first: a browser that comes back sends it beside the query that it began with."""
    sent = call.header(b"last-event-id")
    if not sent:
        return None if query.last_event_id is UNSET else query.last_event_id
    text = sent.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _HIGHEST):
        raise RefusalError(400, "Last-Event-ID is not the id of an event of this server, which is a number.")
    return int(text)
