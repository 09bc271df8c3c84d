"""Which fields a request may put into a simulated answer, and which never.

Owns: the grammar of a field (RFC 9110 section 5), and the list of those that would frame the answer wrongly, outlive it in
a browser, or make it act on another's behalf. Must not know: options, statuses.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FieldError", "check_field", "check_name"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
# field-value of visible ASCII; no obs-text, which means something else to each reader.
_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,2048}")

_FRAMING: Final = frozenset({
    "connection", "content-length", "date", "keep-alive", "proxy-connection", "server", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""The server's own: where an answer ends, and what is said about the connection (RFC 9110 section 7.6.1)."""

_LASTING: Final = frozenset({
    "accept-ch", "alt-svc", "clear-site-data", "critical-ch", "expect-ct", "nel", "p3p", "public-key-pins",
    "public-key-pins-report-only", "report-to", "reporting-endpoints", "service-worker-allowed", "set-cookie",
    "set-cookie2", "strict-transport-security",
})  # fmt: skip
"""What a browser remembers of this server after the answer."""

_ACTING: Final = frozenset({
    "content-disposition", "content-security-policy", "content-security-policy-report-only", "refresh", "sourcemap",
    "speculation-rules", "x-content-type-options", "x-sourcemap",
})  # fmt: skip
"""What would make a browser load, store, follow or run something, or take away what keeps it from that."""

_OURS: Final = frozenset({"x-request-id", "x-simulated"})
_REFUSED: Final = _FRAMING | _LASTING | _ACTING | _OURS
_REFUSED_PREFIX: Final = "access-control-"

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
    lower = name.lower()
    if lower in _REFUSED or lower.startswith(_REFUSED_PREFIX):
        raise FieldError(f"The field {name} is the server's own, or would do more than tell: it cannot be chosen.")


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
