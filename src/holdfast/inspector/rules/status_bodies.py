"""Rules about the body that a status has or has not, about what caches make of an error, and about codes that nobody knows.

Owns: R16 to R25. What is registered, has content and may be kept on a guess is told by `wire.statuses`. Must not know: 423, whose body
has rules of its own (L, P, H05).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.inspector.caching import is_reusable, storing
from holdfast.inspector.exchange import ReceivedResponse
from holdfast.inspector.inspected import Inspected, Unreadable
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.davxml import DAV
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, status_info
from holdfast.wire.xmlread import Element

__all__: list[str] = []

_LONGEST_TEXT: Final = 65_536
_STATUS_LINE: Final = re.compile(r"HTTP/[0-9](?:\.[0-9])? [1-5][0-9]{2}(?: .*)?", re.DOTALL)
_LOGIN_FORM: Final = re.compile(rb"<form\b|type\s*=\s*[\"']?password", re.IGNORECASE)
_LINK: Final = re.compile(rb"https?://|href\s*=", re.IGNORECASE)
# Errors that tell of a moment: the next request may fare otherwise.
_PASSING: Final = frozenset(
    {401, 403, 407, 408, 409, 412, 416, 417, 421, 422, 424, 425, 428, 429, 431, 500, 502, 503, 504, 507, 511}
)
_XML_TYPES: Final = frozenset({"application/xml", "text/xml"})
_OVER_LIMITS: Final = ("the XML is longer than", "the XML has more than", "the XML has too many", "the XML must be in")


@rule(
    "R16",
    Level.BAD,
    "An answer that has no content sends none",
    why="A client stops reading after the head of a 1xx, 204 or 304, and takes whatever follows on the connection for the next answer.",
    mend="Send neither a body nor Content-Length (but with 304 and 205) nor Transfer-Encoding; where there is something to say, send 200.",
    sources=[rfc(9110, "6.4.1"), rfc(9110, "8.6"), rfc(9110, "15.3.6"), rfc(9112, "6.1")],
)
def no_content(inspected: Inspected) -> Iterator[Finding]:
    """Of 1xx (the interim ones too), 204, 205 and 304: no body, and no field that announces one."""
    for response in (*inspected.exchange.interim, inspected.response):
        status = response.status
        if FIRST_CODE <= status <= LAST_CODE and not status_info(status).has_content:
            yield from _announced_content(response)


def _announced_content(response: ReceivedResponse) -> Iterator[Finding]:
    status = response.status
    length = response.field("content-length")
    if response.body:
        yield Finding(f"A {status} has no body, but {len(response.body)} bytes follow", "body")
    if status == 304:
        return  # it may repeat the length that a 200 would have had
    if length is not None and status == 205:
        if length.strip("0"):
            yield Finding(f"A 205 has no content, but Content-Length says {length[:20]}", "field Content-Length")
    elif length is not None:
        level = Level.WARN if not length.strip("0") else None
        yield Finding(f"A {status} must not have Content-Length", "field Content-Length", level)
    if response.has("transfer-encoding") and status != 205:
        yield Finding(f"A {status} must not have Transfer-Encoding", "field Transfer-Encoding")


@rule(
    "R17",
    Level.BAD,
    "The body of a 207 is a whole DAV:multistatus",
    why="The status says only that the body says it. Where that cannot be read, a client does not know what was done and what was not.",
    mend="Send application/xml with DAV:multistatus; each DAV:response has an href, and either a status or propstats, each of these with "
    "a prop and a status such as `HTTP/1.1 423 Locked`.",
    sources=[rfc(4918, "13"), rfc(4918, "14.16"), rfc(4918, "14.24"), rfc(4918, "14.22"), rfc(4918, "8.2")],
)
def multistatus(inspected: Inspected) -> Iterator[Finding]:
    """Readable, rooted in DAV:multistatus, each response complete."""
    response = inspected.response
    if inspected.status != 207 or inspected.method == "HEAD" or not (response.body_is_known and response.body_is_whole):
        return
    media_type = response.media_type
    if media_type not in _XML_TYPES and not media_type.endswith("+xml"):
        yield Finding(
            f"The Content-Type of a 207 is {media_type or 'missing'}, not application/xml",
            "field Content-Type",
            Level.WARN,
        )
        if media_type.endswith("json"):
            return  # an API's own form, which uses the code without WebDAV
    if (response.field("content-encoding") or "identity").strip().lower() != "identity":
        return
    root = inspected.xml
    if isinstance(root, Unreadable):
        if not root.reason.startswith(_OVER_LIMITS):
            yield Finding(f"The body of the 207 cannot be read: {root.reason}", "body")
        return
    if (root.namespace, root.name) != (DAV, "multistatus"):
        yield Finding(f"The root of a 207 is DAV:multistatus, not {root.name[:40]}", "body")
        return
    for item in root.elements():
        if (item.namespace, item.name) == (DAV, "response"):
            fault = _response_fault(item)
            if fault:
                yield Finding(fault, "body")
                return


def _response_fault(response: Element) -> str:
    """What is wrong with one DAV:response; empty where nothing is."""
    hrefs, statuses, propstats = (_named(response, name) for name in ("href", "status", "propstat"))
    named = hrefs[0].text().strip()[:80] if hrefs else ""
    if not named:
        return "A DAV:response has no href: it does not say which resource it is about"
    if statuses and propstats:
        return f"The response about {named} has both a status and propstats"
    if not statuses and not propstats:
        return f"The response about {named} has neither a status nor a propstat"
    for propstat in propstats:
        own = _named(propstat, "status")
        if not own or not _named(propstat, "prop"):
            return f"A propstat about {named} lacks its {'prop' if own else 'status'}"
        statuses = [*statuses, *own]
    wrong = next((line for line in statuses if not _STATUS_LINE.fullmatch(line.text().strip())), None)
    return "" if wrong is None else f"A status about {named} is no status line: “{wrong.text().strip()[:40]}”."


def _named(parent: Element, name: str) -> list[Element]:
    return [item for item in parent.elements() if item.namespace == DAV and item.name == name]


@rule(
    "R18",
    Level.WARN,
    "A 428 answers an unconditional write, and says how to send it",
    why="The client has to fetch the version and send If-Match. One that is not told sees only that saving fails; one that did send a "
    "condition cannot do anything.",
    mend="Explain in the body that the request needs If-Match with the current ETag. Where the condition sent was false, answer 412.",
    sources=[rfc(6585, "3")],
)
def precondition_required(inspected: Inspected) -> Iterator[Finding]:
    """To a request without If-Match and If-Unmodified-Since; with a body."""
    if inspected.status != 428:
        return
    request = inspected.request
    if request is not None and (request.has("if-match") or request.has("if-unmodified-since")):
        yield Finding("The request was conditional already", "status")
    if _is_known_empty(inspected):
        yield Finding("The 428 does not explain how to send the request so that it succeeds", "body")


@rule(
    "R19",
    Level.WARN,
    "A 511 links to the login, and is not the login",
    why="It comes from the network in the place of any site. A login form or a challenge in it would make clients send credentials for "
    "the network to what they take for that site.",
    mend="Send a short page with a link to the login page of the network, without a form and without WWW-Authenticate.",
    sources=[rfc(6585, "6")],
)
def network_login(inspected: Inspected) -> Iterator[Finding]:
    """A link, no form, no challenge."""
    response = inspected.response
    if inspected.status != 511:
        return
    if response.has("www-authenticate"):
        yield Finding("A 511 does not challenge for credentials (WWW-Authenticate)", "field WWW-Authenticate")
    if inspected.method == "HEAD" or not (response.body_is_known and response.body_is_whole):
        return
    body = response.body[:_LONGEST_TEXT]
    if _LOGIN_FORM.search(body):
        yield Finding("The 511 holds the login form itself", "body")
    elif not _LINK.search(body) and not response.has("link"):
        yield Finding("The 511 does not link to where one can log in", "body")


@rule(
    "R20",
    Level.WARN,
    "424 and 507 say what a client can do",
    why="A 424 follows from another failure, and is of use only beside it. A 507 must not be repeated before somebody asks for it: "
    "with Retry-After programs fill what little room there is.",
    mend="Name in the body of a 424 which resource failed and why, or send a 207 with both. Send a 507 without Retry-After.",
    sources=[rfc(4918, "11.4"), rfc(4918, "11.5"), rfc(4918, "9.6.1")],
)
def dependency_and_storage(inspected: Inspected) -> Iterator[Finding]:
    """A 424 that says nothing; a 507 with Retry-After, or to a method that stores nothing."""
    if inspected.status == 424 and _is_known_empty(inspected):
        yield Finding("The 424 does not say which other action failed", "body")
    if inspected.status == 507:
        if inspected.response.has("retry-after"):
            yield Finding("A 507 must not be repeated by itself, but Retry-After asks for that", "field Retry-After")
        if inspected.method in {"GET", "HEAD", "OPTIONS"}:
            yield Finding(f"{inspected.method} stores nothing, so there is no lack of room for it", "status")


@rule(
    "R21",
    Level.WARN,
    "An error that passes is not given to caches",
    why="While the copy is fresh, everybody behind that cache goes on seeing the error, after it is mended or after they have logged in.",
    mend="Send `Cache-Control: no-store` with it. For 404 and 410 a short max-age is fine.",
    sources=[rfc(9111, "3"), rfc(9111, "4.2.1"), rfc(6585, "4")],
)
def kept_error(inspected: Inspected) -> Iterator[Finding]:
    """Freshness on a passing error to GET or HEAD, or where the method is not known."""
    if inspected.status not in _PASSING:
        return
    shared, private = storing(inspected, is_shared=True), storing(inspected, is_shared=False)
    if not (is_reusable(shared) or is_reusable(private)):
        return
    verdict = private if is_reusable(private) else shared
    whose = "Any cache" if is_reusable(shared) else "A browser's cache"
    long = "as long as it guesses" if verdict.reuse_s is None else f"for {verdict.reuse_s:.0f} s"
    level = None if inspected.method else Level.INFO
    asked = "" if inspected.method else ", if this answers a GET"
    yield Finding(f"{whose} may go on answering {inspected.status} {long}{asked}", "field Cache-Control", level)


@rule(
    "R22",
    Level.INFO,
    "An error that caches may keep on a guess says for how long",
    why="404, 405, 410, 414 and 501 may be kept without a word from the server. A page that exists now can stay missing for some people, "
    "and a method can stay refused.",
    mend="Send `Cache-Control: no-store`, or the max-age that suits you.",
    sources=[rfc(9110, "15.1"), rfc(9111, "4.2.2")],
)
def guessed_error(inspected: Inspected) -> Iterator[Finding]:
    """Such an error to GET or HEAD, without Cache-Control, Expires and anything else that would keep caches from guessing."""
    if inspected.status < 400 or inspected.method not in {"GET", "HEAD"}:
        return
    verdict = storing(inspected, is_shared=False)
    if verdict.may_store and verdict.reuse_s is None and status_info(inspected.status).is_heuristically_cacheable:
        yield Finding(f"Caches may keep this {inspected.status} for as long as they guess", "field Cache-Control")


@rule(
    "R23",
    Level.INFO,
    "The status is one that others know",
    why="A client treats a code that it does not know as the x00 of its class: what was meant is lost, while what a registered code "
    "means may be taken for something else when one day it is assigned. Outside of 100 to 599 many do not answer for what they do.",
    mend="Choose a registered code, and tell the rest in the body (problem details).",
    sources=[rfc(9110, "15"), rfc(9110, "16.2.2"), rfc(9110, "15.4.6"), rfc(9110, "15.4.7")],
)
def unknown_status(inspected: Inspected) -> Iterator[Finding]:
    """Codes that are out of range, not assigned, reserved, or deprecated."""
    status = inspected.status
    if not FIRST_CODE <= status <= LAST_CODE:
        yield Finding(f"{status} is no HTTP status: they go from 100 to 599", "status", Level.BAD)
    elif status == 305:
        yield Finding("305 (Use Proxy) is deprecated: clients do not follow it", "status", Level.WARN)
    elif not status_info(status).is_registered:
        yield Finding(f"{status} is not registered: clients treat it as {status // 100}00", "status")


@rule(
    "R24",
    Level.BAD,
    "A 1xx is followed by a final answer",
    why="A client that has read an interim answer goes on waiting for the final one, until somebody gives up.",
    mend="Send the final status after it; to say that all is well send 200 or 204.",
    sources=[rfc(9110, "15.2"), rfc(9110, "15.2.1")],
)
def interim_at_the_end(inspected: Inspected) -> Iterator[Finding]:
    """1xx but 101 as the last answer."""
    if FIRST_CODE <= inspected.status < 200 and inspected.status != 101:
        yield Finding(f"{inspected.status} is an interim answer, and no other follows", "status")


@rule(
    "R25",
    Level.INFO,
    "An error explains itself",
    why="Without a body nobody learns what is wrong and whether it will last: people see a blank page, developers a number.",
    mend="Send a short explanation in a form that the client accepts; application/problem+json serves programs and people.",
    sources=[rfc(9110, "15.5"), rfc(9110, "15.6"), rfc(9457, "3")],
)
def unexplained(inspected: Inspected) -> Iterator[Finding]:
    """A 4xx or 5xx without a body, but to HEAD. 423, 424 and 428 have rules of their own for it."""
    if 400 <= inspected.status <= LAST_CODE and inspected.status not in {423, 424, 428} and _is_known_empty(inspected):
        yield Finding(f"The {inspected.status} has no body that explains it", "body")


def _is_known_empty(inspected: Inspected) -> bool:
    """True where the answer may have a body, and is known to have none. Of a pasted response that may be left out."""
    response = inspected.response
    if inspected.request is None or inspected.method in {"HEAD", "CONNECT"}:
        return False
    return response.body_is_known and response.body_is_whole and not response.body
