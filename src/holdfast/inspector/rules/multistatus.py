"""Where a multistatus says that members are locked, and the hrefs of locked resources: rules L07, L09 and L10.

Owns: the shape of a 207 around a 423 (RFC 4918 sections 13 and 14.24), and hrefs (section 8.3). Must not know: which code is
right (see `locked_bodies`). A multistatus in which nothing is locked is none of its business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from holdfast.inspector.davbody import error_elements, is_about_locks, is_prefix, path_of
from holdfast.inspector.davelements import LOCK_CONDITIONS, children, conditions, hrefs, is_dav, within
from holdfast.inspector.inspected import Inspected, is_uri_reference, split_url
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.sentences import clean
from holdfast.wire.xmlread import Element

_STATUS_LINE: Final = re.compile(r"HTTP/[0-9]+\.[0-9]+ [1-5][0-9]{2}(?: .*)?", re.ASCII | re.DOTALL)
_DOT_SEGMENT: Final = re.compile(r"(?:^|/)\.\.?(?:/|$)")
_PORTS: Final = {"http": 80, "https": 443}


@rule(
    "L07",
    Level.WARN,
    "The href of a locked resource is a path or URL of the server that was asked, percent-encoded",
    why="Clients send PROPFIND to this href to learn who holds the lock, and compare it with the URLs that they know. One that names"
    " a server behind the proxy, or holds a raw space, leads nowhere.",
    mend="Send the path as the client sees it, percent-encoded, beginning with a slash. Behind a proxy that changes scheme, host or"
    " prefix, make hrefs from what the proxy says was asked for, or send paths only.",
    sources=[rfc(4918, "8.3"), rfc(4918, "14.7"), rfc(3986, "2.1")],
)
def href_is_usable(inspected: Inspected) -> Iterator[Finding]:
    """L07. Whether a lock can be discovered there takes another request, which probes make."""
    if not is_about_locks(inspected):
        return
    found = [href for error, _ in error_elements(inspected) for code in conditions(error) for href in hrefs(code)]
    found += [one.href for one in inspected.locked_members if one.href]
    for href in dict.fromkeys(found):
        said = _fault_of_form(href) or _fault_of_place(href, inspected)
        if said:
            yield Finding(f"The href {clean(href, 160)} {said}", "body")
        elif _is_elsewhere(href, inspected):
            said = "is neither what was asked for nor above or below it; a proxy that changes paths does that"
            yield Finding(f"The href {clean(href, 160)} {said}", "body", Level.INFO)


@rule(
    "L09",
    Level.BAD,
    "In a 207, what is locked is told by a response element: href, status line, error",
    why="Clients walk through the response elements and read href, status and error of each. What stands anywhere else, or in a"
    " status that is no status line, is not found, and a refused member passes for done.",
    mend="For each refused member write `<D:response><D:href>...</D:href><D:status>HTTP/1.1 423 Locked</D:status><D:error>"
    "<D:lock-token-submitted>...</D:lock-token-submitted></D:error></D:response>`; in PROPPATCH's answer the error may stand in"
    " the propstat.",
    sources=[rfc(4918, "13"), rfc(4918, "14.24"), rfc(4918, "14.28"), rfc(4918, "16")],
)
def members_are_well_told(inspected: Inspected) -> Iterator[Finding]:
    """L09."""
    root = inspected.root
    if root is None:
        return
    if not is_dav(root, "multistatus"):
        if inspected.status == 207 and any(is_dav(item, name) for item in within(root) for name in LOCK_CONDITIONS):
            yield Finding(f"The 207's root is {clean(root.name, 60)}, not multistatus in DAV:", "body")
        return
    placed = {id(code) for error in _errors_in_place(root) for code in conditions(error)}
    for item in within(root):
        if any(is_dav(item, name) for name in LOCK_CONDITIONS) and id(item) not in placed:
            yield Finding(f"{item.name} does not stand in the error element of a response or propstat", "body")
    locked = inspected.locked_members
    if locked and inspected.status not in {207, 423}:
        said = f"A multistatus is sent with the status {inspected.status}; clients look for one in a 207 alone"
        yield Finding(said, "status", Level.WARN)
    counted = Counter(href for href in (_href_of(item) for item in children(root, "response")) if href)
    for one in locked:
        about = clean(one.href, 120) if one.href else "a response without href"
        if not one.href:
            yield Finding("A member is locked, and its response has no href that says which", "body")
        elif counted[one.href] > 1:
            yield Finding(f"{about} has {counted[one.href]} response elements; it must have one", "body")
        if not one.status_line:
            yield Finding(f"{about} has a code for a lock and no status", "body")
        elif not _STATUS_LINE.fullmatch(one.status_line):
            shown = clean(one.status_line, 60)
            yield Finding(f"{about}: '{shown}' is no status line; it must read HTTP/1.1 423 Locked", "body")
        elif one.status not in {423, None}:
            yield Finding(f"{about} has a code for a lock and the status {one.status}, not 423", "body", Level.WARN)


@rule(
    "L10",
    Level.WARN,
    "The 207 of a DELETE does not list 424 for what could not be deleted because of a member",
    why="That the collections above a locked member stay is known from the member alone. Listed as failures of their own they bury"
    " the one line that matters, and clients show many errors in place of one.",
    mend="List the members that are locked, and leave out every 424 (and 204).",
    sources=[rfc(4918, "9.6.1")],
)
def delete_lists_no_424(inspected: Inspected) -> Iterator[Finding]:
    """L10."""
    if inspected.method != "DELETE" or not inspected.locked_members:
        return
    dependent = [one.href for one in inspected.members if one.status == 424]
    if dependent:
        more = f" and {len(dependent) - 1} more" if len(dependent) > 1 else ""
        yield Finding(f"DELETE's 207 lists {clean(dependent[0], 120)}{more} as 424 beside what is locked", "body")


def _errors_in_place(root: Element) -> Iterator[Element]:
    for response in children(root, "response"):
        yield from children(response, "error")
        for propstat in children(response, "propstat"):
            yield from children(propstat, "error")


def _href_of(response: Element) -> str:
    return next((item.text().strip() for item in children(response, "href")), "")


def _fault_of_form(href: str) -> str:
    """What is wrong with it wherever it comes from; empty where nothing is."""
    parts = split_url(href)
    if parts is None:
        return "is not a URL"
    if not is_uri_reference(href):
        return "is not percent-encoded: it holds characters that no URL has"
    if not parts.scheme and (not parts.path.startswith("/") or parts.netloc):
        return "is neither an absolute path nor a whole URL"
    if parts.scheme in _PORTS and not parts.hostname:
        return "names no host"
    if _DOT_SEGMENT.search(parts.path):
        return "has dot segments"
    return ""


def _fault_of_place(href: str, inspected: Inspected) -> str:
    """What is wrong with it as an answer to this request; empty where nothing is, or the request's host is not known."""
    parts, asked = split_url(href), inspected.url
    if parts is None or not parts.scheme or asked is None or not asked.hostname:
        return ""
    if parts.scheme not in _PORTS:
        return f"is of the scheme {clean(parts.scheme, 20)}, not of the server that was asked"
    if parts.hostname != asked.hostname:
        return f"is on another host than was asked, {clean(asked.hostname, 80)}"
    if asked.scheme in _PORTS and (parts.scheme, parts.port or _PORTS[parts.scheme]) != (
        asked.scheme,
        asked.port or _PORTS[asked.scheme],
    ):
        return (
            "differs in scheme or port from what was asked; a proxy in front that the server does not know of does that"
        )
    return ""


def _is_elsewhere(href: str, inspected: Inspected) -> bool:
    parts = split_url(href)
    if parts is None or inspected.url is None or not inspected.url.path:
        return False
    place = path_of(parts)
    asked = [path_of(url) for url in (inspected.url, inspected.destination) if url is not None]
    return not any(is_prefix(place, one) or is_prefix(one, place) for one in asked)
