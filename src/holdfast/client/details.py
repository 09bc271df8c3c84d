"""What is known of a lock that is in the way: the values that a 423 is read into.

Owns: LockedKind, KnownLock and LockedDetails, and the sentence that they make. Must not know: how any
server says it, HTTP libraries, the clock. There is no place for a lock token in here.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final
from urllib.parse import unquote

import msgspec

from holdfast.core.access import ANONYMOUS
from holdfast.wire.sentences import clean, clock_text

__all__ = ["KnownLock", "LockedDetails", "LockedKind", "locked_sentence"]

# Messages that say no more than the sentence around them.
_NOTHING_MORE: Final = frozenset({"", "locked", "423 locked", "resource is locked", "the resource is locked"})


class LockedKind(enum.Enum):
    """Why a request was refused as locked, and so what can help.

    >>> LockedKind("administrative") is LockedKind.ADMINISTRATIVE
    True
    """

    HELD_BY_OTHER = "held by another"
    """Somebody else holds a lock, or is next in line: wait, or ask the holder."""
    MINE_WITHOUT_TOKEN = "mine, but the token was not sent"  # noqa: S105 - no token
    """The caller's own lock: send its token."""
    BAD_TOKEN = "bad token"  # noqa: S105 - no token
    """The token that was sent is no longer, or never was, that of the lock: acquire anew."""
    ADMINISTRATIVE = "administrative"
    """Closed by a rule (archived, unpaid, reserved): waiting does not help."""
    UNKNOWN = "unknown"
    """Locked, and nothing more is said."""


class KnownLock(msgspec.Struct, frozen=True, kw_only=True):
    """One lock, as far as the server told of it; what it did not tell is empty or None.

    `resource` is the lock root's URL path, `url` its absolute URL on the server that was asked. `holder` is the name of
    whoever holds it, `owner` the free text of its client. `until` is the server's wall clock, `remaining` the seconds from
    its answer to then; holders may release earlier or refresh. `endless` is true only where the server says so. `about`
    is the absolute URL that tells of this lock.

    >>> KnownLock(resource="/orders/42", holder="Ada").holder
    'Ada'
    """

    resource: str = ""
    url: str = ""
    holder: str = ""
    owner: str = ""
    since: datetime | None = None
    until: datetime | None = None
    remaining: float | None = None
    endless: bool = False
    id: str = ""
    scope: str = ""
    depth: str = ""
    reason: str = ""
    program: str = ""
    about: str = ""


class LockedDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as locked, read. What the server did not tell is empty or None.

    `resource` is the URL path of what is locked (the lock root where it is told, else what was asked for) and `url`
    the same as an absolute URL, always of the server that was asked. `retry_after` is in seconds, as asked by the
    server. `code` is the server's own name of the refusal, `message` its own words. `service` names the family of
    answers that it was read as. `is_partial` is true for a 207: other members of the request may have been changed.
    `candidates` are the absolute URLs at which the lock may be discovered, the likeliest first.

    >>> LockedDetails(status=423, resource="/orders/42").locks
    ()
    """

    status: int
    kind: LockedKind = LockedKind.UNKNOWN
    resource: str = ""
    url: str = ""
    locks: tuple[KnownLock, ...] = ()
    retry_after: float | None = None
    code: str = ""
    message: str = ""
    service: str = ""
    queue_length: int | None = None
    position: int | None = None
    is_partial: bool = False
    answered_at: datetime | None = None
    candidates: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """Who holds the first lock; the owner text where no holder is told."""
        return next((lock.holder or lock.owner for lock in self.locks if lock.holder or lock.owner), "")

    @property
    def since(self) -> datetime | None:
        """Since when the first lock is held."""
        return next((lock.since for lock in self.locks if lock.since is not None), None)

    @property
    def until(self) -> datetime | None:
        """When the last of the locks ends unless it is refreshed; None where it is not known of each."""
        ends = [lock.until for lock in self.locks]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    @property
    def remaining(self) -> float | None:
        """Seconds from the answer until the last of the locks ends; None where it is not known of each."""
        left = [lock.remaining for lock in self.locks]
        known = [seconds for seconds in left if seconds is not None]
        return max(known) if known and len(known) == len(left) else None

    @property
    def place(self) -> str:
        """The place in line in words, of a request that has one.

        >>> LockedDetails(status=423, position=2, queue_length=3).place
        'number 2 of 3 in line'
        """
        if self.position is None:
            return ""
        return f"number {self.position} of {max(self.position, self.queue_length or 0)} in line"

    @property
    def endless(self) -> bool:
        """True where waiting has no end that is known beforehand: a lock without end, or a rule."""
        return self.kind is LockedKind.ADMINISTRATIVE or any(lock.endless for lock in self.locks)


def locked_sentence(details: LockedDetails, waited: float = 0.0, attempts: int = 1) -> str:
    """One sentence for a person: what is locked, by whom, until when, and what was done about it.

    >>> ada = KnownLock(holder="Ada")
    >>> locked_sentence(LockedDetails(status=423, resource="/orders/42", locks=(ada,)), 12.2, 3)
    '/orders/42 is locked by Ada (waited 12 s, 3 attempts)'
    """
    name = clean(unquote(details.resource, errors="replace")) or "The resource"
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    effort = f" (waited {waited:.0f} s, {tries})" if waited or attempts > 1 else ""
    if details.kind is LockedKind.BAD_TOKEN:
        return f"The lock token sent for {name} is not valid{_in_words(details)}{effort}"
    if details.kind is LockedKind.ADMINISTRATIVE:
        return f"{name} is closed for changes{_in_words(details)}; waiting will not help{effort}"
    holder = _holder(details)
    by = f" by {holder}" if holder else ""
    until = "" if details.until is None else f" until {_instant(details.until, details.answered_at)}"
    since = "" if details.since is None or until else f" since {_instant(details.since, details.answered_at)}"
    reason = next((lock.reason for lock in details.locks if lock.reason), "")
    words = "" if by or until or since or details.message.lower().rstrip(".") in _NOTHING_MORE else details.message
    said = f": {reason or words}".rstrip(".") if reason or words else ""
    others = len(details.locks) - 1
    more = f", and {others} more" if others > 0 and by else ""
    return f"{name} is locked{by}{more}{since}{until}{said}{effort}"


def _holder(details: LockedDetails) -> str:
    if details.kind is LockedKind.MINE_WITHOUT_TOKEN:
        return "you, but the token was not sent"
    if details.holder == ANONYMOUS.name:  # of a server without users, where the client's own text is all there is
        return next((lock.owner for lock in details.locks if lock.owner), "someone")
    return details.holder


def _in_words(details: LockedDetails) -> str:
    words = details.message or details.code
    return f": {words.rstrip('.')}" if words else ""


def _instant(instant: datetime, answered_at: datetime | None) -> str:
    """The time, with its day where that is not known to be the day of the answer."""
    if answered_at is None:
        return f"{instant.year:04}-{instant:%m-%d %H:%M} UTC"
    return clock_text(instant, answered_at)
