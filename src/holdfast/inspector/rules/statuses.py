"""Rules about the fields that a status must or should come with, from the table in `wire.statuses`.

Owns: R01 to R14. What bodies and caches have to do with a status is in `status_bodies`. Must not know: requirements of its own; where
the table says when a field is needed, a rule fires only where the exchange shows that this is so. A reason phrase that differs from
IANA's is never wrong (RFC 9112 section 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.davxml import DAV
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, Requirement, StatusField, status_info
from holdfast.wire.xmlread import Element

__all__: list[str] = []

_HOPS: Final = frozenset({"1.0", "1.1"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OWN_RULES: Final = frozenset({101, 206, 207, 304, 401, 405, 407, 415, 416, 426, 451}) | _REDIRECTS
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_OTHER_UNIT: Final = re.compile(r"(?!bytes )[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+", re.IGNORECASE)
_UNSATISFIED: Final = re.compile(r"bytes \*/[0-9]+")
_BLOCKED_BY: Final = re.compile(
    r"\brel\s{0,5}=\s{0,5}(?:\"(?:[^\"]*\s)?blocked-by(?:\s[^\"]*)?\"|blocked-by(?![^\s;,]))", re.IGNORECASE
)


def _lacking(inspected: Inspected) -> Iterator[StatusField]:
    """The fields that this status always must or should have, and that were not sent or are empty where empty means nothing."""
    if not FIRST_CODE <= inspected.status <= LAST_CODE:
        return
    for wanted in status_info(inspected.status).fields:
        if wanted.when or wanted.requirement is Requirement.MAY:
            continue
        if not inspected.response.field(wanted.name) and not (
            wanted.name == "Allow" and inspected.response.has("Allow")
        ):
            yield wanted


def _told(inspected: Inspected, wanted: StatusField) -> Finding:
    word = "must" if wanted.requirement is Requirement.MUST else "should"
    return Finding(f"A {inspected.status} {word} have {wanted.name} ({wanted.source})", f"field {wanted.name}")


def _with_status(inspected: Inspected, status: int) -> Iterator[Finding]:
    if inspected.status == status:
        for wanted in _lacking(inspected):
            yield _told(inspected, wanted)


@rule(
    "R01",
    Level.BAD,
    "A 401 says how to authenticate",
    why="Without WWW-Authenticate a client does not know which credentials are wanted: browsers show no login, WebDAV clients report "
    "that access is denied.",
    mend='Send `WWW-Authenticate: Basic realm="…"`, or another scheme, with every 401; where no login helps, answer 403.',
    sources=[rfc(9110, "15.5.2"), rfc(9110, "11.6.1")],
)
def unauthorized(inspected: Inspected) -> Iterator[Finding]:
    """WWW-Authenticate."""
    yield from _with_status(inspected, 401)


@rule(
    "R02",
    Level.BAD,
    "A 405 lists the methods that are allowed",
    why="Clients learn from Allow what the resource can do. Without it they cannot tell a read-only server from a wrong address.",
    mend="Send Allow with the methods that work for this resource now, and without the one that was refused; an empty one says none.",
    sources=[rfc(9110, "15.5.6"), rfc(9110, "10.2.1")],
)
def method_not_allowed(inspected: Inspected) -> Iterator[Finding]:
    """Allow, and not with the method that was refused."""
    if inspected.status != 405:
        return
    yield from _with_status(inspected, 405)
    allowed = {name.strip() for name in (inspected.response.field("allow") or "").split(",")}
    if inspected.method and inspected.method in allowed:
        yield Finding(f"{inspected.method} was refused with 405, but Allow lists it", "field Allow", Level.WARN)


@rule(
    "R03",
    Level.BAD,
    "A 407 says how to authenticate to the proxy",
    why="Without Proxy-Authenticate a client cannot tell what the proxy wants, and reports that there is no connection.",
    mend="Send Proxy-Authenticate with at least one scheme; a server that is no proxy answers 401.",
    sources=[rfc(9110, "15.5.8"), rfc(9110, "11.7.1")],
)
def proxy_authentication(inspected: Inspected) -> Iterator[Finding]:
    """Proxy-Authenticate."""
    yield from _with_status(inspected, 407)


@rule(
    "R04",
    Level.BAD,
    "A 426 says which protocol is wanted",
    why="A client that is asked to upgrade, and not told to what, can only give up.",
    mend="Send `Upgrade` with the protocols, and `Connection: upgrade` beside it.",
    sources=[rfc(9110, "15.5.22"), rfc(9110, "7.8")],
)
def upgrade_required(inspected: Inspected) -> Iterator[Finding]:
    """Upgrade and Connection, where the version of HTTP has them."""
    if inspected.response.version in _HOPS:
        yield from _with_status(inspected, 426)


@rule(
    "R05",
    Level.BAD,
    "A 101 was asked for, and says which protocol follows",
    why="After a 101 the connection speaks something else. A client that did not ask takes the new protocol's bytes for an answer.",
    mend="Answer 101 only to a request with Upgrade, and send `Upgrade` and `Connection: upgrade` with it.",
    sources=[rfc(9110, "15.2.2"), rfc(9110, "7.8")],
)
def switching(inspected: Inspected) -> Iterator[Finding]:
    """Upgrade and Connection, and Upgrade in the request."""
    yield from _with_status(inspected, 101)
    if inspected.status == 101 and inspected.request is not None and not inspected.request.has("upgrade"):
        yield Finding("The request did not ask for another protocol", "status")


@rule(
    "R06",
    Level.BAD,
    "A 206 says which part it is",
    why="A client that puts parts together writes them where Content-Range says. Without it, or with a wrong one, the file is broken, "
    "and nobody notices.",
    mend="Send `Content-Range: bytes first-last/length` with one part; with several, multipart/byteranges with the field in each part. "
    "Answer 200 where no range was asked for.",
    sources=[rfc(9110, "15.3.7"), rfc(9110, "14.4"), rfc(9110, "14.6")],
)
def partial_content(inspected: Inspected) -> Iterator[Finding]:
    """Content-Range or multipart/byteranges; in answer to Range."""
    if inspected.status != 206:
        return
    response = inspected.response
    value = response.field("content-range")
    is_multipart = response.media_type == "multipart/byteranges"
    if inspected.request is not None and not inspected.request.has("range"):
        yield Finding("The request did not ask for a part (Range)", "status")
    if value is None:
        if not is_multipart:
            yield Finding("A 206 with one part must have Content-Range", "field Content-Range")
        return
    if is_multipart:
        yield Finding(
            "In multipart/byteranges Content-Range belongs to the parts, not to the head", "field Content-Range"
        )
        return
    if _OTHER_UNIT.fullmatch(value):
        return  # whose form is its own
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        yield Finding(f"Content-Range is not `bytes first-last/length`: “{value[:60]}”", "field Content-Range")
        return
    first, last, length = int(match[1]), int(match[2]), match[3]
    if last < first or (length != "*" and last >= int(length)):
        yield Finding(f"The range in Content-Range cannot be: “{value}”", "field Content-Range")
    elif (
        (sent := response.field("content-length"))
        and sent.isascii()
        and sent.isdigit()
        and int(sent[:18]) != last - first + 1
    ):
        yield Finding(f"Content-Range names {last - first + 1} bytes, Content-Length {sent}", "field Content-Range")


@rule(
    "R07",
    Level.WARN,
    "A redirection says where to go",
    why="A client without a Location stays where it is, and shows the body of the redirection, if there is any.",
    mend="Send Location with the other address, absolute or relative to the request's.",
    sources=[rfc(9110, "15.4"), rfc(9110, "10.2.2")],
)
def redirection(inspected: Inspected) -> Iterator[Finding]:
    """Location with 301, 302, 303, 307 and 308."""
    if inspected.status in _REDIRECTS:
        yield from _with_status(inspected, inspected.status)


@rule(
    "R08",
    Level.BAD,
    "A 304 answers a conditional GET or HEAD, and repeats the ETag",
    why="A cache finds by ETag which of its copies is still good; without it the copy is not renewed. A client that asked for nothing "
    "conditional has no copy to fall back on.",
    mend="Answer 304 only to GET and HEAD with If-None-Match or If-Modified-Since, with the fields that a 200 would have had.",
    sources=[rfc(9110, "15.4.5"), rfc(9111, "4.3.4")],
)
def not_modified(inspected: Inspected) -> Iterator[Finding]:
    """In answer to a condition; with the ETag that the condition was about."""
    request = inspected.request
    if inspected.status != 304 or request is None:
        return
    if inspected.method not in {"GET", "HEAD", "QUERY"}:
        yield Finding(
            f"304 is for GET and HEAD; {inspected.method} whose condition is false is answered 412",
            "status",
            Level.WARN,
        )
        return
    tags = request.field("if-none-match")
    if tags is None and not request.has("if-modified-since"):
        yield Finding("The request had neither If-None-Match nor If-Modified-Since", "status")
    elif tags and tags.strip() != "*" and not inspected.response.has("etag"):
        yield Finding("The request compared ETags, so a 200 would have had one, and the 304 must", "field ETag")


@rule(
    "R09",
    Level.WARN,
    "A 416 answers a Range, and tells the current length",
    why="A client that resumes a download learns from Content-Range whether it has all of it already, or must start anew.",
    mend="Send `Content-Range: bytes */length` with every 416 to a range of bytes.",
    sources=[rfc(9110, "15.5.17"), rfc(9110, "14.4")],
)
def range_not_satisfiable(inspected: Inspected) -> Iterator[Finding]:
    """Content-Range in the form without a range, where the request is known to have asked for bytes."""
    if inspected.status != 416:
        return
    value = inspected.response.field("content-range")
    asked = inspected.exchange.requested("range")
    if inspected.request is not None and asked is None:
        yield Finding("The request did not ask for a part (Range)", "status")
    elif value is None and asked is not None and asked.lower().startswith("bytes"):
        yield Finding("A 416 to a range of bytes should tell the length in Content-Range", "field Content-Range")
    if value is not None and value.lower().startswith("bytes") and not _UNSATISFIED.fullmatch(value):
        yield Finding(f"Content-Range of a 416 is `bytes */length`, not “{value[:60]}”", "field Content-Range")


@rule(
    "R10",
    Level.WARN,
    "A 412 answers a condition",
    why="A client that sent no condition cannot know what to change. Often the server means 409, 422 or 428.",
    mend="Answer 412 only where a condition of the request (If-Match and its kin, WebDAV's If, Overwrite: F) is false.",
    sources=[rfc(9110, "15.5.13"), rfc(4918, "10.4"), rfc(4918, "10.6"), rfc(4918, "12.1")],
)
def precondition_failed(inspected: Inspected) -> Iterator[Finding]:
    """A 412 to a request that is known to have had no condition."""
    request = inspected.request
    if inspected.status != 412 or request is None:
        return
    names = {name.lower() for name, _ in request.fields}
    if (
        any(name == "if" or name.startswith("if-") for name in names)
        or (request.field("overwrite") or "").upper() == "F"
    ):
        return
    yield Finding(f"The {inspected.method} had no condition that could be false", "status")


@rule(
    "R11",
    Level.INFO,
    "A wrong lock token is named as what it is",
    why="409 on UNLOCK and 412 on a refresh have many causes. With lock-token-matches-request-uri the client knows that its lock is "
    "gone or elsewhere, and takes a new one instead of trying again.",
    mend="Send a DAV:error with DAV:lock-token-matches-request-uri in the body.",
    sources=[rfc(4918, "9.11.1"), rfc(4918, "9.10.6"), rfc(4918, "16.2")],
)
def wrong_token(inspected: Inspected) -> Iterator[Finding]:
    """409 to UNLOCK, and 412 to a LOCK without body, without the precondition code."""
    request = inspected.request
    response = inspected.response
    if request is None or not (response.body_is_known and response.body_is_whole):
        return
    is_unlock = inspected.status == 409 and request.method == "UNLOCK"
    is_refresh = inspected.status == 412 and request.method == "LOCK" and not request.body and request.has("if")
    if not (is_unlock or is_refresh):
        return
    root = inspected.xml if response.body else None
    if isinstance(root, Element) and any(
        item.namespace == DAV and item.name in {"lock-token-matches-request-uri", "lock-token-submitted"}
        for item in root.elements()
    ):
        return
    yield Finding(f"The {inspected.status} to {request.method} does not say DAV:lock-token-matches-request-uri", "body")


@rule(
    "R12",
    Level.INFO,
    "A 429 or 503 says when to try again",
    why="Clients that are told how long obey; without Retry-After each one guesses, and together they come back at the worst moment.",
    mend="Send Retry-After with the seconds after which the load, or the outage, is likely to be over.",
    sources=[rfc(6585, "4"), rfc(9110, "15.6.4"), rfc(9110, "10.2.3")],
)
def when_again(inspected: Inspected) -> Iterator[Finding]:
    """Retry-After with 429 and 503; its form is the business of H01."""
    if inspected.status in {429, 503} and not inspected.response.has("retry-after"):
        yield Finding(f"The {inspected.status} does not say when to try again", "field Retry-After")


@rule(
    "R13",
    Level.INFO,
    "A 415 lists what is supported",
    why="The client has the right data in the wrong form. Told which forms are taken, it can convert and send again by itself.",
    mend="Send Accept with the media types, Accept-Encoding with the codings where the coding was at fault, Accept-Patch to a PATCH.",
    sources=[rfc(9110, "15.5.16"), rfc(9110, "12.5.1"), rfc(5789, "2.2")],
)
def unsupported_type(inspected: Inspected) -> Iterator[Finding]:
    """Accept-Patch for a PATCH; else any of the fields that list what is taken."""
    if inspected.status != 415:
        return
    response = inspected.response
    if inspected.method == "PATCH":
        if not response.has("accept-patch") and not response.has("accept-encoding"):
            yield Finding(
                "A 415 to PATCH should list the patch formats in Accept-Patch", "field Accept-Patch", Level.WARN
            )
    elif not any(
        response.has(name) for name in ("accept", "accept-encoding", "accept-post", "accept-patch", "accept-query")
    ):
        yield Finding("The 415 does not list what is supported (Accept, Accept-Encoding)", "field Accept")


@rule(
    "R14",
    Level.WARN,
    "A 451 names who blocks",
    why="Whoever is refused for legal reasons wants to know who carries out the block: the server, or somebody on the way.",
    mend='Send `Link: <https://…>; rel="blocked-by"` that names who implements the block.',
    sources=[rfc(7725, "3"), rfc(7725, "4")],
)
def legal_reasons(inspected: Inspected) -> Iterator[Finding]:
    """Link with the relation blocked-by."""
    if inspected.status == 451 and not _BLOCKED_BY.search((inspected.response.field("link") or "")[:8192]):
        yield Finding("The 451 has no Link with rel=blocked-by", "field Link")


@rule(
    "R15",
    Level.WARN,
    "Every other field that a status should have is there",
    why="The documents that define a status say which fields its readers rely on.",
    mend="Send the field, or another status.",
    sources=[rfc(9110, "15"), rfc(3229, "10.4.1")],
)
def other_fields(inspected: Inspected) -> Iterator[Finding]:
    """What the table asks for, of statuses without a rule of their own, such as 226."""
    if inspected.status not in _OWN_RULES:
        for wanted in _lacking(inspected):
            yield _told(inspected, wanted)
