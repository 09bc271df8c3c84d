"""What deserves praise in a refusal as locked: rules G01 to G10.

Owns: the good notes, which take no points and give none. Must not know: what is wrong (see the other modules). A rule here
speaks only where the exchange itself shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, cast

from holdfast.client.details import LockedDetails
from holdfast.core.access import ANONYMOUS
from holdfast.inspector.davbody import error_elements, is_about_locks
from holdfast.inspector.davelements import SUBMITTED, conditions, hrefs, is_code
from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.rfc9110.accept import choose
from holdfast.wire.sentences import clean, holder_text
from holdfast.wire.xmlread import Element

_SECOND: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(days=1)
_SKEW: Final = timedelta(seconds=5)
_PROBLEM: Final = ("title", "detail")


@rule(
    "G01",
    Level.GOOD,
    "The refusal says who holds the lock",
    why="A person who knows the name can ask; otherwise all that is left is to wait or to make a copy.",
    mend="Name the lock's creator in a member or element of its own; what the client wrote as owner is a claim, and shown as one.",
    sources=[rfc(4918, "6.1"), rfc(4918, "14.17")],
)
def says_who(inspected: Inspected) -> Iterator[Finding]:
    """G01."""
    locked = _refusal(inspected)
    for lock in () if locked is None else locked.locks[:1]:
        name = "" if lock.holder == ANONYMOUS.name else lock.holder
        if name or lock.owner:
            yield Finding(f"It says who: {holder_text(name, lock.owner)}", "body")


@rule(
    "G02",
    Level.GOOD,
    "The refusal says since when the lock is held",
    why="A lock taken a minute ago is somebody at work; one of last week was probably forgotten, and may be broken.",
    mend="Tell when the lock was acquired, as an RFC 3339 date and time with its offset.",
    sources=[rfc(3339, "5.6")],
)
def says_since(inspected: Inspected) -> Iterator[Finding]:
    """G02."""
    locked = _refusal(inspected)
    if locked is not None and locked.since is not None:
        yield Finding(f"It says since when: {_shown(locked.since)}", "body")


@rule(
    "G03",
    Level.GOOD,
    "The refusal says until when the lock is held",
    why="A client can decide whether waiting is worth it, and a person when to come back.",
    mend="Tell when the lock ends unless it is refreshed, as an RFC 3339 date and time, or the seconds that are left.",
    sources=[rfc(4918, "6.6"), rfc(3339, "5.6")],
)
def says_until(inspected: Inspected) -> Iterator[Finding]:
    """G03."""
    locked = _refusal(inspected)
    if locked is None:
        return
    if locked.until is not None:
        yield Finding(f"It says until when: {_shown(locked.until)}", "body")
    elif locked.remaining is not None:
        yield Finding(f"It says for how long: {locked.remaining:.0f} seconds", "body")


@rule(
    "G04",
    Level.GOOD,
    "The refusal says when to try again",
    why="Clients that wait do not have to guess: they neither hammer the server nor sleep through the lock's end.",
    mend="Send Retry-After in seconds, counted to the earliest moment at which trying again can help, at least 1.",
    sources=[rfc(9110, "10.2.3")],
)
def says_when_to_retry(inspected: Inspected) -> Iterator[Finding]:
    """G04."""
    wait, left = inspected.retry_after, _left(inspected)
    if inspected.status != 423 or wait is None or not _SECOND <= wait <= _LONGEST:
        return
    if left is None or wait <= left + _SKEW:
        yield Finding(f"It says when to try again: in {wait // _SECOND} seconds", "field Retry-After")


@rule(
    "G05",
    Level.GOOD,
    "The DAV:error has the right code, with the href of what is locked",
    why="A WebDAV client knows what to do (send its token, or tell of the other's lock), and where to discover the lock.",
    mend="Answer a write with lock-token-submitted and LOCK with no-conflicting-lock, the href of the lock root in it.",
    sources=[rfc(4918, "16"), rfc(4918, "11.3")],
)
def has_code_and_href(inspected: Inspected) -> Iterator[Finding]:
    """G05. Which code is right cannot be told without the method; where it is known, L05 does."""
    if not is_about_locks(inspected):
        return
    for error, member in error_elements(inspected):
        if member is not None and member.status != 423:
            continue
        for code in conditions(error):
            if is_code(code) and hrefs(code) and _fits(code, inspected.method):
                yield Finding(f"{code.name} names {clean(hrefs(code)[0], 120)}", "body")
                return


@rule(
    "G06",
    Level.GOOD,
    "No cache keeps the refusal",
    why="A lock ends at any moment; a stored 423 would go on telling people that the document is locked.",
    mend="Send Cache-Control: no-store with every 423.",
    sources=[rfc(9111, "5.2.2.5")],
)
def is_not_stored(inspected: Inspected) -> Iterator[Finding]:
    """G06."""
    said = (inspected.response.field("cache-control") or "").lower()
    if inspected.status == 423 and "no-store" in {part.strip() for part in said.split(",")}:
        yield Finding("Cache-Control: no-store keeps the 423 out of every cache", "field Cache-Control")


@rule(
    "G07",
    Level.GOOD,
    "Retry-After and the lock's end agree",
    why="Whoever waits as told comes back when the lock may be gone, and not long after its end.",
    mend="Compute both from the same lock and the same clock; do not ask for a longer wait than the lock has left.",
    sources=[rfc(9110, "10.2.3"), rfc(4918, "6.6")],
)
def retry_agrees_with_end(inspected: Inspected) -> Iterator[Finding]:
    """G07."""
    wait, left = inspected.retry_after, _left(inspected)
    if inspected.status != 423 or wait is None or left is None:
        return
    if _SECOND <= wait <= left + _SKEW:
        yield Finding(
            f"Retry-After ({wait // _SECOND} s) agrees with what the lock has left ({left // _SECOND} s)",
            "field Retry-After",
        )


@rule(
    "G08",
    Level.GOOD,
    "Problem details are complete: an absolute type of its own, title, status and detail",
    why="Programs recognise the problem by its type, people read its detail, and logs that keep only the body still know the status.",
    mend="Send type (an absolute URI of your own), title, status and detail, and the facts as extension members.",
    sources=[rfc(9457, "3.1"), rfc(9457, "3.2")],
)
def problem_is_complete(inspected: Inspected) -> Iterator[Finding]:
    """G08."""
    if not inspected.is_problem or not inspected.has_content or not isinstance(inspected.json, dict):
        return
    problem = cast("dict[str, Any]", inspected.json)
    kind = problem.get("type")
    if not isinstance(kind, str) or ":" not in kind.partition("/")[0] or kind == "about:blank":
        return
    if problem.get("status") == inspected.status and all(_is_text(problem.get(name)) for name in _PROBLEM):
        extra = len(set(problem) - {"type", "status", "instance", *_PROBLEM})
        more = f" and {extra} extension member{'' if extra == 1 else 's'}" if extra else ""
        yield Finding(f"The problem has type, title, status, detail{more}", "body")


@rule(
    "G09",
    Level.GOOD,
    "The refusal comes in the form that was asked for, and says that there are others",
    why="A browser gets a page, a WebDAV client XML, a program JSON, and caches know that they are not the same.",
    mend="Choose the body by Accept, and send Vary: Accept.",
    sources=[rfc(9110, "12.5.1"), rfc(9110, "12.5.5")],
)
def form_is_negotiated(inspected: Inspected) -> Iterator[Finding]:
    """G09."""
    accept = inspected.exchange.requested("accept")
    media_type = inspected.response.media_type
    varies = {part.strip().lower() for part in (inspected.response.field("vary") or "").split(",")}
    if inspected.status < 400 or not media_type or "accept" not in varies:
        return
    if accept and accept.strip() != "*/*" and choose(accept, [media_type]) is not None:
        yield Finding(f"The refusal is {clean(media_type, 60)}, as Accept asks, and says Vary: Accept", "field Vary")
    elif not accept and inspected.method in WEBDAV_METHODS and inspected.is_xml:
        yield Finding(
            f"{inspected.method} is refused in XML without asking for it, and Vary names Accept", "field Vary"
        )


@rule(
    "G10",
    Level.GOOD,
    "The refusal links to more: the lock itself, or a page that explains it",
    why="A client can follow the lock, wait for it or show it, without knowing this server's addresses beforehand.",
    mend='Send Link: </locks/7>; rel="describedby", </problems/locked>; rel="help".',
    sources=[rfc(8288, "3")],
)
def links_to_more(inspected: Inspected) -> Iterator[Finding]:
    """G10."""
    link = inspected.response.field("link") or ""
    found = [name for name in ("describedby", "help", "monitor") if _has_relation(link, name)]
    if inspected.status == 423 and found:
        yield Finding(f"Link leads to more: {', '.join(found)}", "field Link")


def _fits(code: Element, method: str) -> bool:
    """True where nothing speaks against the code: both may be right for MOVE, and where the method is not known."""
    return method in {"MOVE", ""} or (code.name == SUBMITTED) == (method != "LOCK")


def _refusal(inspected: Inspected) -> LockedDetails | None:
    return inspected.locked if is_about_locks(inspected) else None


def _left(inspected: Inspected) -> timedelta | None:
    """How long the locks last from the answer on; None where it does not say."""
    locked = inspected.locked
    if locked is None:
        return None
    if locked.remaining is not None:
        return timedelta(seconds=min(max(locked.remaining, 0.0), 1e9))
    if locked.until is None or locked.until.tzinfo is None:
        return None
    return locked.until - (inspected.date or inspected.now)


def _shown(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _has_relation(link: str, name: str) -> bool:
    """True where a Link field has this relation type, quoted or not."""
    words = link[:8192].lower().replace('"', " ").replace(";", " ").replace(",", " ").replace("rel=", " rel= ").split()
    return name in words and "rel=" in words
