"""Elements of WebDAV's answers (RFC 4918 sections 13, 14 and 16): DAV:error with its codes, the members of a multistatus.

Owns: finding them, in the wrong places too. Must not know: the exchange around them (see `davbody`), what is right and wrong.
Nothing here raises or recurses, and it looks at a bounded number of members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

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
    "hrefs",
    "is_code",
    "is_dav",
    "members_of",
    "within",
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


def members_of(root: Element | None) -> tuple[Member, ...]:
    """What a multistatus says of each member: one Member for each status. None for any other element."""
    if root is None or not is_dav(root, "multistatus"):
        return ()
    found: list[Member] = []
    for response in children(root, "response"):
        if len(found) >= _MAX_MEMBERS:
            break
        href = next((item.text().strip() for item in children(response, "href")), "")
        errors = children(response, "error")
        error = errors[0] if errors else None
        lines = [item.text() for item in children(response, "status")]
        if not lines and error is not None and not children(response, "propstat"):
            lines = [""]
        found += [_member(response, href, line, error, in_propstat=False) for line in lines[:_MAX_MEMBERS]]
        for propstat in children(response, "propstat")[:_MAX_MEMBERS]:
            line = next((item.text() for item in children(propstat, "status")), "")
            inner = next(iter(children(propstat, "error")), None)
            one = _member(response, href, line, inner, in_propstat=True)
            if inner is None and one.status == 423:  # the error may be about the resource as a whole (section 16)
                one = msgspec.structs.replace(one, error=error)
            found.append(one)
    return tuple(found)


def _member(response: Element, href: str, line: str, error: Element | None, *, in_propstat: bool) -> Member:
    found = _STATUS.match(line)
    return Member(response, href, int(found[1]) if found else None, line.strip(), error, in_propstat)
