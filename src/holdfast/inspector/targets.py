"""URLs to be asked: what a request is sent to, and where a redirect leads.

Owns: checking and splitting URLs, and which redirects change the method (RFC 9110 section 15.4). Must not know: sockets.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from holdfast.inspector.exchange import ReceivedResponse, SentRequest

__all__ = ["FetchError", "Target", "redirected", "target_of"]

_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f\\]")
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~-._"
_OF_BODY: Final = frozenset({"content-length", "content-type", "content-encoding", "transfer-encoding", "expect"})
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class FetchError(Exception):
    """There is no response; a plain sentence says why."""


class Target(msgspec.Struct, frozen=True):
    """A URL in its parts. `host` is as it is looked up, `authority` as the Host field has it, `path` with the query."""

    url: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What two URLs of one server share."""
        return self.scheme, self.host, self.port


def target_of(url: str) -> Target:
    """The parts of an http or https URL. Raises FetchError where it is none, or has a user in it."""
    if _UNFIT.search(url):
        msg = f"{url[:200]!r} is no URL: it has a space, a backslash or a control character in it."
        raise FetchError(msg)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        msg = f"{url[:200]!r} is no URL: {error}."
        raise FetchError(msg) from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not name:
        msg = f"{url[:200]!r} is no URL that can be asked: write http://HOST/PATH or https://HOST/PATH."
        raise FetchError(msg)
    if "@" in parts.netloc:
        msg = "The URL has a user in it: credentials do not belong there."
        raise FetchError(msg)
    default = _PORTS[scheme]
    bare = f"[{name}]" if ":" in name else name
    authority = bare if port in {None, default} else f"{bare}:{port}"
    path = quote(parts.path, safe=_SAFE) or "/"
    if parts.query:
        path = f"{path}?{quote(parts.query, safe=_SAFE)}"
    return Target(f"{scheme}://{authority}{path}", scheme, name, default if port is None else port, authority, path)


def redirected(request: SentRequest, response: ReceivedResponse) -> SentRequest | None:
    """The request that a redirect asks for; None where the response is no redirect with one Location.

    To another origin no credentials go along, nor does a Host field that was given for this one. Raises FetchError where
    Location cannot be asked.
    """
    locations = response.values("location")
    if response.status not in _REDIRECTS or len(locations) != 1:
        return None
    before = target_of(request.url)
    # A field's value may hold letters beyond ASCII, as UTF-8 that was read as Latin-1.
    location = locations[0].encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        after = target_of(urljoin(request.url, location))
    except ValueError as error:
        msg = f"The redirect leads to {location[:200]!r}, which is no URL."
        raise FetchError(msg) from error
    dropped: set[str] = {"host"} if after.authority != before.authority else set()
    if after.origin != before.origin:
        dropped |= _SECRET
    method, body = request.method, request.body
    if (response.status == 303 and method != "HEAD") or (response.status in {301, 302} and method == "POST"):
        method, body = "GET", b""
        dropped |= _OF_BODY
    fields = tuple((name, value) for name, value in request.fields if name.lower() not in dropped)
    return msgspec.structs.replace(request, method=method, url=after.url, fields=fields, body=body)
