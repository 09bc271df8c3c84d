"""Whether a cache may keep a response, and for how long it may use it without asking (RFC 9111).

Owns: that verdict, for shared caches and for private ones, and the reading of Cache-Control. Must not know: rules, and what
is good or bad about it. Which statuses a cache may keep on its own guess is in `wire.statuses` (RFC 9110 section 15.1).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import msgspec

from holdfast.inspector.inspected import Inspected
from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.statuses import status_info

__all__ = ["Storing", "cache_control", "is_reusable", "storing"]

_LONGEST_S: Final = 2**31
"""More seconds than this are read as this (RFC 9111 section 1.2.2)."""

_LONGEST_FIELD: Final = 8192
_DIRECTIVE: Final = re.compile(r"[ \t,]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(\"(?>[^\"\\]|\\.)*+\"|[^,\s]*+))?+[^,]*+")
_STORABLE_METHODS: Final = frozenset({"", "GET", "HEAD"})


class Storing(msgspec.Struct, frozen=True):
    """What a cache may do. `reuse_s` is for how many seconds it may answer from its copy without asking the server: 0 never, None as
    long as it guesses. `reason` is a clause for people.
    """

    may_store: bool
    reuse_s: float | None
    reason: str


def cache_control(inspected: Inspected) -> dict[str, str]:
    """The response's directives, names in lower case, values without quotes; of one given twice the first counts."""
    found: dict[str, str] = {}
    text = (inspected.response.field("cache-control") or "")[:_LONGEST_FIELD]
    for match in _DIRECTIVE.finditer(text):
        found.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    return found


def is_reusable(verdict: Storing) -> bool:
    """True where the next request may be answered from the copy, and the server is not asked."""
    return verdict.may_store and verdict.reuse_s != 0


def storing(inspected: Inspected, *, is_shared: bool) -> Storing:
    """The verdict of RFC 9111 section 3 and its freshness (section 4.2). A request that is not known counts as a GET."""
    directives = cache_control(inspected)
    refusal = _refusal(inspected, directives, is_shared=is_shared)
    if refusal:
        return Storing(may_store=False, reuse_s=0, reason=refusal)
    lifetime = _explicit_lifetime(inspected, directives, is_shared=is_shared)
    is_guessed = lifetime is None and ("public" in directives or _info_heuristic(inspected.status))
    if lifetime is None and not is_guessed and (is_shared or "private" not in directives):
        return Storing(
            may_store=False,
            reuse_s=0,
            reason=f"nothing says for how long, and {inspected.status} is not kept on a guess",
        )
    if directives.get("no-cache") == "":
        return Storing(may_store=True, reuse_s=0, reason="no-cache: the server is asked before each use")
    if "*" in (inspected.response.field("vary") or ""):
        return Storing(may_store=True, reuse_s=0, reason="Vary: * fits no later request")
    if is_guessed:
        return Storing(may_store=True, reuse_s=None, reason="nothing says for how long, so the cache guesses")
    if lifetime is None:
        return Storing(may_store=True, reuse_s=0, reason="nothing says for how long")
    return Storing(may_store=True, reuse_s=max(lifetime, 0.0), reason=f"it is fresh for {max(lifetime, 0):.0f} s")


def _refusal(inspected: Inspected, directives: dict[str, str], *, is_shared: bool) -> str:
    """Why it may not be kept at all; empty where nothing forbids it."""
    if inspected.method not in _STORABLE_METHODS:
        return f"answers to {inspected.method} are not kept"
    if "no-store" in directives:
        return "Cache-Control: no-store"
    if not 200 <= inspected.status <= 599:
        return "it is no final answer"
    if not status_info(inspected.status).is_storable:
        return f"{inspected.status} must not be kept"
    if inspected.status == 304:
        return "a 304 renews a stored answer and is none itself"
    if is_shared and directives.get("private") == "":
        return "Cache-Control: private"
    if is_shared and inspected.exchange.requested("authorization") is not None:
        if not directives.keys() & {"public", "must-revalidate", "s-maxage"}:
            return "the request had credentials, and nothing allows to share the answer"
    return ""


def _info_heuristic(status: int) -> bool:
    return status_info(status).is_heuristically_cacheable


def _explicit_lifetime(inspected: Inspected, directives: dict[str, str], *, is_shared: bool) -> float | None:
    """Seconds of freshness that the response states; None where it states none. What cannot be read counts as stale."""
    for name in ("s-maxage", "max-age") if is_shared else ("max-age",):
        if name in directives:
            digits = directives[name]
            if not (digits.isascii() and digits.isdigit()):
                return 0.0
            return float(min(int(digits[:12]), _LONGEST_S))
    values = inspected.response.values("expires")
    if not values:
        return None
    expires = parse_http_date(values[0]) if len(values) == 1 else None
    if expires is None:
        return 0.0
    return (expires - (inspected.date or inspected.now)) / timedelta(seconds=1)
