"""Where a request came from, as the browser that sent it says: Sec-Fetch-Site, Sec-Fetch-Mode, Origin.

Owns: reading these fields (Fetch Metadata Request Headers, W3C; Fetch Standard; RFC 6454). Must not know: sessions, what is
allowed. No page can set or hide them, so a page of another site cannot pass for one of this server. Only a browser
sends them; other programs say nothing, and nobody can make those send a request unawares.
"""

from __future__ import annotations

import enum
from typing import Final

from holdfast.wire.exchange import Request

__all__ = ["Provenance", "is_from_script", "is_led_here", "is_over_https", "provenance"]

_SCRIPT_MODES: Final = frozenset({"cors", "same-origin"})


class Provenance(enum.Enum):
    """Who made the browser send a request."""

    OWN_PAGE = "own page"
    """A page of this very server."""
    ELSEWHERE = "elsewhere"
    """A page of another server, or a person: an address typed, a bookmark."""
    UNSAID = "unsaid"
    """Neither field was sent: no browser, or a plain GET of one over HTTP without TLS."""


def provenance(request: Request) -> Provenance:
    """Who made the browser send `request`.

    Sec-Fetch-Site decides where it was sent, which is over HTTPS and to loopback addresses; elsewhere Origin does.
    """
    site = request.headers.get(b"sec-fetch-site")
    if site is not None:
        return Provenance.OWN_PAGE if site.strip().lower() == "same-origin" else Provenance.ELSEWHERE
    origin = request.headers.get(b"origin")
    if origin is None:
        return Provenance.UNSAID
    return Provenance.OWN_PAGE if origin.strip().lower() in _own_origins(request) else Provenance.ELSEWHERE


def is_over_https(request: Request) -> bool:
    """True where the browser speaks HTTPS with this server, or with the proxy in front of it.

    The proxy's part can be seen in Origin alone, which browsers send with every POST.
    """
    if request.scheme == "https":
        return True
    origin = (request.headers.get(b"origin") or "").strip().lower()
    return origin.startswith("https://") and origin in _own_origins(request)


def is_from_script(request: Request) -> bool:
    """True where a script of a page asked for it, by `fetch` or an EventSource, and nobody sees its answer as a page."""
    if (request.headers.get(b"x-requested-with") or "").strip().lower() == "holdfast":
        return True
    if (request.headers.get(b"accept") or "").strip().lower() == "text/event-stream":
        return True  # an EventSource, which cannot send fields of its own
    return (request.headers.get(b"sec-fetch-mode") or "").strip().lower() in _SCRIPT_MODES


def is_led_here(request: Request) -> bool:
    """True where a link on another site led a browser here, so that it kept cookies with SameSite=Strict to itself."""
    return (request.headers.get(b"sec-fetch-site") or "").strip().lower() == "cross-site"


def _own_origins(request: Request) -> tuple[str, ...]:
    """What Origin reads in a page of this server (RFC 6454 section 6.2).

    Where this server speaks HTTP, a proxy may speak HTTPS for it. To believe that gives nothing away: who answers on
    https://Host gets the cookies of http://Host from the browser anyway.
    """
    host = (request.headers.get(b"host") or "").strip().lower()
    if not host:
        return ()
    return (f"https://{host}",) if request.scheme == "https" else (f"http://{host}", f"https://{host}")
