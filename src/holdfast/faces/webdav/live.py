"""Live properties: those whose value the server knows (RFC 4918 section 15, RFC 4331, RFC 5397).

Owns: the table of live properties, each a function from a resource to its element. Must not know:
requests. The values of one PROPFIND that are the same for all members are made once, in a View.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from holdfast.core.model import Lock
from holdfast.faces.webdav.discovery import Shown, discovery_of
from holdfast.files import Resource
from holdfast.wire.davxml_write import NO_SUPPORTEDLOCK, SUPPORTEDLOCK, escape, iso_date
from holdfast.wire.rfc9110 import http_date

__all__ = ["ALLPROP", "DAV", "LIVE", "PROTECTED", "View"]

DAV: Final = "DAV:"
Name = tuple[str, str]


class View(msgspec.Struct):
    """What every element of one answer shares.

    `locks_above` cover all members; `locks_on` are those directly on a member, by path text.
    """

    principal: str
    may_lock: bool
    now: datetime
    locks_above: list[Lock]
    locks_on: dict[str, list[Lock]]
    quota: Callable[[], tuple[int, int]]
    shared_discovery: str | None = None

    def discovery_of(self, path_text: str, *, is_collection: bool) -> str:
        """The lockdiscovery element; tokens only of this principal's own locks (RFC 4918 section 6.4, 20.4)."""
        own = self.locks_on.get(path_text)
        if own:
            shown = Shown(path_text, is_collection)
            return discovery_of([*self.locks_above, *own], self.now, self.principal, shown)
        if self.shared_discovery is None:
            shown = Shown(path_text, is_collection)
            self.shared_discovery = discovery_of(self.locks_above, self.now, self.principal, shown)
        return self.shared_discovery


Live = Callable[[Resource, str, View], str | None]
"""From a resource, its path text in the namespace and the view to the whole element; None where it has no value."""


def _creationdate(resource: Resource, _path: str, _view: View) -> str:
    return f"<D:creationdate>{iso_date(resource.created_ns // 1_000_000_000)}</D:creationdate>"


def _getlastmodified(resource: Resource, _path: str, _view: View) -> str:
    return f"<D:getlastmodified>{http_date(resource.modified_ns // 1_000_000_000)}</D:getlastmodified>"


def _getcontentlength(resource: Resource, _path: str, _view: View) -> str | None:
    return None if resource.is_collection else f"<D:getcontentlength>{resource.size}</D:getcontentlength>"


def _getcontenttype(resource: Resource, _path: str, _view: View) -> str | None:
    return None if resource.is_collection else f"<D:getcontenttype>{resource.media_type}</D:getcontenttype>"


def _getetag(resource: Resource, _path: str, _view: View) -> str | None:
    etag = resource.etag
    return f"<D:getetag>{etag}</D:getetag>" if etag else None


def _resourcetype(resource: Resource, _path: str, _view: View) -> str:
    return "<D:resourcetype><D:collection/></D:resourcetype>" if resource.is_collection else "<D:resourcetype/>"


def _displayname(_resource: Resource, path: str, _view: View) -> str:
    return f"<D:displayname>{escape(path.rsplit('/', 1)[1])}</D:displayname>"


def _supportedlock(_resource: Resource, _path: str, view: View) -> str:
    # Advertised only where a LOCK would be allowed: LibreOffice opens read-only otherwise (owncloud/core 34394).
    return SUPPORTEDLOCK if view.may_lock else NO_SUPPORTEDLOCK


def _lockdiscovery(resource: Resource, path: str, view: View) -> str:
    return view.discovery_of(path, is_collection=resource.is_collection)


def _available(resource: Resource, _path: str, view: View) -> str | None:
    if not resource.is_collection:
        return None
    return f"<D:quota-available-bytes>{view.quota()[0]}</D:quota-available-bytes>"


def _used(resource: Resource, _path: str, view: View) -> str | None:
    if not resource.is_collection:
        return None
    return f"<D:quota-used-bytes>{view.quota()[1]}</D:quota-used-bytes>"


def _current_user_principal(_resource: Resource, _path: str, view: View) -> str:
    if view.principal == "anonymous":
        return "<D:current-user-principal><D:unauthenticated/></D:current-user-principal>"
    return f"<D:current-user-principal><D:href>/principals/{escape(view.principal)}</D:href></D:current-user-principal>"


LIVE: Final[dict[Name, Live]] = {
    (DAV, "creationdate"): _creationdate,
    (DAV, "displayname"): _displayname,
    (DAV, "getcontentlength"): _getcontentlength,
    (DAV, "getcontenttype"): _getcontenttype,
    (DAV, "getetag"): _getetag,
    (DAV, "getlastmodified"): _getlastmodified,
    (DAV, "resourcetype"): _resourcetype,
    (DAV, "supportedlock"): _supportedlock,
    (DAV, "lockdiscovery"): _lockdiscovery,
    (DAV, "quota-available-bytes"): _available,
    (DAV, "quota-used-bytes"): _used,
    (DAV, "current-user-principal"): _current_user_principal,
}

ALLPROP: Final[tuple[Name, ...]] = tuple(LIVE)[:9]
"""What allprop answers: RFC 4918 section 15 and no more; RFC 4331 and RFC 5397 ask to be named."""

PROTECTED: Final = frozenset(LIVE) - {(DAV, "displayname")}
"""May not be set by PROPPATCH (403 `cannot-modify-protected-property`). displayname is a default that a client may
replace (RFC 4918 section 15.2: it SHOULD NOT be protected)."""
