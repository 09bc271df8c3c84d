"""The fields that a status must or should carry, made up so that each is true of the simulated answer.

Owns: their values, beside the table of `wire.statuses`, which says why each is there. Must not know: bodies, options,
how an answer is sent.
"""

from __future__ import annotations

import hashlib
from typing import Final

from holdfast.faces.simulator.content import Content
from holdfast.wire.exchange import Request
from holdfast.wire.rfc4918 import HeaderError
from holdfast.wire.rfc9110 import (
    ByteRange,
    EntityTag,
    parse_range,
    parse_tag_condition,
    render_content_range,
)

__all__ = ["BLOCKED_BY", "DEFAULT_RETRY_S", "LANDING", "interim_fields", "partial_content", "required_fields"]

LANDING: Final = "/api/status/200"
"""Where simulated answers lead: an address of this server at which nothing happens."""

BLOCKED_BY: Final = f'<{LANDING}>; rel="blocked-by"'

DEFAULT_RETRY_S: Final = 5
"""What Retry-After says where a status has the field and the request does not choose it."""

_WRONG_RANGE_SIZE: Final = 1000
"""The length that a simulated 416 tells."""

_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_ALTERNATES: Final = f'<{LANDING}>; rel="alternate"'
_LOGIN: Final = f'<{LANDING}>; rel="login"'
_RETRY: Final = ("Retry-After", str(DEFAULT_RETRY_S))
_LOCATION: Final = ("Location", LANDING)

_FIXED: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    201: (_LOCATION,),
    226: (("IM", "identity"), ("ETag", '"simulated"')),
    300: (_LOCATION, ("Link", _ALTERNATES)),
    301: (_LOCATION,),
    302: (_LOCATION,),
    303: (_LOCATION,),
    307: (_LOCATION,),
    308: (_LOCATION,),
    # Not Basic: a browser would ask its user for a name and a password, in a box of its own.
    401: (("WWW-Authenticate", 'Bearer realm="simulated"'),),
    407: (("Proxy-Authenticate", 'Bearer realm="simulated"'),),
    413: (_RETRY,),
    416: (("Content-Range", render_content_range(None, _WRONG_RANGE_SIZE)),),
    423: (_RETRY, ("Link", '</problems/locked>; rel="help"')),
    426: (("Upgrade", "TLS/1.3, HTTP/1.1"), ("Connection", "upgrade")),
    429: (_RETRY,),
    451: (("Link", BLOCKED_BY),),
    503: (_RETRY,),
    511: (("Link", _LOGIN),),
}


def required_fields(code: int, request: Request) -> list[tuple[str, str]]:
    """What the final answer `code` to `request` carries beside what describes its content."""
    if code == 304:
        return [("ETag", _known_tag(request))]
    if code == 405:
        # All but the method that was not allowed (RFC 9110 section 15.5.6); HEAD goes with GET.
        refused = {"GET", "HEAD"} if request.method in {"GET", "HEAD"} else {request.method}
        return [("Allow", ", ".join(method for method in _METHODS if method not in refused))]
    if code == 415:
        if request.method == "PATCH":
            return [("Accept", "application/json"), ("Accept-Patch", "application/json")]
        coding = [("Accept-Encoding", "identity")] if b"content-encoding" in request.headers else []
        return [("Accept", "application/json, application/xml, text/plain"), *coding]
    return list(_FIXED.get(code, ()))


def interim_fields(code: int) -> tuple[tuple[str, str], ...]:
    """What the interim answer `code` carries: a 103 hints at what the final answer will need (RFC 8297)."""
    return (("Link", f"<{LANDING}>; rel=preload; as=fetch"),) if code == 103 else ()


def partial_content(request: Request, whole: Content) -> tuple[Content, list[tuple[str, str]]]:
    """The part of `whole` that a 206 sends, with Content-Range and what ties the parts together (RFC 9110 section 15.3.7).

    Several ranges become the one that spans them, which a server may do; without one that can be met, it is the whole.
    """
    if not whole.length:
        return whole, []  # there is no part of nothing
    asked = parse_range(request.headers.get(b"range"), whole.length)
    if isinstance(asked, tuple) and asked:
        first = min(part.offset for part in asked)
        end = max(part.offset + part.length for part in asked)
        part = ByteRange(first, end - first)
    else:
        part = ByteRange(0, whole.length)
    tag = hashlib.sha256(b"%b %d" % (whole.text, whole.padding)).hexdigest()[:16]
    fields = [
        ("Content-Range", render_content_range(part, whole.length)),
        ("Accept-Ranges", "bytes"),
        ("ETag", f'"{tag}"'),
    ]
    return whole.part(part.offset, part.length), fields


def _known_tag(request: Request) -> str:
    """The entity tag of what the client has: its own where it names one, for a 304 confirms that."""
    try:
        known = parse_tag_condition(request.headers.get(b"if-none-match") or "")
    except HeaderError:
        known = None
    tag = known[0] if isinstance(known, tuple) and known else EntityTag("simulated")
    return tag.render() if tag.opaque.isascii() and tag.opaque.isprintable() else '"simulated"'
