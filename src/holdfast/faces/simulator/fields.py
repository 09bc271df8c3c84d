"""Which fields a request may put into a simulated answer: those that only tell something, and no others.

Owns: the grammar of a field (RFC 9110 section 5), the list of standard fields that a request may choose, and which names that
begin with X- it may not. What is not listed is refused: a field would frame the answer wrongly, outlive it in a browser or a
cache, make a browser act, or make the proxy in front of this server act on its word (X-Accel-Redirect). Must not know:
options, statuses.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FieldError", "check_field", "check_name"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
# field-value of visible ASCII; no obs-text, which means something else to each reader.
_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,2048}")

_STANDARD: Final = frozenset({
    "accept", "accept-encoding", "accept-patch", "accept-post", "accept-query", "accept-ranges", "age", "allow",
    "authentication-info", "cache-control", "cache-status", "content-digest", "content-encoding", "content-language",
    "content-location", "content-md5", "content-range", "content-type", "dasl", "dav", "deprecation", "digest", "etag",
    "expires", "idempotency-key", "im", "last-modified", "link", "location", "lock-token", "memento-datetime",
    "ms-author-via", "odata-version", "pragma", "prefer", "preference-applied", "proxy-authenticate",
    "proxy-authentication-info", "proxy-status", "ratelimit", "ratelimit-limit", "ratelimit-policy",
    "ratelimit-remaining", "ratelimit-reset", "repr-digest", "request-id", "retry-after", "schedule-tag",
    "server-timing", "signature", "signature-input", "status-uri", "sunset", "timeout", "traceparent", "tracestate",
    "vary", "via", "want-content-digest", "want-repr-digest", "warning", "www-authenticate",
})  # fmt: skip
"""The fields by name that tell a client something, and do no more than that."""

_OWN_PREFIX: Final = "x-"
"""What the names begin with that anybody may make up, for a client that is to read them."""

_ACTING: Final = frozenset({
    "x-cache-control", "x-content-security-policy", "x-content-security-policy-report-only", "x-content-type-options",
    "x-dns-prefetch-control", "x-download-options", "x-esi", "x-frame-options", "x-http-method", "x-ua-compatible",
    "x-permitted-cross-domain-policies", "x-redirect-by", "x-request-id", "x-robots-tag", "x-sourcemap", "x-url",
    "x-xss-protection",
})  # fmt: skip
"""Names of this kind that a browser, a crawler or a cache acts on, or that are the server's own."""

_FAMILIES: Final = re.compile(
    r"x-(?:"
    # Proxies, accelerators and servers that a field of the answer behind them gives an order.
    r"accel|apache|ats|caddy|envoy|haproxy|iis|internal|lighttpd|litespeed|lscache|lsadc|mod|nginx|openresty|reproxy|send|"
    r"squid|traefik|ts|varnish|"
    # Caches and content delivery networks.
    r"akamai|amz|azure|cache|cdn|cf|cloud|cloudflare|drupal|edge|esi|fastly|fwd|goog|google|ms|netlify|nf|purge|surrogate|"
    r"vercel|xkey|"
    # Frameworks, and what speaks of the request or of who sent it behind a proxy.
    r"auth|do|forwarded|host|http|match|middleware|nextjs|original|proxy|real|redirect|remote|rewrite|"
    # The server's own.
    r"holdfast|simulate|simulated|webkit"
    r")(?![a-z0-9]).*|x-(?:sendfile|reproxy|surrogate|varnish|middleware|lscache).*"
)
"""Families of such names: what follows `x-` up to the next hyphen."""

_LOCAL: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%?-][A-Za-z0-9._~!$&'()*+,;=:@%?/#-]*)?")
_INERT_TYPE: Final = re.compile(
    r"(?:application/(?:json|octet-stream|[a-z0-9.-]+\+json)|text/(?:plain|csv))(?:; ?charset=[a-zA-Z0-9-]+)?"
)


class FieldError(ValueError):
    """A field that cannot be; the text is a sentence for the client."""


def check_name(name: str) -> None:
    """Raise FieldError unless a request may say something about the field `name` of its answer."""
    if _TOKEN.fullmatch(name) is None:
        raise FieldError("The name of a field is a token of at most 64 characters (RFC 9110 section 5.1).")
    if not _is_telling(name.lower()):
        raise FieldError(
            f"The field {name} cannot be chosen: it is the server's own, would do more than tell, or is not known. "
            "A field of your own has a name such as X-Mine."
        )


def check_field(name: str, value: str) -> None:
    """Raise FieldError unless a request may put this field into its answer."""
    check_name(name)
    if _VALUE.fullmatch(value) is None:
        raise FieldError("The value of a field is at most 2048 visible ASCII characters, spaces and tabs, on one line.")
    lower = name.lower()
    if lower in {"location", "content-location"} and _LOCAL.fullmatch(value) is None:
        # Else the server would lead whoever trusts it anywhere.
        raise FieldError(f"The field {name} is a path of this server, such as /api/status/200.")
    if lower == "content-type" and _INERT_TYPE.fullmatch(value) is None:
        raise FieldError(
            "The field Content-Type can be chosen among those that no browser runs (application/json, others of JSON, "
            "text/plain, text/csv, application/octet-stream); the option body gives XML and HTML."
        )


def _is_telling(lower: str) -> bool:
    """True for the name of a field that does no more than tell; what reads `_` as `-` reads no other name."""
    if lower in _STANDARD:
        return True
    alike = lower.replace("_", "-")
    return lower.startswith(_OWN_PREFIX) and alike not in _ACTING and _FAMILIES.fullmatch(alike) is None
