"""The route table: every address and method of the API, what it takes, and every status that it answers.

Owns: the table, which `face` answers by, `openapi` documents and the tests go through. Must not know:
how a request is decoded or who is asking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from holdfast.faces.api import checking, events, history, locks
from holdfast.faces.api.bodies import (
    AcquireBody,
    BreakBody,
    CheckBody,
    CheckQuery,
    EndedLock,
    EndedProblem,
    EventsQuery,
    FindQuery,
    GrantedLock,
    HistoryPage,
    HistoryQuery,
    LockPage,
    RefreshBody,
    RefreshManyBody,
    RefreshResults,
    ReleaseBody,
    ShownLock,
    StreamEntry,
    TakeOverBody,
)
from holdfast.faces.api.call import Call
from holdfast.faces.api.session import SessionBody, session
from holdfast.wire.exchange import Response
from holdfast.wire.locked import LockedProblem

__all__ = ["ROUTES", "Field", "Route", "Said", "matching"]


class Said(msgspec.Struct, frozen=True):
    """One status of an answer: what it means, and the type of its body."""

    meaning: str
    body: type | None = None
    media_type: str = "application/json"
    """Of an answer that is no refusal; in an event stream the body is one entry of it, by its fields."""
    is_negotiated: bool = False
    """True where a 423 may be told under this status, in the form that Accept asks for."""


class Field(msgspec.Struct, frozen=True):
    """A header field of a request that a route reads."""

    name: str
    description: str
    form: str = ""
    """The name of its syntax, for whoever makes requests from the document; empty for any text."""
    is_required: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one address. `statuses` holds what is particular to it; `common` what nearly all have."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    handle: Callable[[Call], Response]
    needs: str
    statuses: Mapping[int, Said]
    body: type | None = None
    body_is_optional: bool = False
    query: type | None = None
    fields: tuple[Field, ...] = ()
    is_brief: bool = True
    """Short work that never waits for more than the store."""


_ENDED: Final = Said("The lock has ended; `ended` tells how, when, by whom and why.", EndedProblem)
_UNKNOWN: Final = Said(
    "No lock with this id is known: there was none, or its end lies longer back than events are kept.", EndedProblem
)
_LOCKED: Final = Said(
    "Another lock is in the way. The answer names it and its holder; Retry-After says when to try again.", LockedProblem
)
_NOT_YOURS: Final = Said("The lock is somebody else's, or the token is another lock's.", EndedProblem)
_NO_ROLE: Final = Said("You may not; `detail` tells which role it needs.", EndedProblem)
_TOO_MANY: Final = Said("No more locks can be kept, or there is no room on the disk.", EndedProblem)

_KEY: Final = Field(
    "Idempotency-Key",
    "One string in double quotes. Where the body has no `id`, it names the lock: the same request with the same key gives the same grant.",
    "idempotency-key",
)
_PREFER: Final = Field(
    "Prefer", "`wait=N` (RFC 7240): as the member `wait`. Preference-Applied tells where it was granted."
)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/locks",
        name="acquireLock",
        summary="Acquire a lock",
        description=(
            "Grants a new lock on a resource. With `id`, or an Idempotency-Key, it may be sent again after a lost answer: "
            "the same grant is given again. With `break`, one lock or all that are in the way are broken in the same step, as to close a tree for maintenance."
        ),
        handle=locks.acquire,
        needs="writer at the resource, and at all below it for depth infinity; admin for a lock without end",
        body=AcquireBody,
        fields=(_KEY, _PREFER),
        statuses={
            200: Said("The same request was granted this lock before.", GrantedLock),
            201: Said(
                "The lock is granted. Keep the token secret; pass the fencing token on with every write.", GrantedLock
            ),
            403: _NO_ROLE,
            404: Said("The lock to break is not known.", EndedProblem),
            409: Said(
                "The id is somebody else's, asks for another lock, or is of a lock that has ended; "
                "or the place in line was given up meanwhile.",
                EndedProblem,
            ),
            423: _LOCKED,
            507: _TOO_MANY,
        },
    ),
    Route(
        method="GET",
        path="/api/locks",
        name="findLocks",
        summary="Find locks",
        description="The locks that protect what you may read, in the order of their roots. Filters are combined with and.",
        handle=locks.find,
        needs="reader; others are not shown",
        query=FindQuery,
        is_brief=False,
        statuses={200: Said("A page of locks.", LockPage)},
    ),
    Route(
        method="POST",
        path="/api/locks/refresh",
        name="refreshLocks",
        summary="Refresh many locks",
        description="Restarts the timers of many locks in one step. Each is answered apart.",
        handle=locks.refresh_many,
        needs="the locks' tokens, as their creator; admin for a lock without end",
        body=RefreshManyBody,
        is_brief=False,
        statuses={200: Said("What became of each, in the order of the request.", RefreshResults), 403: _NO_ROLE},
    ),
    Route(
        method="GET",
        path="/api/locks/{id}",
        name="describeLock",
        summary="Describe a lock",
        description="Who holds it, since when and until when; or how it ended, as long as events are kept.",
        handle=locks.describe,
        needs="reader of something that the lock protects",
        statuses={200: Said("The lock is held.", ShownLock), 404: _UNKNOWN, 410: _ENDED},
    ),
    Route(
        method="DELETE",
        path="/api/locks/{id}",
        name="releaseLock",
        summary="Release a lock",
        description=(
            "Ends your lock. Releasing it again is no error; one that was lost before is told so (410). Without a token, and with the "
            "id that your request in line has, it gives that place up; a connection that waits for it is answered 409."
        ),
        handle=locks.release,
        needs="the lock's token, as its creator; for a place in line only the principal that waits",
        body=ReleaseBody,
        body_is_optional=True,
        fields=(
            Field(
                "Lock-Token",
                "The token, in angle brackets (RFC 4918 section 10.5); or give it in the body.",
                "lock-token",
            ),
        ),
        statuses={
            204: Said("The lock is released, now or before; or the place is given up."),
            403: _NOT_YOURS,
            404: _UNKNOWN,
            410: _ENDED,
        },
    ),
    Route(
        method="POST",
        path="/api/locks/{id}/refresh",
        name="refreshLock",
        summary="Refresh a lock",
        description="Restarts the lock's timer. Token and fencing token stay.",
        handle=locks.refresh,
        needs="the lock's token, as its creator; admin for a lock without end",
        body=RefreshBody,
        statuses={200: Said("The lock, with its new end.", GrantedLock), 403: _NOT_YOURS, 404: _UNKNOWN, 410: _ENDED},
    ),
    Route(
        method="POST",
        path="/api/locks/{id}/break",
        name="breakLock",
        summary="Break a lock",
        description=(
            "Ends a lock by force, at once or after a grace in which its holder can finish and release it. It is recorded, "
            "and the former holder is told who did it, when and why. Breaking it again for the same reason gives the same answer."
        ),
        handle=locks.break_lock,
        needs="admin at the lock's root; its creator for one's own",
        body=BreakBody,
        statuses={
            200: Said("The lock is broken.", EndedLock),
            202: Said("It will end after the grace; `breaking` tells when.", ShownLock),
            403: Said("Only its creator and administrators may break it.", EndedProblem),
            404: _UNKNOWN,
            410: _ENDED,
        },
    ),
    Route(
        method="POST",
        path="/api/locks/{id}/take-over",
        name="takeOverLock",
        summary="Take over your own lock",
        description=(
            "For its creator, from another place or after the token was lost: a new lock with a new id, token and fencing token "
            "stands where the old one stood, which is broken ('taken over') in the same step."
        ),
        handle=locks.take_over,
        needs="the lock's creator, as writer",
        body=TakeOverBody,
        statuses={
            201: Said("The new lock.", GrantedLock),
            403: Said("It is somebody else's.", EndedProblem),
            404: _UNKNOWN,
            410: _ENDED,
            507: _TOO_MANY,
        },
    ),
    Route(
        method="POST",
        path="/api/check",
        name="checkChange",
        summary="Check a change",
        description="Whether a change could be made now, with these tokens. It changes nothing.",
        handle=checking.check,
        needs="reader of the resources; admin to ask for another principal",
        body=CheckBody,
        statuses={204: Said("No lock stands against it."), 403: _NO_ROLE, 423: _LOCKED},
    ),
    Route(
        method="GET",
        path="/api/check",
        name="checkForwarded",
        summary="Check a forwarded request",
        description=(
            "For a gateway that asks before it passes a request on (forward auth): the request is told of in fields. Methods that "
            "only read are always let through. Put it before any application that knows nothing of locks. X-Original-Method "
            "and X-Original-Uri are understood in place of X-Forwarded-Method and -Uri."
        ),
        handle=checking.check_forwarded,
        needs="reader of the resource",
        query=CheckQuery,
        fields=(
            Field("X-Forwarded-Method", "The method of the request.", "method", is_required=True),
            Field(
                "X-Forwarded-Uri", "Its target: a URL path, with or without a query.", "resource-path", is_required=True
            ),
            Field("X-Forwarded-Host", "The host that it was sent to, for the URLs in If and Destination."),
            Field("X-Forwarded-Proto", "Its scheme."),
            Field("X-Forwarded-User", "Who sent it, where the gateway itself is an administrator."),
            Field("If", "As it was sent (RFC 4918 section 10.4).", "if"),
            Field("Lock-Token", "As it was sent.", "lock-token"),
            Field("Destination", "As it was sent, of a COPY or MOVE.", "resource-path"),
        ),
        statuses={
            204: Said("Let it through."),
            403: Said(
                "You may not read the resource; or whatever stands against it, where `refuse=403` was asked for.",
                EndedProblem,
                is_negotiated=True,
            ),
            412: Said("Its If header is false.", EndedProblem),
            423: _LOCKED,
        },
    ),
    Route(
        method="GET",
        path="/api/history",
        name="readHistory",
        summary="Read the record",
        description=(
            "What happened to the locks that you may see: each grant, each end in whatever way, and who came into the line or left it. "
            "`/api/events` is the same as it happens."
        ),
        handle=history.history,
        needs="reader; others are not shown",
        query=HistoryQuery,
        is_brief=False,
        statuses={200: Said("A page of events.", HistoryPage)},
    ),
    Route(
        method="GET",
        path="/api/events",
        name="followEvents",
        summary="Follow the record",
        description=(
            "Server-Sent Events: each entry of the record that you may see, as it happens, until you close it. `id` is the entry's `seq`, "
            "`event` its `kind`, and `data` the entry as in the record. A client that lost its stream goes on with Last-Event-ID, "
            "without loss or repeat. What is not kept any more is told by the event `gap`, with the `first` seq that is: read the locks anew then. "
            "An entry without data only tells how far the record has got. A stream ends after an hour (a setting); come back."
        ),
        handle=events.events,
        needs="reader; others are not shown",
        query=EventsQuery,
        fields=(Field("Last-Event-ID", "The id of the last event that you had: go on after it.", "event-id"),),
        is_brief=False,
        statuses={
            200: Said("A stream of entries.", StreamEntry, "text/event-stream"),
            503: Said(
                "Too many streams are open, or the server cannot use its store; Retry-After says when to try again.",
                EndedProblem,
            ),
        },
    ),
    Route(
        method="GET",
        path="/api/session",
        name="describeSession",
        summary="Who you are",
        description="Your name here, your grants, and what a page has to know about this server.",
        handle=session,
        needs="to be logged in, on a server with users",
        statuses={200: Said("Who is asking, and of what server.", SessionBody)},
    ),
)

_EXACT: Final = {route.path for route in ROUTES if "{" not in route.path}
_PATTERNS: Final = tuple(
    (re.compile(route.path.replace("{id}", "([A-Za-z0-9_-]{1,64})")), route) for route in ROUTES if "{" in route.path
)


def matching(target: str) -> tuple[dict[str, Route], str]:
    """The routes of a raw path by method, and the lock id in it; no routes where nothing is there."""
    if target in _EXACT:
        return {route.method: route for route in ROUTES if route.path == target}, ""
    found: dict[str, Route] = {}
    lock_id = ""
    for pattern, route in _PATTERNS:
        match = pattern.fullmatch(target)
        if match is not None:
            found[route.method] = route
            lock_id = match[1]
    return found, lock_id
