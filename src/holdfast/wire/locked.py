"""The 423 answer: who holds the lock, since when, until when, in every form it is given.

Owns: the LockedAnswer value, its XML, JSON and HTML, and the fields that go with it. The types of its
JSON are in `problem_json`, which the client library decodes. Must not know: how contention was found. A lock token cannot
get in here: ContendingLock has no place for one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from holdfast.core.decisions import Refused, Standing
from holdfast.core.model import Depth, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.wire.davxml_write import HOLDFAST, Condition, condition_xml, escape, iso_instant, render_error
from holdfast.wire.exchange import Response
from holdfast.wire.problem import Representation, choose_representation, refusal_headers
from holdfast.wire.problem_json import (
    LOCKED_TYPE,
    Holder,
    LockDescription,
    LockedProblem,
    encode_problem,
    parse_locked_problem,
)
from holdfast.wire.sentences import broken_text, clean, clock_text, holder_text, program_name
from holdfast.wire.webpages import LockedPageLock, render_locked_page

__all__ = [
    "GUARD_LINKS",
    "LOCKED_TYPE",
    "MAX_LOCKS_SHOWN",
    "MAX_RETRY_SECONDS",
    "OFFICE_ERROR",
    "SERVER_LINKS",
    "SHORT_RETRY_SECONDS",
    "ContendingLock",
    "Holder",
    "LockDescription",
    "LockLinks",
    "LockedAnswer",
    "LockedProblem",
    "headers_423",
    "locked_conditions",
    "locked_detail",
    "locked_problem",
    "locked_response",
    "office_error",
    "parse_locked_problem",
    "render_locked",
    "retry_after",
]

MAX_RETRY_SECONDS: Final = 60
"""Retry-After never says more, for a holder may release long before the lock expires."""

SHORT_RETRY_SECONDS: Final = 2
"""Retry-After where nothing is held, and others are only next in line."""

MAX_LOCKS_SHOWN: Final = 20
"""Most locks that one answer describes; a resource may have any number of shared ones."""

OFFICE_ERROR: Final = 589838
"""0x0009000E: what Microsoft Office reads in X-MSDAVEXT_ERROR as 'locked by another user'."""

_SECOND: Final = timedelta(seconds=1)
_ALMOST_A_SECOND: Final = timedelta(microseconds=999_999)
_LONGEST_RETRY: Final = timedelta(seconds=MAX_RETRY_SECONDS)


class ContendingLock(msgspec.Struct, frozen=True):
    """A lock in the way, as far as others may know of it: all but the token.

    `url` is where it is described; None for its place among all locks (see LockLinks), empty where there is no such place.
    """

    id: str
    root: ResourcePath
    root_href: str
    scope: LockScope
    depth: Depth
    holder: Holder
    reason: str
    face: Face
    created_at: datetime
    expires_at: datetime | None
    queue_length: int = 0
    url: str | None = None

    @classmethod
    def of(cls, lock: Lock, *, root_href: str | None = None, queue_length: int = 0) -> ContendingLock:
        """What may be told of `lock`. `root_href` is its root's URL path, where the caller knows it for a collection."""
        return cls(
            lock.id,
            lock.root,
            root_href or lock.root.href(),
            lock.scope,
            lock.depth,
            Holder(lock.principal, lock.owner, lock.client),
            lock.reason,
            lock.face,
            lock.created_at,
            lock.expires_at,
            queue_length,
        )


class LockLinks(msgspec.Struct, frozen=True):
    """Where the links of a 423 lead: URL paths, an empty one for a link that is left out.

    A lock's own address, for programs and for people, is `lock` or `page` with the lock's id behind it.
    """

    lock: str = "/api/locks/"
    page: str = "/locks/"
    help: str = "/problems/locked"


SERVER_LINKS: Final = LockLinks()
"""The addresses of `holdfast serve`."""

GUARD_LINKS: Final = {
    "guard": LockLinks(page="/api/locks/"),
    "guard-only": LockLinks(lock="", page="", help="/.holdfast/locked"),
}
"""The addresses of `holdfast guard`: it has no page of a lock, so what its API says of it is all that there is; and those of one
that leaves nearly all addresses to its application."""


class LockedAnswer(msgspec.Struct, frozen=True):
    """Everything a 423 says. `wall_offset` is the clock's, for showing instants to people.

    `locks` is empty where nothing is held and others are next in line, which `line` tells then. `most_retry` bounds
    Retry-After (seconds), for one whose place in line is kept no longer. `condition` is LOCK_TOKEN_SUBMITTED for a refused write, NO_CONFLICTING_LOCK for a refused LOCK
    (RFC 4918 sections 16.3, 16.4).
    """

    resource: ResourcePath
    locks: tuple[ContendingLock, ...]
    condition: Condition
    now: datetime
    wall_offset: timedelta = timedelta()
    note: str = ""
    """A sentence for the one who asks, such as that his own lock was broken; it comes first."""
    line: Standing | None = None
    most_retry: int = MAX_RETRY_SECONDS
    links: LockLinks = SERVER_LINKS

    @classmethod
    def of(
        cls,
        refused: Refused,
        resource: ResourcePath,
        condition: Condition,
        *,
        now: datetime,
        wall_offset: timedelta,
        most_retry: int = MAX_RETRY_SECONDS,
    ) -> LockedAnswer:
        """What is said of a refusal that is a 423; its note tells a former holder how his lock was broken."""
        distinct = {item.lock.id: item.lock for item in refused.contentions}
        lengths = {} if refused.line is None else refused.line.lengths
        broken = refused.broken
        return cls(
            resource=resource,
            locks=tuple(ContendingLock.of(lock, queue_length=lengths.get(lock.id, 0)) for lock in distinct.values()),
            condition=condition,
            now=now,
            wall_offset=wall_offset,
            note=""
            if broken is None
            else broken_text(broken.actor, broken.reason, broken.at + wall_offset, now + wall_offset),
            line=refused.line,
            most_retry=most_retry,
        )


def retry_after(answer: LockedAnswer) -> int:
    """Seconds until trying again can help: until the last lock in the way ends by itself, from 1 to `most_retry`."""
    if not answer.locks:
        return min(SHORT_RETRY_SECONDS, answer.most_retry)
    longest = 1
    for lock in answer.locks:
        if lock.expires_at is None:
            return answer.most_retry
        left = lock.expires_at - answer.now
        if left >= _LONGEST_RETRY:
            return answer.most_retry
        longest = max(longest, -(-left // _SECOND))
    return min(longest, answer.most_retry)


def locked_response(
    answer: LockedAnswer, accept: str | None = None, *, prefers_xml: bool = True, office: bool = False
) -> Response:
    """The whole 423, in the form that `accept` asks for. `office` adds the field that Microsoft Office reads."""
    representation = choose_representation(accept, prefers_xml=prefers_xml)
    return Response(423, headers_423(answer, representation, office=office), render_locked(answer, representation))


def headers_423(answer: LockedAnswer, representation: Representation, *, office: bool = False) -> list[tuple[str, str]]:
    """All fields of a 423 but Date and Content-Length."""
    headers = refusal_headers(representation)
    headers.append(("Retry-After", str(retry_after(answer))))
    urls = [_lock_url(lock, answer.links.lock) for lock in answer.locks[:MAX_LOCKS_SHOWN]]
    links = [f'<{url}>; rel="describedby"' for url in urls if url]
    if answer.links.help:
        links.append(f'<{answer.links.help}>; rel="help"')
    if links:
        headers.append(("Link", ", ".join(links)))
    if office:
        headers.append(("X-MSDAVEXT_ERROR", office_error(answer)))
    return headers


def office_error(answer: LockedAnswer) -> str:
    """The value of X-MSDAVEXT_ERROR (MS-WDV section 2.2): the code and a percent-encoded sentence for the person."""
    return f"{OFFICE_ERROR}; {quote(_holder_sentence(answer), safe='')}"


def render_locked(answer: LockedAnswer, representation: Representation) -> bytes:
    """The body of a 423."""
    if representation is Representation.XML:
        return render_error(locked_conditions(answer))
    if representation is Representation.JSON:
        return encode_problem(locked_problem(answer))
    return render_locked_page(
        answer.resource.text,
        locked_detail(answer),
        [_on_page(lock, answer) for lock in answer.locks[:MAX_LOCKS_SHOWN]],
        more=max(0, len(answer.locks) - MAX_LOCKS_SHOWN),
        retry_after=retry_after(answer),
        refused_lock=answer.condition is Condition.NO_CONFLICTING_LOCK,
        line_sentence=_line_sentence(answer) if _says_more(answer) else "",
        help_href=answer.links.help,
    )


def locked_conditions(answer: LockedAnswer) -> str:
    """What stands in the DAV:error: the condition with the lock roots, one Holdfast element for each lock, one for the line, the note.

    Fit for a document of its own and, in `davxml_write.error_element`, for a response of a 207.
    """
    locks = answer.locks[:MAX_LOCKS_SHOWN]
    described = [_lock_element(lock, answer.wall_offset) for lock in locks]
    # RFC 4918 section 16 wants a URL in it; where no lock is in the way, others wait for this very resource.
    hrefs = dict.fromkeys([lock.root_href for lock in locks] or [answer.resource.href()])
    note = f'<H:detail xmlns:H="{HOLDFAST}">{escape(answer.note)}</H:detail>' if answer.note else ""
    return condition_xml(answer.condition, hrefs) + "".join(described) + _line_element(answer.line) + note


def locked_problem(answer: LockedAnswer) -> LockedProblem:
    """The 423 as the value that is encoded, and decoded by clients."""
    href = answer.resource.href()
    return LockedProblem(
        type=LOCKED_TYPE,
        title="Locked",
        status=423,
        detail=locked_detail(answer),
        instance=href,
        resource=href,
        retry_after=retry_after(answer),
        locks=tuple(_description(lock, answer) for lock in answer.locks[:MAX_LOCKS_SHOWN]),
        queue_length=UNSET if answer.line is None or not answer.line.length else answer.line.length,
        position=UNSET if answer.line is None or answer.line.position is None else answer.line.position,
    )


def locked_detail(answer: LockedAnswer) -> str:
    """For a person: who is in the way, since when and until when, and what to do."""
    if answer.condition is Condition.NO_CONFLICTING_LOCK:
        outcome = "The lock you asked for was not granted."
    else:
        outcome = "Your change was not made."
    note = f"{answer.note} " if answer.note else ""
    line = _line_sentence(answer)
    if not answer.locks and not line:  # nobody is known, as of a database that does not tell
        return f"{note}{outcome} Try again soon."
    if not answer.locks:
        return f"{note}{line} {outcome} Try again soon, or wait in the line."
    said = f"{_holder_sentence(answer)} {line}" if line else _holder_sentence(answer)
    if all(lock.face is Face.COMMAND for lock in answer.locks):  # maintenance: nobody is to be asked to stop it
        return f"{note}{said} {outcome} Try again once it is over."
    return f"{note}{said} {outcome} Try again once it is released, or ask the holder to release it."


def _line_sentence(answer: LockedAnswer) -> str:
    """How the line stands, for a person; empty while nobody waits."""
    line = answer.line
    if line is None or not (line.length or line.is_full):
        return ""
    root = answer.resource.text
    others = line.length - (line.position is not None)
    next_up = "" if line.first is None else holder_text(line.first.principal, line.first.owner)
    if not answer.locks and next_up:
        said = f"{next_up} is next in line for {root}, and has not taken it yet."
    else:
        said = ""
    if line.position is not None:
        count = f"You are number {line.position} in the line"
        said = (
            f"{said} {count}, with {others} other{'' if others == 1 else 's'} waiting."
            if others
            else f"{said} {count}."
        )
    elif others:
        said = f"{said} {others} request{' waits' if others == 1 else 's wait'} in the line."
    return f"{said} The waiting line is full.".lstrip() if line.is_full else said.lstrip()


def _says_more(answer: LockedAnswer) -> bool:
    """True where the line has more to tell than the numbers beside the locks."""
    line = answer.line
    return not answer.locks or (line is not None and (line.position is not None or line.is_full))


def _line_element(line: Standing | None) -> str:
    if line is None or not line.length:
        return ""
    position = "" if line.position is None else f"<H:position>{line.position}</H:position>"
    return f'<H:queue xmlns:H="{HOLDFAST}"><H:length>{line.length}</H:length>{position}</H:queue>'


def _holder_sentence(answer: LockedAnswer) -> str:
    if not answer.locks:
        return _line_sentence(answer)
    lock = answer.locks[0]
    shown_now = answer.now + answer.wall_offset
    since = clock_text(lock.created_at + answer.wall_offset, shown_now)
    if lock.expires_at is None:
        until = "without a set end"
    else:
        renewal = "" if lock.face is Face.COMMAND else " unless renewed"
        until = f"until {clock_text(_rounded_up(lock.expires_at + answer.wall_offset), shown_now)}{renewal}"
    # Windows asks for depth infinity on a document, too, so the depth does not tell a collection.
    edits = lock.root == answer.resource and lock.face is Face.WEBDAV and not lock.root_href.endswith("/")
    verb = "is editing" if edits else "has locked"
    below = " and everything in it" if lock.depth is Depth.INFINITY and lock.root != answer.resource else ""
    program = program_name(lock.holder.client)
    tool = f" ({program})" if program else ""
    reason = f"; reason: {clean(lock.reason)}" if lock.reason else ""
    others = len(answer.locks) - 1
    more = f" {others} more lock{'s are' if others > 1 else ' is'} in the way." if others else ""
    holder = holder_text(lock.holder.name, lock.holder.owner)
    return f"{holder} {verb} {lock.root.text}{below}{tool} since {since}, {until}{reason}.{more}"


def _lock_element(lock: ContendingLock, offset: timedelta) -> str:
    expires_at = lock.expires_at
    until = "" if expires_at is None else f"<H:until>{iso_instant(_rounded_up(expires_at + offset))}</H:until>"
    owner = f"<H:owner>{escape(lock.holder.owner)}</H:owner>" if lock.holder.owner else ""
    reason = f"<H:reason>{escape(lock.reason)}</H:reason>" if lock.reason else ""
    return (
        f'<H:lock xmlns:H="{HOLDFAST}">'
        f"<D:href>{escape(lock.root_href)}</D:href><H:holder>{escape(lock.holder.name)}</H:holder>{owner}"
        f"<H:since>{iso_instant(lock.created_at + offset)}</H:since>{until}{reason}</H:lock>"
    )


def _description(lock: ContendingLock, answer: LockedAnswer) -> LockDescription:
    offset = answer.wall_offset
    expires_at = lock.expires_at
    return LockDescription(
        id=lock.id,
        root=lock.root_href,
        scope=lock.scope,
        depth=lock.depth,
        holder=lock.holder,
        reason=lock.reason,
        since=(lock.created_at + offset).replace(microsecond=0),
        expires_at=None if expires_at is None else _rounded_up(expires_at + offset),
        expires_in=None if expires_at is None else max(0, -((answer.now - expires_at) // _SECOND)),
        queue_length=lock.queue_length,
        url=_lock_url(lock, answer.links.lock) or UNSET,
    )


def _on_page(lock: ContendingLock, answer: LockedAnswer) -> LockedPageLock:
    shown_now = answer.now + answer.wall_offset
    since = lock.created_at + answer.wall_offset
    until = None if lock.expires_at is None else _rounded_up(lock.expires_at + answer.wall_offset)
    return LockedPageLock(
        page_href=_lock_url(lock, answer.links.page),
        holder=holder_text(lock.holder.name, lock.holder.owner),
        owner=clean(lock.holder.owner),
        program=program_name(lock.holder.client),
        root=lock.root.text,
        shared=lock.scope is LockScope.SHARED,
        whole_tree=lock.depth is Depth.INFINITY,
        edits=lock.face is Face.WEBDAV,
        renewable=lock.face is not Face.COMMAND,
        reason=clean(lock.reason, 500),
        since_text=clock_text(since, shown_now),
        since_iso=iso_instant(since),
        until_text="" if until is None else clock_text(until, shown_now),
        until_iso="" if until is None else iso_instant(until),
        seconds_left=None if lock.expires_at is None else max(0, -((answer.now - lock.expires_at) // _SECOND)),
        queue_length=lock.queue_length,
    )


def _rounded_up(instant: datetime) -> datetime:
    """To the next whole second, so that whoever waits until then does not come too early."""
    return (instant + _ALMOST_A_SECOND).replace(microsecond=0)


def _lock_url(lock: ContendingLock, below: str) -> str:
    """Its own address, or its place `below` those of all; empty where there is none."""
    if lock.url is not None:
        return lock.url
    return f"{below}{lock.id}" if below else ""  # an id is [A-Za-z0-9_-]+, so there is nothing to encode
