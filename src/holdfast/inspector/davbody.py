"""What an exchange says of locks in XML: each DAV:error with the member that it is about, and where its hrefs lead.

Owns: whether an exchange is about locks, or WebDAV at all, and comparing hrefs. Must not know: what is right and wrong about them.
Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, unquote

from holdfast.inspector.davelements import Member, is_dav
from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected
from holdfast.wire.davxml import DAV
from holdfast.wire.xmlread import Element

__all__ = ["error_elements", "is_about_locks", "is_prefix", "is_webdav", "path_of", "top_error"]


def top_error(inspected: Inspected) -> Element | None:
    """The DAV:error that is the body."""
    root = inspected.root
    return root if root is not None and is_dav(root, "error") else None


def error_elements(inspected: Inspected) -> Iterator[tuple[Element, Member | None]]:
    """Each DAV:error that stands where it belongs, with the member that it is about."""
    top = top_error(inspected)
    if top is not None:
        yield top, None
    seen: set[int] = set()
    for one in inspected.members:
        if one.error is not None and id(one.error) not in seen:
            seen.add(id(one.error))
            yield one.error, one


def is_about_locks(inspected: Inspected) -> bool:
    """True for a 423, and for a multistatus in which something is refused as locked, whatever its status."""
    return inspected.status == 423 or bool(inspected.locked_members)


def is_webdav(inspected: Inspected) -> bool:
    """True where one side speaks WebDAV: by the method, a DAV field, or an XML body in its namespace."""
    if inspected.method in WEBDAV_METHODS or inspected.response.has("dav"):
        return True
    root = inspected.root
    return root is not None and root.namespace == DAV


def path_of(parts: SplitResult) -> str:
    """The path of a URL for comparing: decoded, without a slash at its end."""
    return unquote(parts.path, errors="replace").rstrip("/") or "/"


def is_prefix(upper: str, lower: str) -> bool:
    """True where one path is the other or above it; both are of `path_of`."""
    return upper in {lower, "/"} or lower.startswith(f"{upper}/")
