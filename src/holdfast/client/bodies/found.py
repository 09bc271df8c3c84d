"""What goes into the reading of a body, and what comes out of it.

Owns: Asked (what a body is read against: the URL, the server's clock, the fields) and Found (what one family made of
it). Must not know: any server.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from holdfast.client.details import KnownLock, LockedKind
from holdfast.client.exchange import ClientResponse, Headers

__all__ = ["MAX_HREF", "MAX_LOCKS", "MAX_REMAINING", "Asked", "Found"]

MAX_LOCKS: Final = 100
"""Most locks that are taken from one answer."""

MAX_HREF: Final = 4096
"""Longest URL that is taken from an answer, in characters."""

MAX_REMAINING: Final = 10 * 365 * 86_400.0
"""Longest time that a lock is said to last, in seconds; what claims more is taken for without a known end."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}:", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one family made of an answer. `is_certain` is false where it says "locked" only under a status 423.

    `retry_after` is in seconds. `resource` is the absolute URL of what is locked, `name` what it is called where that is
    no URL.
    """

    service: str
    kind: LockedKind = LockedKind.UNKNOWN
    code: str = ""
    message: str = ""
    locks: tuple[KnownLock, ...] = ()
    resource: str | None = None
    name: str = ""
    retry_after: float | None = None
    queue_length: int | None = None
    position: int | None = None
    is_partial: bool = False
    is_certain: bool = True


class Asked(msgspec.Struct, frozen=True):
    """The answer around a body: its status, URL, fields and the server's clock."""

    response: ClientResponse
    answered_at: datetime | None

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The fields of the answer."""
        return self.response.headers

    def url(self, href: str | None) -> str:
        """The absolute URL of `href` on the server that was asked; empty for any other server's, or none at all.

        Another origin's is never taken: to ask there would tell it of the caller, and with the caller's credentials.
        Where the answer has no URL of its own, a path stands for itself.
        """
        if href is None or not href or len(href) > MAX_HREF or not href.isprintable():
            return ""
        base = self.response.url
        try:
            joined = urljoin(base, href.strip())
            if base and _origin(joined) != _origin(base):
                return ""
            parts = urlsplit(joined)
        except ValueError:
            return ""
        if not base and (parts.scheme or parts.netloc or not parts.path.startswith("/")):
            return ""
        own = urlsplit(base)
        return parts._replace(scheme=own.scheme, netloc=own.netloc, fragment="").geturl()

    def root(self, href: str | None) -> str:
        """The same of a DAV:href, which is a path from the root or a URL (RFC 4918 section 8.3).

        sabre/dav writes paths from its own base, which nobody is told: such a one is looked for in the request's URL.
        """
        if not href or href.startswith("/") or _SCHEME.match(href):
            return self.url(href)
        path = self.path(self.response.url)
        for part in (href.strip("/"), quote(href.strip("/"))):
            place = f"{path}/".find(f"/{part}/")
            if place >= 0 and part:
                slash = "/" if href.endswith("/") else ""
                return self.url(f"{path[: place + 1]}{part}{slash}")
        return ""

    def path(self, url: str) -> str:
        """The path of an absolute URL or of a path."""
        try:
            return urlsplit(url).path or ("/" if url else "")
        except ValueError:
            return ""

    def lock(
        self,
        *,
        url: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        remaining: float | None = None,
        holder: str = "",
        owner: str = "",
        endless: bool = False,
        id: str = "",  # noqa: A002 - the field's name
        scope: str = "",
        depth: str = "",
        reason: str = "",
        program: str = "",
        about: str = "",
    ) -> KnownLock:
        """A lock at `url` (made by `url` or `root`), else at the request's own; the end and what remains until then follow from each other."""
        url = url or self.response.url
        if until is None and remaining is not None and self.answered_at is not None:
            until = _later(self.answered_at, remaining)
        elif remaining is None and until is not None and self.answered_at is not None:
            remaining = (until - self.answered_at).total_seconds()
        if remaining is not None:
            remaining = max(0.0, remaining) if remaining <= MAX_REMAINING else None
        return KnownLock(
            resource=self.path(url),
            url=url,
            holder=holder,
            owner=owner,
            since=since,
            until=until,
            remaining=remaining,
            endless=endless,
            id=id,
            scope=scope,
            depth=depth,
            reason=reason,
            program=program,
            about=self.url(about),
        )


def _later(instant: datetime, seconds: float) -> datetime | None:
    try:
        return instant + timedelta(seconds=min(max(seconds, 0.0), MAX_REMAINING))
    except OverflowError:
        return None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme)
