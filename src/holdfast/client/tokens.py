"""Which lock tokens a WebDAV request has to carry: the If header that belongs to it, and nothing more.

Owns: LockTokens, and which resources each method changes (RFC 4918 sections 7, 9.3 to 9.10). Must not know: HTTP libraries, or
whether a lock is still held.

A token goes out only to the server that gave it, and only with a request that changes something which its lock protects:
the resource itself, for COPY and MOVE the Destination, for what makes or removes a member the collection around it. Each stands
in a list that is tagged with its lock root (section 10.4.3): an untagged list would be about the request's own URL, where
another resource's token is false; and Apache takes no list about a URL that does not exist yet.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec

from holdfast.core.paths import InvalidPathError, ResourcePath

__all__ = ["LockTokens", "plain_url"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class _Reach(enum.Enum):
    CONTENT = "content"
    TREE = "tree"


class _Place(msgspec.Struct, frozen=True):
    """A resource of one server."""

    origin: tuple[str, str, int | None]
    path: ResourcePath


class _Owned(msgspec.Struct, frozen=True):
    place: _Place
    url: str
    token: str
    is_deep: bool

    def protects(self, place: _Place, reach: _Reach) -> bool:
        if self.place.origin != place.origin:
            return False
        if self.place.path == place.path:
            return True
        if self.is_deep and place.path.is_below(self.place.path):
            return True
        return reach is _Reach.TREE and self.place.path.is_below(place.path)


# Which of the request's URL, the collection around it, its Destination and the collection around that are changed.
_CONTENT: Final = ((False, False, _Reach.CONTENT),)
_MEMBER: Final = ((False, False, _Reach.CONTENT), (False, True, _Reach.CONTENT))
_REMOVED: Final = ((False, False, _Reach.TREE), (False, True, _Reach.CONTENT))
_COPIED: Final = ((True, False, _Reach.TREE), (True, True, _Reach.CONTENT))
_CHANGES: Final = {
    "PUT": _MEMBER,
    "MKCOL": _MEMBER,
    "LOCK": _MEMBER,
    "DELETE": _REMOVED,
    "COPY": _COPIED,
    "MOVE": (*_REMOVED, *_COPIED),
}
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "UNLOCK", "CONNECT"})


class LockTokens:
    """The tokens that are held, by where their locks are. Safe from any thread.

    >>> tokens = LockTokens()
    >>> tokens.add("https://dav.example/a/plan.odt", "urn:uuid:1")
    >>> tokens.headers_for("PUT", "https://dav.example/a/plan.odt")
    {'If': '<https://dav.example/a/plan.odt> (<urn:uuid:1>)'}
    >>> tokens.headers_for("GET", "https://dav.example/a/plan.odt"), tokens.headers_for("PUT", "https://evil.example/a/plan.odt")
    ({}, {})
    """

    def __init__(self) -> None:
        """Hold none."""
        self._mutex = threading.Lock()
        self._owned: dict[str, _Owned] = {}

    def add(self, url: str, token: str, depth: str = "0") -> None:
        """A lock was granted on the resource at `url`. Raises ValueError for a URL that can name no resource."""
        place = _place_of(url)
        if place is None:
            msg = f"{url!r} names no resource that can be locked"
            raise ValueError(msg)
        with self._mutex:
            self._owned[token] = _Owned(place, plain_url(url), token, depth == "infinity")

    def remove(self, token: str) -> None:
        """A lock is held no more."""
        with self._mutex:
            self._owned.pop(token, None)

    def headers_for(self, method: str, url: str, destination: str | None = None) -> dict[str, str]:
        """The fields that this request has to have for its locks: an If header, or none.

        `destination` is that of COPY and MOVE, relative to `url` or absolute.
        """
        needed: dict[str, str] = {}
        with self._mutex:
            owned = list(self._owned.values())
        for place, reach in _changed(method.upper(), url, destination):
            needed |= {lock.token: lock.url for lock in owned if lock.protects(place, reach)}
        if not needed:
            return {}
        return {"If": " ".join(f"<{root}> (<{token}>)" for token, root in needed.items())}

    def covering(self, url: str) -> list[tuple[str, str]]:
        """The locks on the resource at `url`, direct and indirect: (lock root's URL, token) pairs.

        Fits the `tokens_for` of a WaitTransport, which then sends again with its token what one's own lock refused.
        """
        place = _place_of(url)
        if place is None:
            return []
        with self._mutex:
            return [(lock.url, lock.token) for lock in self._owned.values() if lock.protects(place, _Reach.CONTENT)]

    def __len__(self) -> int:
        return len(self._owned)

    def __repr__(self) -> str:
        """How many; never the tokens."""
        return f"<LockTokens of {len(self)} locks>"


def plain_url(url: str) -> str:
    """The URL without user, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", "", ""))


def _changed(method: str, url: str, destination: str | None) -> Iterable[tuple[_Place, _Reach]]:
    if method in _READS:
        return
    for is_destination, is_around, reach in _CHANGES.get(method, _CONTENT):
        if is_destination and not destination:
            continue
        place = _place_of(urljoin(url, destination) if is_destination and destination else url)
        if place is None:
            continue
        if is_around and place.path.is_root:
            continue
        yield _Place(place.origin, place.path.parent) if is_around else place, reach


def _place_of(url: str) -> _Place | None:
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        if scheme not in _DEFAULT_PORTS or not parts.hostname:
            return None
        origin = scheme, parts.hostname.lower(), parts.port or _DEFAULT_PORTS[scheme]
        return _Place(origin, ResourcePath.from_target(parts.path or "/"))
    except (ValueError, InvalidPathError):
        return None
