"""Rules about meaning: whether 423 is the right answer, and what a refusal tells a person.

Owns: S01 to S09, as far as one exchange shows them. S02 sees only conditions that can never hold, S05 only that a token is shown, not
that it is accepted from others; whether a refused operation took effect all the same (S10) takes another request: these are probes.
Must not know: any server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.client.details import LockedDetails
from holdfast.core.conditions import NO_LOCK, TokenCondition
from holdfast.core.paths import ROOT
from holdfast.inspector.inspected import Inspected, Unreadable
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.davxml import DAV
from holdfast.wire.if_header import IfSyntaxError, parse_if
from holdfast.wire.xmlread import Element

__all__: list[str] = []

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE"})
_CREDENTIALS: Final = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-auth-token",
    "x-shopify-access-token",
)
_LOCK_CONDITIONS: Final = frozenset({"lock-token-submitted", "no-conflicting-lock"})
_SABRE: Final = "http://sabredav.org/ns"
_LONGEST_TEXT: Final = 8192

_MARKUP: Final = re.compile(r"<[^<>]{0,500}>")
_CONFLICT: Final = re.compile(
    r"\b(?:has been (?:modified|changed|updated)|was (?:modified|changed|updated) (?:by|since)|"
    r"versions? (?:mismatch|conflict)|stale (?:version|etag|object)|etag mismatch|edit conflict|optimistic lock)",
    re.IGNORECASE,
)
_OUTAGE: Final = re.compile(
    r"\b(?:(?:service|server|system|site) (?:is )?(?:temporarily )?(?:unavailable|down|offline|overloaded)|"
    r"(?:down|closed|offline) for maintenance|maintenance mode|under maintenance)",
    re.IGNORECASE,
)
_TOO_OFTEN: Final = re.compile(
    r"\b(?:too many requests|rate limit(?:ed)?\b|quota exceeded|throttl(?:ed|ing))", re.IGNORECASE
)
_ACCOUNT: Final = re.compile(
    r"\b(?:(?:account|user|login) (?:is |has been )?(?:temporarily )?locked|too many (?:failed )?(?:login|password|sign-in) attempts)",
    re.IGNORECASE,
)
_MISUSES: Final = (
    (_CONFLICT, "an edit that came in between", "412, or 409"),
    (_TOO_OFTEN, "too many requests", "429"),
    (_ACCOUNT, "an account that is locked", "403, or 401"),
    (_OUTAGE, "the whole service being out", "503"),
)


@rule(
    "S01",
    Level.WARN,
    "A lock does not stop reading",
    why="WebDAV's lock is a write lock: anybody may go on reading. A client that is refused a GET or a PROPFIND can neither show the "
    "resource nor find out who holds it. ASP.NET answers 423 where a session's state is held for exclusive use, a protocol of its own.",
    mend="Serve reads while a lock is held. Where reading itself is barred, say why with 403, or 503 with Retry-After.",
    sources=[rfc(4918, "7"), rfc(4918, "11.3")],
)
def read_refused(inspected: Inspected) -> Iterator[Finding]:
    """423 to a method that only reads."""
    if inspected.status == 423 and inspected.method in _READS:
        yield Finding(f"{inspected.method} was refused with 423, though a write lock does not stop reads", "status")


@rule(
    "S02",
    Level.BAD,
    "A false If header is answered 412, before any lock is looked at",
    why="A client reads 412 as “what you believed is no longer so” and looks again; 423 as “someone else has it” and waits. "
    "The wrong one sends it the wrong way.",
    mend="Evaluate the If header first: 412 where no list of it holds, and only then ask whether a token is missing.",
    sources=[rfc(4918, "10.4.3"), rfc(4918, "10.4.8"), rfc(4918, "12.1")],
)
def false_condition(inspected: Inspected) -> Iterator[Finding]:
    """Fires where each list asks for DAV:no-lock, which never matches: so much is known without the server's state."""
    text = inspected.exchange.requested("if")
    if inspected.status != 423 or text is None:
        return
    try:
        header = parse_if(text, ROOT, lambda _: ROOT)
    except IfSyntaxError:
        return
    if all(TokenCondition(NO_LOCK) in item.conditions for item in header.lists):
        yield Finding("Every list of the If header asks for DAV:no-lock, which never matches: 412, not 423", "status")


@rule(
    "S03",
    Level.WARN,
    "A lock in the way is answered 423",
    why="Clients look at the status: under 403 they ask for other credentials, under 409 and 412 they report a conflict, under 500 and "
    "503 they blame the server. None of them says that someone else is editing.",
    mend="Answer 423 wherever the reason is a lock; the DAV:error in the body stays as it is.",
    sources=[rfc(4918, "11.3"), rfc(4918, "16.3"), rfc(4918, "16.4")],
)
def other_status(inspected: Inspected) -> Iterator[Finding]:
    """Another refusal whose body says with WebDAV's own words that a lock is in the way."""
    if inspected.status < 400 or inspected.status in {423, 424}:
        return
    said = _lock_condition(inspected)
    if said:
        yield Finding(f"The body says {said}, but the status is {inspected.status}", "status")


def _lock_condition(inspected: Inspected) -> str:
    """The element of a DAV:error that tells of a lock; empty where there is none."""
    root = inspected.xml if inspected.is_xml else None
    if not isinstance(root, Element) or (root.namespace, root.name) != (DAV, "error"):
        return ""
    for item in root.elements():
        if item.namespace == DAV and item.name in _LOCK_CONDITIONS:
            return f"DAV:{item.name}"
        if item.namespace == _SABRE and item.name == "exception" and item.text().strip().endswith("Locked"):
            return "FileLocked" if "FileLocked" in item.text() else "Locked"
    return ""


@rule(
    "S04",
    Level.WARN,
    "Who is asking is settled before locks are",
    why="A 423 to somebody unknown tells that the resource exists, and often who is at work on it. A client that is then asked for "
    "credentials has to send everything again.",
    mend="Answer 401 first, then 403 where the principal may not write, and 412 and 423 after them.",
    sources=[rfc(9110, "13.2.1"), rfc(4918, "10.6"), rfc(4918, "20.4")],
)
def before_authentication(inspected: Inspected) -> Iterator[Finding]:
    """A 423 that offers ways to authenticate, or tells a holder to a request without any credentials that can be seen."""
    if inspected.status != 423:
        return
    request = inspected.request
    is_anonymous = request is not None and not any(request.has(name) for name in _CREDENTIALS)
    if inspected.response.has("www-authenticate"):
        yield Finding("The 423 asks for credentials (WWW-Authenticate): that is a 401, and comes first", "status")
    elif is_anonymous and inspected.locked is not None and inspected.locked.holder:
        yield Finding(
            "The request had no credentials that show, and the answer names who holds the lock", "body", Level.INFO
        )


@rule(
    "S05",
    Level.INFO,
    "A refusal does not show the lock's token",
    why="A token is not enough to write, for the server must check who sends it. Servers have been found that do not, and there "
    "whoever reads the token in a refusal can write over the holder's work. Whether this one does is a probe's question.",
    mend="Leave DAV:locktoken out of refusals, and out of lockdiscovery for others than the lock's creator.",
    sources=[rfc(4918, "6.4"), rfc(4918, "20.4")],
)
def shown_token(inspected: Inspected) -> Iterator[Finding]:
    """A DAV:locktoken in the body of a 423 that the request did not send itself."""
    root = inspected.xml if inspected.status == 423 and inspected.is_xml else None
    if root is None or isinstance(root, Unreadable):
        return
    sent = " ".join(inspected.exchange.requested(name) or "" for name in ("if", "lock-token"))
    for element in _below(root):
        if (element.namespace, element.name) != (DAV, "locktoken"):
            continue
        token = element.text().strip()
        if token and token not in sent:
            yield Finding("The body shows the token of the lock that is in the way", "body")
            return


@rule(
    "S06",
    Level.INFO,
    "Who holds a lock is told by the server, not by the holder's own text",
    why="DAV:owner is whatever the client wrote when it took the lock: every Mac writes the same URL, and nobody checks it. Shown as a "
    "name it lets anybody pose as anyone.",
    mend="Add the authenticated name in an element or member of its own, and show the owner's text as what the client claims.",
    sources=[rfc(4918, "14.17"), rfc(4918, "20.4")],
)
def claimed_owner(inspected: Inspected) -> Iterator[Finding]:
    """A 423 that tells an owner's text, and no holder."""
    locked = inspected.locked
    if inspected.status == 423 and locked is not None:
        lock = next((lock for lock in locked.locks if lock.owner and not lock.holder), None)
        if lock is not None and not any(other.holder for other in locked.locks):
            yield Finding(f"All that is said of the holder is the client's own text: {_quoted(lock.owner)}", "body")


@rule(
    "S07",
    Level.INFO,
    "A refusal tells who, since when, until when, and how to wait",
    why="Whoever meets a 423 wants to know whom to ask and whether waiting is worth it. Where the answer does not say, people ask "
    "around, restart things, or delete locks by hand.",
    mend="Name the holder, since when and until when in the body, and send Retry-After. Problem details with members of their own do.",
    sources=[rfc(4918, "11.3"), rfc(9457, "3.2"), rfc(9110, "15.5")],
)
def untold(inspected: Inspected) -> Iterator[Finding]:
    """Which of the four a 423 leaves out. A page may tell them in any words, so pages are not judged."""
    response = inspected.response
    if inspected.status != 423 or inspected.method == "HEAD" or response.media_type == "text/html":
        return
    if not (response.body_is_known and response.body_is_whole):
        return
    missing = _untold(inspected.locked)
    if missing:
        yield Finding(f"It is not told {_listed(missing)}", "body")


def _untold(locked: LockedDetails | None) -> list[str]:
    if locked is None:
        return ["who holds the lock", "since when", "until when", "how long to wait"]
    ends = locked.until is not None or locked.remaining is not None or locked.endless
    told = {
        "who holds the lock": bool(locked.holder),
        "since when": locked.since is not None,
        "until when": ends,
        "how long to wait": locked.retry_after is not None or locked.endless,
    }
    return [what for what, is_told in told.items() if not is_told]


@rule(
    "S08",
    Level.WARN,
    "423 is said of a lock on the resource, and of nothing else",
    why="Clients that meet a 423 look for a holder and wait for the lock to end. Where there is none they wait in vain: an edit that "
    "came in between needs a merge, an outage needs patience with the whole server, a limit needs fewer requests.",
    mend="Answer 412 or 409 for an edit in between, 429 for a limit, 503 with Retry-After for an outage, 403 for a locked account.",
    sources=[rfc(4918, "11.3"), rfc(9110, "15.5.13"), rfc(9110, "15.5.10"), rfc(9110, "15.6.4"), rfc(6585, "4")],
)
def not_a_lock(inspected: Inspected) -> Iterator[Finding]:
    """A 423 that tells of no lock, and whose words tell of something else."""
    if inspected.status != 423:
        return
    locked = inspected.locked
    if locked is not None and (locked.locks or _lock_condition(inspected)):
        return
    text = _words(inspected)
    for pattern, reason, status in _MISUSES:
        found = pattern.search(text)
        if found is not None:
            yield Finding(f"The body speaks of {reason} (“{found[0]}”): that is {status}", "status")
            return


@rule(
    "S09",
    Level.WARN,
    "A refusal that does not wait for the body closes the connection in order",
    why="The client is still sending. Where the server neither reads on nor says that it closes, the rest of the body meets a closed "
    "socket, the client reports a reset, and the refusal is never read.",
    mend="Read the body to its end, or send `Connection: close` and go on reading for a while before closing. A client that sends "
    "`Expect: 100-continue` can be refused before its body.",
    sources=[rfc(9110, "10.1.1"), rfc(9112, "9.6"), rfc(9110, "7.5")],
)
def early_refusal(inspected: Inspected) -> Iterator[Finding]:
    """A refusal that came before the body was sent, over HTTP/1, without Connection: close and without Expect."""
    exchange = inspected.exchange
    response = inspected.response
    if exchange.body_was_sent is not False or inspected.status < 400 or response.version not in {"1.0", "1.1"}:
        return
    expected = (exchange.requested("expect") or "").lower() == "100-continue"
    asked_for_body = any(interim.status == 100 for interim in exchange.interim)
    if expected and not asked_for_body:
        return
    options = {option.strip().lower() for option in (response.field("connection") or "").split(",")}
    if "close" not in options:
        yield Finding(
            "The refusal came before the body was sent, and does not say that the connection closes",
            "field Connection",
        )


def _below(root: Element) -> Iterator[Element]:
    """The element and all below it, in no particular order."""
    todo = [root]
    while todo:
        element = todo.pop()
        yield element
        todo.extend(element.elements())


def _words(inspected: Inspected) -> str:
    """What the body says to people; markup is left out."""
    text = inspected.response.body[:_LONGEST_TEXT].decode("utf-8", "replace")
    return " ".join(_MARKUP.sub(" ", text).replace("_", " ").replace("-", " ").split())


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _quoted(text: str) -> str:
    shown = text if len(text) <= 60 else text[:59] + "…"
    return f"“{shown}”"
