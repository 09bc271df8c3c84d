"""The cookie that carries a session: its names, its attributes, and how it is found in a request (RFC 6265).

Owns: the text of Set-Cookie, reading Cookie. Must not know: what a session is, or whether one stands.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.wire.exchange import Request

__all__ = ["COOKIE", "SECURE_COOKIE", "clear_cookies", "session_cookie", "set_cookie"]

COOKIE: Final = "holdfast_session"

SECURE_COOKIE: Final = "__Host-holdfast_session"
"""The name over HTTPS. Browsers take a cookie of such a name only from this very host over HTTPS (RFC 6265bis
section 4.1.3.2), so a neighbour under the same domain cannot slip its own session under a visitor."""

_ATTRIBUTES: Final = "Path=/; HttpOnly; SameSite=Strict"
_BETWEEN: Final = re.compile("[;,]")  # repeated fields are joined with a comma; no value of ours holds either


def session_cookie(request: Request) -> str | None:
    """The value of the session's cookie; None without one. Over HTTPS the plain name does not count."""
    field = request.headers.get(b"cookie")
    if field is None or COOKIE not in field:
        return None
    found: dict[str, str] = {}
    for pair in _BETWEEN.split(field):
        name, _, value = pair.strip(" \t").partition("=")
        found.setdefault(name, value)
    secure = found.get(SECURE_COOKIE)
    return secure if secure is not None or request.scheme == "https" else found.get(COOKIE)


def set_cookie(value: str, *, secure: bool, lasting_s: int) -> str:
    """The Set-Cookie value that makes a browser send `value` for `lasting_s` seconds; `secure`: over HTTPS alone."""
    if secure:
        return f"{SECURE_COOKIE}={value}; Max-Age={lasting_s}; {_ATTRIBUTES}; Secure"
    return f"{COOKIE}={value}; Max-Age={lasting_s}; {_ATTRIBUTES}"


def clear_cookies(*, secure: bool) -> tuple[str, ...]:
    """The Set-Cookie values that make a browser forget its session, by whichever name. One that is not over HTTPS ignores the second."""
    plain = f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"
    return (plain, f"{SECURE_COOKIE}=; Max-Age=0; {_ATTRIBUTES}; Secure") if secure else (plain,)
