"""What a Holdfast server tells of locks: those that are held, those that have ended, and what happened.

Owns: the types that its JSON is decoded to. Must not know: how it is asked. Members that are not known are passed over, so
that an older client understands a newer server; words of a closed set there are plain text here, for the same reason.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec

from holdfast.client.exchange import ClientResponse
from holdfast.client.refusals import RefusedError
from holdfast.wire.problem_json import LockDescription, Problem

__all__ = [
    "EndedLock",
    "EndedProblem",
    "FoundLock",
    "Gap",
    "GrantedLock",
    "HistoryPage",
    "LockEvent",
    "LockPage",
    "PendingBreak",
    "RefreshResult",
    "RefreshResults",
    "decoded",
]

T = TypeVar("T")


class PendingBreak(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that was broken with a grace ends `at` this instant.

    >>> PendingBreak(at=datetime(2026, 5, 4), by="root", reason="left open").by
    'root'
    """

    at: datetime
    by: str
    reason: str


class FoundLock(LockDescription, frozen=True, kw_only=True):
    """A lock that is held. `root` is its resource; `expires_in` is in seconds, None without end.

    >>> "expires_in" in FoundLock.__struct_fields__
    True
    """

    url: str = ""
    face: str = ""
    refreshed_at: datetime | None = None
    breaking: PendingBreak | None = None


class GrantedLock(FoundLock, frozen=True, kw_only=True):
    """A lock as its creator gets it. `ttl` is what was granted, in seconds, which are exact; None without end."""

    token: str
    fencing_token: int
    ttl: float | None

    def __repr__(self) -> str:
        """All but the token."""
        return f"GrantedLock(id={self.id!r}, root={self.root!r}, fencing_token={self.fencing_token})"


class EndedLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is no more. `how`: released, expired, broken or destroyed; `by` is empty where nobody ended it.

    >>> "how" in EndedLock.__struct_fields__
    True
    """

    lock_id: str
    root: str
    scope: str
    depth: str
    holder: str
    owner: str = ""
    how: str
    at: datetime
    by: str = ""
    reason: str = ""


class EndedProblem(Problem, frozen=True, kw_only=True):
    """A refusal that may be about a lock that has ended."""

    ended: EndedLock | None = None


class LockPage(msgspec.Struct, frozen=True):
    """Locks; `next` leads to the next page."""

    locks: list[FoundLock]
    next: str | None = None


class RefreshResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one of many."""

    id: str
    status: int
    lock: GrantedLock | None = None
    problem: EndedProblem | None = None


class RefreshResults(msgspec.Struct, frozen=True):
    """The same for each, in the order of the request."""

    results: list[RefreshResult]


class LockEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the record. `kind`: granted, released, expired, breaking, broken, destroyed, queued or left; `seq` rises.

    A lock that is breaking ends by `ends_at`, which nothing else has.

    >>> "fencing_token" in LockEvent.__struct_fields__
    True
    """

    seq: int
    at: datetime
    kind: str
    lock_id: str
    root: str
    scope: str
    depth: str
    holder: str
    owner: str = ""
    actor: str
    reason: str
    fencing_token: int
    ends_at: datetime | None = None


class Gap(msgspec.Struct, frozen=True):
    """In a stream of events: what came `after` this seq is not kept any more, up to the `first` that is.

    >>> Gap(after=7, first=1044).first
    1044
    """

    after: int
    first: int


class HistoryPage(msgspec.Struct, frozen=True):
    """Events by seq."""

    events: list[LockEvent]
    next: int
    more: bool


def decoded(response: ClientResponse, kind: type[T]) -> T:
    """The body of an answer. Raises RefusedError where it is not what a Holdfast server says."""
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        # Without the body, which may have a token in it.
        msg = f"{response.url} is no lock API of Holdfast: {error}"
        raise RefusedError(response.status, msg) from None
