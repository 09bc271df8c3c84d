"""What an XML body says of locks: DAV:error, and the members of a multistatus (RFC 4918 sections 13, 14 and 16).

Owns: finding these elements wherever a server put them, the wrong places too, and taking hrefs apart. Must not know: what is
right and wrong about them. Nothing here raises, and it looks at a bounded number of members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, unquote

import msgspec

from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected, Unreadable, split_url
from holdfast.wire.davxml import DAV
from holdfast.wire.xmlread import Element

__all__ = [
    "CONFLICTING",
    "LOCK_CONDITIONS",
    "MATCHES",
    "SUBMITTED",
    "Member",
    "children",
    "conditions",
    "error_elements",
    "hrefs",
    "is_about_locks",
    "is_code",
    "is_dav",
    "is_prefix",
    "is_webdav",
    "locked_members",
    "members",
    "path_of",
    "split_href",
    "top_error",
    "within",
    "xml_root",
]

SUBMITTED: Final = "lock-token-submitted"
CONFLICTING: Final = "no-conflicting-lock"
MATCHES: Final = "lock-token-matches-request-uri"
LOCK_CONDITIONS: Final = frozenset({SUBMITTED, CONFLICTING})
"""The precondition codes of a 423 (RFC 4918 section 11.3)."""

_MAX_MEMBERS: Final = 2000
_STATUS: Final = re.compile(r"\s*(?:HTTP/[0-9.]+\s+)?([1-5][0-9]{2})\b", re.ASCII | re.IGNORECASE)


class Member(msgspec.Struct, frozen=True):
    """One DAV:response of a multistatus, or one DAV:propstat of it. `status` is None where it says none that can be read."""

    element: Element
    """The DAV:response."""
    href: str
    status: int | None
    status_line: str
    error: Element | None
    in_propstat: bool = False


def is_dav(element: Element, name: str) -> bool:
    """True for this element of the namespace `DAV:`."""
    return element.name == name and element.namespace == DAV


def children(parent: Element, name: str) -> list[Element]:
    """The children of this name, in the namespace `DAV:`."""
    return [item for item in parent.elements() if is_dav(item, name)]


def within(element: Element) -> Iterator[Element]:
    """The element, and every one below it."""
    todo = [element]
    while todo:
        item = todo.pop()
        yield item
        todo.extend(reversed(item.elements()))


def xml_root(inspected: Inspected) -> Element | None:
    """The root of the body where it is XML, whatever its Content-Type says; None where it is none."""
    if not inspected.has_content:
        return None
    if not inspected.is_xml and inspected.content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        return None
    root = inspected.xml
    return None if isinstance(root, Unreadable) else root


def top_error(inspected: Inspected) -> Element | None:
    """The DAV:error that is the body."""
    root = xml_root(inspected)
    return root if root is not None and is_dav(root, "error") else None


def conditions(error: Element) -> list[Element]:
    """The precondition codes of RFC 4918 and its relatives in a DAV:error: its children in the namespace `DAV:`."""
    return [item for item in error.elements() if item.namespace == DAV]


def is_code(item: Element) -> bool:
    """True for the precondition codes of a 423."""
    return item.namespace == DAV and item.name in LOCK_CONDITIONS


def hrefs(condition: Element) -> list[str]:
    """The hrefs of a condition, white space around them taken off; empty ones are left out."""
    found = [item.text().strip() for item in children(condition, "href")]
    return [href for href in found if href]


def members(inspected: Inspected) -> list[Member]:
    """What a multistatus says of each member: one Member for each status."""
    root = xml_root(inspected)
    if root is None or not is_dav(root, "multistatus"):
        return []
    found: list[Member] = []
    for response in children(root, "response")[:_MAX_MEMBERS]:
        href = next((item.text().strip() for item in children(response, "href")), "")
        errors = children(response, "error")
        error = errors[0] if errors else None
        lines = [item.text() for item in children(response, "status")]
        if not lines and error is not None and not children(response, "propstat"):
            lines = [""]
        found += [_member(response, href, line, error, in_propstat=False) for line in lines]
        for propstat in children(response, "propstat"):
            line = next((item.text() for item in children(propstat, "status")), "")
            inner = next(iter(children(propstat, "error")), None)
            one = _member(response, href, line, inner, in_propstat=True)
            if inner is None and one.status == 423:  # the error may be about the resource as a whole (section 16)
                one = msgspec.structs.replace(one, error=error)
            found.append(one)
    return found


def locked_members(inspected: Inspected) -> list[Member]:
    """The members that a multistatus refuses as locked: by their status, or by the code in their error."""
    return [
        one
        for one in members(inspected)
        if one.status == 423 or (one.error is not None and any(is_code(item) for item in one.error.elements()))
    ]


def error_elements(inspected: Inspected) -> Iterator[tuple[Element, Member | None]]:
    """Each DAV:error that stands where it belongs, with the member that it is about."""
    top = top_error(inspected)
    if top is not None:
        yield top, None
    seen: set[int] = set()
    for one in members(inspected):
        if one.error is not None and id(one.error) not in seen:
            seen.add(id(one.error))
            yield one.error, one


def is_about_locks(inspected: Inspected) -> bool:
    """True for a 423, and for a multistatus in which something is refused as locked, whatever its status."""
    return inspected.status == 423 or bool(locked_members(inspected))


def is_webdav(inspected: Inspected) -> bool:
    """True where one side speaks WebDAV: by the method, a DAV field, or an XML body in its namespace."""
    if inspected.method in WEBDAV_METHODS or inspected.response.has("dav"):
        return True
    root = xml_root(inspected)
    return root is not None and root.namespace == DAV


def path_of(parts: SplitResult) -> str:
    """The path of a URL for comparing: decoded, without a slash at its end."""
    return unquote(parts.path, errors="replace").rstrip("/") or "/"


def is_prefix(upper: str, lower: str) -> bool:
    """True where one path is the other or above it; both are of `path_of`."""
    return upper in {lower, "/"} or lower.startswith(f"{upper}/")


def split_href(href: str) -> SplitResult | None:
    """An href's parts; None where it is no URL."""
    return split_url(href)


def _member(response: Element, href: str, line: str, error: Element | None, *, in_propstat: bool) -> Member:
    found = _STATUS.match(line)
    return Member(response, href, int(found[1]) if found else None, line.strip(), error, in_propstat)
