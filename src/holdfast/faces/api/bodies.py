"""What the JSON API takes and gives: the types that bodies are decoded to and encoded from.

Owns: the members, their ranges and their words; `openapi` makes the schemas from these very types. Must
not know: what is done with them. Members named like Terraform's lock info are never at the top of an error.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.core.model import EventKind, Face, LockScope
from holdfast.wire.locked import LockDescription
from holdfast.wire.problem import Problem

__all__ = [
    "ID_PATTERN",
    "MAX_EFFECTS",
    "MAX_REFRESHED",
    "RESERVED_ID",
    "AcquireBody",
    "BreakBody",
    "BreakFirst",
    "CheckBody",
    "CheckQuery",
    "EffectBody",
    "EndedLock",
    "EndedProblem",
    "EventBody",
    "EventsQuery",
    "FindQuery",
    "GapBody",
    "GrantedLock",
    "HistoryPage",
    "HistoryQuery",
    "LockPage",
    "PendingBreak",
    "RecordQuery",
    "RefreshBody",
    "RefreshItem",
    "RefreshManyBody",
    "RefreshResult",
    "RefreshResults",
    "ReleaseBody",
    "ShownLock",
    "StreamEntry",
    "TakeOverBody",
]

MAX_REFRESHED: Final = 256
"""Most locks that one request refreshes."""

MAX_EFFECTS: Final = 64
"""Most resources, and most tokens, that one check is about."""

ID_PATTERN: Final = "^[A-Za-z0-9_-]{1,64}$"

RESERVED_ID: Final = "refresh"
"""No lock has this id: its address would be that of the refresh of many."""

# Without control characters, which have no place in XML, a header or a line of a log.
_LINE: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f\\ufffe\\uffff]*$"

ResourceText = Annotated[
    str,
    Meta(min_length=1, max_length=12_288, extra_json_schema={"format": "resource-path"}, examples=["/orders/42"]),
]
"""A URL path, percent-encoded as in a request; a slash at its end does not count."""

LockId = Annotated[str, Meta(pattern=ID_PATTERN, examples=["order-42-edit"])]
Token = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="A lock token: the secret that was given with the lock.",
        examples=["urn:uuid:5f2c7b0e-8d1f-4c1c-9f4b-0b7b3b0f7a11"],
    ),
]
Ttl = Annotated[
    float,
    Meta(
        ge=1,
        le=2**31 - 1,
        description="Seconds that the lock is asked for. The server keeps it between its shortest and longest time.",
        examples=[60],
    ),
]
Reason = Annotated[str, Meta(max_length=1024, pattern=_LINE, description="Why, for people.")]
Words = Annotated[str, Meta(min_length=1, max_length=1024, pattern=_LINE, description="Why, for people.")]
Part = Annotated[str, Meta(min_length=1, max_length=1024, pattern=_LINE)]
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]
LockDepth = Literal["0", "infinity"]


class BreakFirst(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to break in the same step."""

    reason: Words
    id: Annotated[LockId | UnsetType, Meta(description="Which lock; left out: every lock that is in the way.")] = UNSET


class AcquireBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock to acquire."""

    resource: Annotated[
        ResourceText,
        Meta(
            description="The URL path of the resource, percent-encoded as in a request; a slash at its end is no matter."
        ),
    ]
    scope: LockScope = LockScope.EXCLUSIVE
    depth: Annotated[LockDepth, Meta(description="`infinity`: the lock covers everything below the resource too.")] = (
        "0"
    )
    ttl: Annotated[
        Ttl | UnsetType | None,
        Meta(
            description="Seconds. Left out: the server's usual time. null: without end, which only an administrator may ask for."
        ),
    ] = UNSET
    wait: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)] | UnsetType,
        Meta(
            description=(
                "Seconds to wait in line where the lock is not free, at most the server's longest wait. With an `id` the place in "
                "line is kept for a while after a 423, for a client that asks again; 0 asks for just that."
            ),
            examples=[30],
        ),
    ] = UNSET
    owner: Annotated[
        str, Meta(max_length=1024, pattern=_LINE, description="Your own text about who you are; shown, never checked.")
    ] = ""
    reason: Reason = ""
    id: Annotated[
        LockId | UnsetType,
        Meta(
            description="Chosen by you: sent again, it gives the same grant again. One id is one lock, also after its end."
        ),
    ] = UNSET
    break_: Annotated[
        BreakFirst | UnsetType,
        Meta(
            description="Break what is in the way and acquire the new lock in one step: either both happen or neither."
        ),
    ] = msgspec.field(default=UNSET, name="break")


class RefreshBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Restart the timer of a lock."""

    token: Token
    ttl: Ttl | UnsetType | None = UNSET


class RefreshItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of many locks to refresh."""

    id: LockId
    token: Token
    ttl: Ttl | UnsetType | None = UNSET


class RefreshManyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Locks to refresh; each is answered apart."""

    locks: Annotated[list[RefreshItem], Meta(min_length=1, max_length=MAX_REFRESHED)]


class ReleaseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token, where it is not in a Lock-Token field."""

    token: Token


class BreakBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a lock by force. The former holder is told who did it, when and why."""

    reason: Words
    after: Annotated[
        float, Meta(ge=0, le=86_400, description="Seconds of grace: the lock ends then, and can still be released.")
    ] = 0


class TakeOverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Go on with your own lock from another place."""

    ttl: Ttl | UnsetType | None = UNSET
    owner: Annotated[str, Meta(max_length=1024, pattern=_LINE, description="Left out: as it was.")] | UnsetType = UNSET
    reason: Annotated[Reason | UnsetType, Meta(description="Left out: as it was.")] = UNSET


class EffectBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request would do to one resource."""

    resource: Annotated[ResourceText, Meta(description="The URL path of the resource, percent-encoded.")]
    reach: Annotated[
        Literal["content", "membership", "tree"],
        Meta(
            description="`membership`: it is made or removed, which its parent's lock protects; `tree`: all below goes with it."
        ),
    ] = "content"


class CheckBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that somebody is about to make."""

    resource: Annotated[ResourceText, Meta(description="The URL path of the resource, percent-encoded.")]
    effects: (
        Annotated[
            list[EffectBody],
            Meta(min_length=1, max_length=MAX_EFFECTS, description="Left out: the content of the resource changes."),
        ]
        | UnsetType
    ) = UNSET
    tokens: Annotated[list[Token], Meta(max_length=MAX_EFFECTS)] = []
    principal: Annotated[
        Name | UnsetType,
        Meta(description="Who would make the change, where an administrator (a gateway) asks for somebody else."),
    ] = UNSET


class CheckQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a forwarded request is checked."""

    refuse: Annotated[
        Literal["423", "403", "always"],
        Meta(
            description="For gateways that pass no other refusal on (nginx), `403`: each is a 403, and `Holdfast-Status` has the "
            "real one. `always`, to ask for the real answer then: 503 in place of 204, for the change was not made."
        ),
    ] = "423"
    links: Annotated[
        Literal["guard", "guard-only"] | UnsetType,
        Meta(
            description="Where a 423's links lead: to the addresses of `holdfast guard`, without or with `--guard-only`."
        ),
    ] = UNSET


class FindQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which locks are asked for; every filter that is given must fit."""

    resource: Annotated[ResourceText | UnsetType, Meta(description="Locked directly: the root of the lock.")] = UNSET
    covering: Annotated[
        ResourceText | UnsetType, Meta(description="Locked directly, or indirectly by a lock above.")
    ] = UNSET
    under: Annotated[ResourceText | UnsetType, Meta(description="Lock roots at or below this path.")] = UNSET
    principal: Annotated[Name | UnsetType, Meta(description="The lock's creator.")] = UNSET
    scope: Annotated[LockScope | UnsetType, Meta(description="Exclusive or shared ones only.")] = UNSET
    reason: Annotated[Part | UnsetType, Meta(description="A part of the reason, in any case.")] = UNSET
    limit: Annotated[int, Meta(ge=1, le=1000, description="The most locks that are returned.")] = 100
    cursor: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=12_288,
                extra_json_schema={"format": "page-cursor"},
                description="The `next` of the page before.",
            ),
        ]
        | UnsetType
    ) = UNSET


class RecordQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are asked for; every filter that is given must fit."""

    under: Annotated[ResourceText | UnsetType, Meta(description="Lock roots at or below this path.")] = UNSET
    kind: Annotated[
        Annotated[list[EventKind], Meta(min_length=1)] | UnsetType,
        Meta(description="Of these kinds only; repeated, or with commas."),
    ] = UNSET
    lock: Annotated[LockId | UnsetType, Meta(description="Of the lock with this id only.")] = UNSET
    principal: Annotated[Name | UnsetType, Meta(description="By this one, or about a lock of theirs.")] = UNSET


class HistoryQuery(RecordQuery, frozen=True, forbid_unknown_fields=True):
    """The same, in pages."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The `next` of the page before: events after this.")] = 0
    before: Annotated[
        int, Meta(ge=1, le=2**63 - 1, description="The same of a page with the newest first: events before this.")
    ] = 2**63 - 1
    order: Annotated[Literal["oldest", "newest"], Meta(description="Which come first.")] = "oldest"
    limit: Annotated[int, Meta(ge=1, le=1000, description="The most events that are returned.")] = 100


class EventsQuery(RecordQuery, frozen=True, forbid_unknown_fields=True):
    """The same, as they happen."""

    last_event_id: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType,
        Meta(
            description="As the field Last-Event-ID, which a browser cannot set when it first connects and which comes before this."
        ),
    ] = UNSET


class PendingBreak(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that was broken with a grace ends `at` this instant."""

    at: datetime
    by: str
    reason: str


class ShownLock(LockDescription, frozen=True, kw_only=True):
    """A lock, as everybody may see it who may read what it covers. `expires_in` is in seconds; null is without end."""

    url: str  # pyright: ignore[reportGeneralTypeIssues] - here it is always told
    face: Face
    refreshed_at: datetime
    breaking: PendingBreak | None = None


class GrantedLock(ShownLock, frozen=True, kw_only=True):
    """A lock, as its creator gets it: with the secret token, and the fencing token that rises with each grant.

    `ttl` is what its last refresh, or its grant, gave it: exact seconds, from `refreshed_at` on; null is without end.
    """

    token: str
    fencing_token: int
    ttl: float | None


class LockPage(msgspec.Struct, frozen=True):
    """Locks by root and id. `next` is the cursor of the next page; null: there is none. A page may have fewer than asked."""

    locks: list[ShownLock]
    next: str | None


class EndedLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is no more: how it ended, when, by whom and why. `by` is empty where nobody ended it.

    `owner` is what the holder said of itself.
    """

    lock_id: str
    root: str
    scope: LockScope
    depth: LockDepth
    holder: str
    owner: str = ""
    how: EventKind
    at: datetime
    by: str
    reason: str


class EndedProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal that may be about a lock that has ended."""

    ended: EndedLock | None = None


class RefreshResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one of many: `lock` with status 200, else `problem`."""

    id: str
    status: int
    lock: GrantedLock | None = None
    problem: EndedProblem | None = None


class RefreshResults(msgspec.Struct, frozen=True):
    """One result for each lock, in the order of the request."""

    results: list[RefreshResult]


class EventBody(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the record: a lock was granted, or ended in one of the ways; or a request came into or left the line.

    Of the kind `breaking` alone, a break that was set for later, `ends_at` is the instant by which the lock ends. `owner` is
    what the holder said of itself.
    """

    seq: int
    at: datetime
    kind: EventKind
    lock_id: str
    root: str
    scope: LockScope
    depth: LockDepth
    holder: str
    owner: str = ""
    actor: str
    reason: str
    fencing_token: int
    ends_at: datetime | UnsetType = UNSET


class GapBody(msgspec.Struct, frozen=True):
    """In a stream: what came `after` this seq is not kept any more, up to the `first` that is."""

    after: int
    first: int


class StreamEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a stream, by the fields of Server-Sent Events. `id` is the seq; `data` is JSON, in one line."""

    event: Annotated[str, Meta(extra_json_schema={"enum": [*EventKind, "gap"]})]
    id: str
    data: Annotated[
        str,
        Meta(
            extra_json_schema={
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [{"$ref": "#/components/schemas/EventBody"}, {"$ref": "#/components/schemas/GapBody"}]
                },
            }
        ),
    ]


class HistoryPage(msgspec.Struct, frozen=True):
    """Events by seq. `next` goes into `after` for what follows, or into `before` with the newest first; `more` says that there is more already."""

    events: list[EventBody]
    next: int
    more: bool
