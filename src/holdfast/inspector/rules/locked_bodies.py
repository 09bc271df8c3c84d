"""What the XML of a 423 says (RFC 4918 sections 8.2, 8.7, 11.3, 14.5 and 16): rules L01 to L06, L08 and L11.

Owns: DAV:error and its precondition codes, also where they stand in a multistatus. Must not know: the shape of a
multistatus and of hrefs (see `multistatus`), Content-Type and Accept (see `media_types`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.inspector.davbody import error_elements, is_about_locks, is_webdav, path_of, top_error
from holdfast.inspector.davelements import (
    CONFLICTING,
    LOCK_CONDITIONS,
    MATCHES,
    SUBMITTED,
    Member,
    conditions,
    hrefs,
    is_code,
    is_dav,
    within,
)
from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected, Unreadable, split_url
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.davxml import DAV
from holdfast.wire.sentences import clean
from holdfast.wire.xmlread import Element

# Why a body that is XML is not read, where that is the server's fault and not a limit of this reader.
_BROKEN: Final = ("the XML is not well-formed", "the XML is not in the encoding", "the XML has a document type")
_RARE_ENCODING: Final = "the XML must be in UTF-8 or UTF-16"
_TELLS_OF_LOCKS: Final = (b"lock-token-submitted", b"no-conflicting-lock", b"423 Locked")
# Requests that need a lock's token and never ask for a lock. MOVE is not among them: what it moves may be locked itself.
_WRITES: Final = frozenset({"PUT", "PATCH", "DELETE", "PROPPATCH", "MKCOL", "COPY"})


@rule(
    "L01",
    Level.BAD,
    "XML is well-formed, in UTF-8 or UTF-16, and has no document type declaration",
    why="A client that receives XML which is not well-formed must not assume anything about the outcome, and takes the"
    " server for broken: it can no longer tell a lock from a fault. Careful clients refuse a DTD, because entities"
    " are a way to attack them.",
    mend="Write the body with an XML library instead of by pasting strings, so that names with & and < are escaped. Leave"
    " out the DOCTYPE.",
    sources=[rfc(4918, "8.2"), rfc(4918, "20.6")],
)
def well_formed(inspected: Inspected) -> Iterator[Finding]:
    """L01."""
    if not (inspected.has_content and inspected.is_xml):
        return
    content = inspected.content
    if not (
        inspected.status in {423, 207}
        or inspected.method in WEBDAV_METHODS
        or (inspected.status >= 400 and b"DAV:" in content)
    ):
        return
    root = inspected.xml
    if not isinstance(root, Unreadable):
        return
    if root.reason.startswith(_BROKEN):
        yield Finding(f"{_capital(root.reason)}; a client cannot tell what it is about", "body")
    elif root.reason.startswith(_RARE_ENCODING):
        yield Finding(
            "The XML is neither in UTF-8 nor in UTF-16; no client has to read another encoding", "body", Level.WARN
        )


@rule(
    "L02",
    Level.BAD,
    "The XML of a refusal is a DAV:error, in exactly that namespace",
    why="Clients look for the element `error` of the namespace `DAV:`, colon and capitals included, and for the code as its"
    " child. In another place or namespace it is not there for them, and they show a bare number.",
    mend='Make `<D:error xmlns:D="DAV:">` the root, with `lock-token-submitted` or `no-conflicting-lock` of the same namespace'
    " directly in it.",
    sources=[rfc(4918, "16"), rfc(4918, "14.5"), rfc(4918, "8.7")],
)
def error_is_the_root(inspected: Inspected) -> Iterator[Finding]:
    """L02."""
    root = inspected.root
    if inspected.status != 423 or root is None or root.name.lower() == "html":
        return
    if is_dav(root, "error"):
        direct = root.elements()
        for item in within(root):
            if item.name in LOCK_CONDITIONS and item.namespace != root.namespace:
                yield Finding(f"{item.name} is in {_namespace(item)}, not in DAV:", "body")
                return
        if any(is_code(item) for item in within(root)) and not any(is_code(item) for item in direct):
            yield Finding("The code stands deeper in the DAV:error, not as its child", "body")
        return
    shown = f"{_shown(root)} in {_namespace(root)}"
    if any(item.name in LOCK_CONDITIONS for item in within(root)) or _is_almost_dav(root, inspected):
        yield Finding(f"The root is {shown}, so no client finds the code in it; it must be error in DAV:", "body")
    elif inspected.method in WEBDAV_METHODS or root.namespace == DAV:
        yield Finding(f"The root is {shown}; a WebDAV client looks for error in DAV:", "body", Level.WARN)


@rule(
    "L03",
    Level.WARN,
    "A 423 of a WebDAV resource carries a precondition code",
    why="The code says whether the client has to submit a token or lost to another's lock, and which resource is locked."
    " Without it a client can only say that something is locked, or guess from the method.",
    mend="Answer with a DAV:error that holds `lock-token-submitted` (for a write) or `no-conflicting-lock` (for LOCK), with the"
    " href of the lock root in it.",
    sources=[rfc(4918, "11.3"), rfc(4918, "16")],
)
def has_a_code(inspected: Inspected) -> Iterator[Finding]:
    """L03."""
    silent = [one for one in inspected.locked_members if one.error is None]
    if silent and inspected.status != 423:
        first = clean(silent[0].href, 120) or "a member"
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        yield Finding(f"{first}{more}: refused as locked without an error element that names the code", "body")
    if inspected.status != 423 or not is_webdav(inspected):
        return
    error = top_error(inspected)
    if error is not None:
        if not error.elements():
            yield Finding("The DAV:error is empty: it names no precondition code", "body")
        elif (codes := conditions(error)) and not any(code.name in {*LOCK_CONDITIONS, MATCHES} for code in codes):
            names = ", ".join(_shown(code) for code in codes[:3])
            yield Finding(f"The DAV:error names {names}, and neither of the codes for a lock", "body", Level.INFO)
        return
    if inspected.lacks_content:
        yield Finding("The 423 has no body, so it names neither a precondition code nor the locked resource", "body")
    elif inspected.has_content and not inspected.is_xml and inspected.root is None and not _may_want_json(inspected):
        kind = inspected.response.media_type or "no stated type"
        yield Finding(f"The 423 is {clean(kind, 60)}, so a WebDAV client finds no precondition code in it", "body")


@rule(
    "L04",
    Level.BAD,
    "lock-token-submitted names at least one locked resource",
    why="With a lock on a collection, or a DELETE, COPY or MOVE of a tree, the client cannot know which resource is in the way."
    " The href is what it needs to discover the lock, tell who holds it, and find the token if the lock is its own.",
    mend="Put the URL of the lock root into the element: `<D:lock-token-submitted><D:href>/the/lock/root</D:href>"
    "</D:lock-token-submitted>`.",
    sources=[rfc(4918, "16")],
)
def token_condition_has_href(inspected: Inspected) -> Iterator[Finding]:
    """L04."""
    for code, member in _codes(inspected, SUBMITTED):
        if hrefs(code):
            continue
        if member is None:
            yield Finding("lock-token-submitted holds no href, so nobody learns which resource is locked", "body")
        elif not member.href:
            yield Finding("Neither lock-token-submitted nor its response has an href", "body")
        else:
            said = f"lock-token-submitted for {clean(member.href, 120)} holds no href of the lock root"
            yield Finding(f"{said} (as in RFC 4918's own example of a 207)", "body", Level.INFO)


@rule(
    "L05",
    Level.WARN,
    "The code fits the method: no-conflicting-lock for LOCK, lock-token-submitted for a write",
    why="lock-token-submitted tells a client to send the token that it has; no-conflicting-lock that it lost to another's lock."
    " With the wrong one, clients that believe it send their token in vain, or never look for it.",
    mend="Decide by the method: a write that lacks a token gets `lock-token-submitted`, a LOCK that conflicts with a lock"
    " already there gets `no-conflicting-lock`.",
    sources=[rfc(4918, "16"), rfc(4918, "9.10.6")],
)
def code_fits_the_method(inspected: Inspected) -> Iterator[Finding]:
    """L05. A LOCK that would create a resource in a locked collection does need that collection's token (section 7.4).

    What a POST asks for is not told by its method: it may be a lock, as in an API that grants them, and then both codes fit.
    """
    method = inspected.method
    if method in _WRITES:
        for _, member in _codes(inspected, CONFLICTING):
            about = f" for {clean(member.href, 120)}" if member is not None else ""
            yield Finding(
                f"{method} is refused with no-conflicting-lock{about}; the code for a missing token is {SUBMITTED}",
                "body",
            )
    elif method == "LOCK" and not _is_refresh(inspected):
        for code, member in _codes(inspected, SUBMITTED):
            if member is not None or _names_the_request(code, inspected):
                yield Finding(
                    f"LOCK met a lock and is refused with lock-token-submitted; the code for that is {CONFLICTING}",
                    "body",
                )


@rule(
    "L06",
    Level.WARN,
    "no-conflicting-lock names the root of the conflicting lock",
    why="The lock in the way may be on a collection above, or on a member below. Without its href the client has to search"
    " lockdiscovery level by level to say who holds it.",
    mend="Put the URL of the lock root into the element as a DAV:href; RFC 4918 allows to leave it out, and nobody gains by that.",
    sources=[rfc(4918, "16")],
)
def conflict_condition_has_href(inspected: Inspected) -> Iterator[Finding]:
    """L06."""
    for code, member in _codes(inspected, CONFLICTING):
        if member is None and not hrefs(code):
            yield Finding("no-conflicting-lock holds no href, so the client cannot find the lock", "body")


@rule(
    "L08",
    Level.BAD,
    "lock-token-matches-request-uri is not said with 423",
    why="It means that the token which was sent is of no lock here: the client's own lock is gone or elsewhere. With 423 a client"
    " waits for somebody else's lock, or asks for a token that it has just sent.",
    mend="Answer UNLOCK with 409, and a refresh with 412, where the token matches no lock of the resource. For a lock in the way"
    " use `lock-token-submitted` or `no-conflicting-lock`.",
    sources=[rfc(4918, "16"), rfc(4918, "9.11.1"), rfc(4918, "9.10.6")],
)
def no_token_mismatch(inspected: Inspected) -> Iterator[Finding]:
    """L08."""
    for _, member in _codes(inspected, MATCHES):
        if member is None or member.status == 423:
            yield Finding(
                "423 is said with lock-token-matches-request-uri, which belongs to 409 (UNLOCK) or 412 (refresh)",
                "body",
            )


@rule(
    "L11",
    Level.WARN,
    "The DAV:error has more than elements of the server's own",
    why="Clients that do not know this server find nothing in it: they must ignore elements that they do not recognise. What is"
    " left for them is the number, while the server did know that a lock is in the way.",
    mend="Add `lock-token-submitted` or `no-conflicting-lock` with the href of the lock root; your own elements can stay beside it.",
    sources=[rfc(4918, "16"), rfc(4918, "14.5"), rfc(4918, "17")],
)
def not_only_custom(inspected: Inspected) -> Iterator[Finding]:
    """L11."""
    if not is_about_locks(inspected):
        return
    for error, member in error_elements(inspected):
        if member is not None and member.status != 423:
            continue
        own = error.elements()
        if own and not conditions(error) and not any(item.name in LOCK_CONDITIONS for item in own):
            names = ", ".join(_shown(item) for item in own[:3])
            yield Finding(
                f"The DAV:error holds only {names} of {_namespace(own[0])}, which other clients ignore", "body"
            )


def _codes(inspected: Inspected, name: str) -> Iterator[tuple[Element, Member | None]]:
    """Each code of this name that stands where it belongs, in a 423 or in a multistatus."""
    if not is_about_locks(inspected):
        return
    for error, member in error_elements(inspected):
        for code in conditions(error):
            if code.name == name:
                yield code, member


def _is_refresh(inspected: Inspected) -> bool:
    request = inspected.request
    return request is not None and not request.body and request.has("if")


def _names_the_request(code: Element, inspected: Inspected) -> bool:
    url = inspected.url
    if url is None:
        return False
    found = [split_url(href) for href in hrefs(code)]
    return any(parts is not None and path_of(parts) == path_of(url) for parts in found)


def _may_want_json(inspected: Inspected) -> bool:
    """True for JSON that the request asked for, or may have: section 16 leaves room for what was negotiated."""
    asked = inspected.request is None or "json" in (inspected.exchange.requested("accept") or "").lower()
    return inspected.is_json and asked


def _is_almost_dav(root: Element, inspected: Inspected) -> bool:
    """True for an error of `DAV`, `dav:` or the like, and for one of no namespace where WebDAV is spoken."""
    if root.name != "error":
        return False
    return root.namespace.strip().rstrip(":/").lower() == "dav" or (not root.namespace and is_webdav(inspected))


def _namespace(item: Element) -> str:
    return f"the namespace {clean(item.namespace, 80)}" if item.namespace else "no namespace"


def _shown(item: Element) -> str:
    return clean(item.name, 60)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
