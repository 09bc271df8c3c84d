"""WebDAV's small header fields, text <-> values: Depth, Destination, Lock-Token, Overwrite, Timeout.

Owns: their grammars (RFC 4918 section 10) with the tolerance that real clients need, and the one
exception that header parsers raise. The If header has its own module. Must not know: resources,
locks, settings. Every parser here is total: a value, or its own error, in time linear in the text.
"""

from __future__ import annotations

import enum
import re
from typing import Final, TypeAlias

from holdfast.core.model import Depth

__all__ = [
    "INFINITE",
    "MAX_DESTINATION_LENGTH",
    "MAX_LOCK_TOKEN_LENGTH",
    "MAX_TIMEOUT_LENGTH",
    "MAX_TIMEOUT_SECONDS",
    "DestinationElsewhereError",
    "HeaderError",
    "Infinite",
    "TimeoutRequest",
    "destination_path",
    "parse_depth",
    "parse_destination",
    "parse_lock_token",
    "parse_overwrite",
    "parse_timeout",
    "render_depth",
    "render_lock_token",
    "render_overwrite",
    "render_timeout",
]

MAX_TIMEOUT_LENGTH: Final = 1024
"""Characters of a Timeout field that are looked at; what follows is passed over."""

MAX_TIMEOUT_SECONDS: Final = 2**32 - 1
"""The largest value RFC 4918 section 10.7 allows; a larger one is read as this."""

MAX_LOCK_TOKEN_LENGTH: Final = 1024
"""Longest accepted lock token, in characters, without its angle brackets."""

MAX_DESTINATION_LENGTH: Final = 16_384
"""Longest accepted Destination field, in characters; a 4,096-byte path is three times that when encoded."""


class HeaderError(ValueError):
    """A header field cannot be understood; the text says why, for the 400 answer."""


class DestinationElsewhereError(ValueError):
    """The Destination is on another server, for a 502 answer (RFC 4918 section 9.8.5)."""


class Infinite(enum.Enum):
    """The type of INFINITE, the Timeout value without an end."""

    INFINITE = "Infinite"


INFINITE: Final = Infinite.INFINITE

TimeoutRequest: TypeAlias = int | Infinite | None
"""What a Timeout field asks for: whole seconds, INFINITE, or None where nothing was asked or understood."""

# Timeout: TimeType = "Second-" 1*DIGIT / "Infinite"; a list, the client's preference first (section 10.7).
_TIME_TYPE: Final = re.compile(r"(?:second-([0-9]+)|(infinite))", re.IGNORECASE)

# Coded-URL = "<" absolute-URI ">" (section 10.1); the URI's characters are those of RFC 3986.
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_HTTP_URI: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]*))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}

_DEPTHS: Final = {"0": Depth.ZERO, "1": Depth.ONE, "infinity": Depth.INFINITY}
_OVERWRITES: Final = {"T": True, "F": False}


def parse_timeout(text: str | None) -> TimeoutRequest:
    """Read a Timeout field (RFC 4918 section 10.7): the first item of the list that is understood.

    Never fails: the server need not honour the field, so unknown and malformed items are passed over.
    """
    if not text:
        return None
    for item in text[:MAX_TIMEOUT_LENGTH].split(","):
        match = _TIME_TYPE.fullmatch(item.strip(" \t"))
        if match is None:
            continue
        digits: str | None = match[1]
        if digits is None:
            return INFINITE
        digits = digits.lstrip("0") or "0"
        return min(int(digits), MAX_TIMEOUT_SECONDS) if len(digits) <= 10 else MAX_TIMEOUT_SECONDS
    return None


def render_timeout(seconds: int | Infinite | None) -> str:
    """One TimeType: `Second-n`, or `Infinite` for INFINITE and None (a lock without end)."""
    return f"Second-{seconds}" if isinstance(seconds, int) else "Infinite"


def parse_depth(text: str | None) -> Depth | None:
    """Read a Depth field (RFC 4918 section 10.2); None where it is absent. Raises HeaderError for any other value."""
    if text is None:
        return None
    depth = _DEPTHS.get(text) or _DEPTHS.get(text.strip(" \t").lower())
    if depth is None:
        msg = "the Depth header must be 0, 1 or infinity"
        raise HeaderError(msg)
    return depth


def render_depth(depth: Depth) -> str:
    """The value of a Depth field."""
    return depth.value


def parse_lock_token(text: str) -> str:
    """Read a Lock-Token field (RFC 4918 section 10.5): the token, an absolute URI, without angle brackets.

    Windows' Mini-Redirector and the npm client `webdav` send it without the brackets. Raises
    HeaderError for anything that is not one absolute URI.
    """
    token = text.strip(" \t")
    if token.startswith("<") and token.endswith(">"):
        token = token[1:-1]
    if len(token) > MAX_LOCK_TOKEN_LENGTH:
        msg = f"the Lock-Token header is longer than {MAX_LOCK_TOKEN_LENGTH} characters"
        raise HeaderError(msg)
    if not _URI.fullmatch(token):
        msg = "the Lock-Token header must hold one lock token: <an absolute URI in angle brackets>"
        raise HeaderError(msg)
    return token


def render_lock_token(token: str) -> str:
    """The Coded-URL of a Lock-Token field: the token in angle brackets."""
    return f"<{token}>"


def parse_overwrite(text: str | None) -> bool:
    """Read an Overwrite field (RFC 4918 section 10.6); absent means T. Raises HeaderError for other values."""
    if text is None:
        return True
    overwrite = _OVERWRITES.get(text.strip(" \t").upper())
    if overwrite is None:
        msg = "the Overwrite header must be T or F"
        raise HeaderError(msg)
    return overwrite


def render_overwrite(overwrite: bool) -> str:  # noqa: FBT001 - the field's one value
    """The value of an Overwrite field."""
    return "T" if overwrite else "F"


def parse_destination(text: str | None, *, scheme: str, host: str | None) -> str:
    """Read a Destination field (RFC 4918 section 10.3): the path part, still percent-encoded, starting with a slash.

    `scheme` and `host` are those of the request (its Host field). An absolute URI must name the same
    host and port; its scheme may differ, since a proxy in front may speak https with the client and
    http with this server. Raises HeaderError for what is not an http URI or an absolute path without
    query and fragment, DestinationElsewhereError for another server.
    """
    uri_scheme, authority, path = _destination(text)
    if authority is not None:
        _check_authority(uri_scheme, authority, scheme.lower(), host)
    return path


def destination_path(text: str) -> str:
    """The same whatever server the field names: for whoever stands before a server and cannot know all the names that it goes by.

    Raises HeaderError as parse_destination does.
    """
    _, authority, path = _destination(text)
    if authority is not None:
        _host_and_port(authority)
    return path


def _destination(text: str | None) -> tuple[str, str | None, str]:
    """Scheme, authority and path of a Destination field; no authority where it is an absolute path."""
    if text is None:
        msg = "the Destination header is missing"
        raise HeaderError(msg)
    value = text.strip(" \t")
    if len(value) > MAX_DESTINATION_LENGTH:
        msg = f"the Destination header is longer than {MAX_DESTINATION_LENGTH} characters"
        raise HeaderError(msg)
    if not _VISIBLE.fullmatch(value):
        msg = "the Destination header must be a percent-encoded absolute URI or absolute path"
        raise HeaderError(msg)
    if "#" in value or "?" in value:
        msg = "the Destination header must not hold a query or a fragment"
        raise HeaderError(msg)
    if value.startswith("/"):
        if value.startswith("//"):
            msg = "the Destination header must not start with two slashes"
            raise HeaderError(msg)
        return "", None, value
    match = _HTTP_URI.fullmatch(value)
    if match is None:
        msg = "the Destination header must be an http or https URI, or an absolute path"
        raise HeaderError(msg)
    return match[1].lower(), match[2], match[3] or "/"


def _host_and_port(authority: str) -> re.Match[str]:
    named = _AUTHORITY.fullmatch(authority)
    if named is None:
        # Also a user name before "@", which RFC 9110 section 4.2.4 asks to treat as an error.
        msg = "the Destination header does not name a host in a form that is understood"
        raise HeaderError(msg)
    return named


def _check_authority(uri_scheme: str, authority: str, scheme: str, host: str | None) -> None:
    named = _host_and_port(authority)
    ours = _AUTHORITY.fullmatch((host or "").strip(" \t"))
    if ours is not None and named[1].lower().rstrip(".") == ours[1].lower().rstrip("."):
        default_ports = {"", _DEFAULT_PORTS[uri_scheme], _DEFAULT_PORTS.get(scheme, "")}
        named_port, our_port = named[2] or "", ours[2] or ""
        if named_port == our_port or (named_port in default_ports and our_port in default_ports):
            return
    msg = "the Destination header names another server; Holdfast copies and moves within one server only"
    raise DestinationElsewhereError(msg)
