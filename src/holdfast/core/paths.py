"""ResourcePath: the one canonical spelling of a resource, for locks, storage, permissions and headers.

Owns: decoding a request target once, and the relations between paths (parent, ancestors, at or below).
Must not know: disks, schemes, hosts. Two spellings of one URL (a trailing slash, percent-encoding of
unreserved characters, its letter case) give the same path (RFC 3986 section 6.2.2, RFC 4918 section 5.2).

Theory of operation: a path is refused, never repaired. Whatever could mean two things to two layers
(dot segments, an encoded slash or backslash, NUL, control characters, bytes that are not UTF-8) is an
InvalidPathError, so no layer below ever normalises again.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

__all__ = ["MAX_PATH_BYTES", "MAX_SEGMENT_BYTES", "ROOT", "InvalidPathError", "ResourcePath"]

MAX_PATH_BYTES: Final = 4096
"""Longest accepted path, in bytes of UTF-8 after decoding; PATH_MAX on Linux."""

MAX_SEGMENT_BYTES: Final = 255
"""Longest accepted name, in bytes of UTF-8; NAME_MAX on the file systems in use."""

# Unreserved and sub-delims that need no decoding; no dot directly after a slash, so no dot segment.
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_KEPT_IN_HREF: Final = "/-._~!$&'()*+,;=:@"
# Visible ASCII without "#" and "?", which end a path (RFC 3986 section 3.3): they cannot be part of a name unencoded.
_TARGET: Final = re.compile(r"[!\x22\x24-\x3e@-\x7e]*")


class InvalidPathError(ValueError):
    """The path cannot name a resource; the text says why, for a 400 answer."""


class ResourcePath:
    """A canonical absolute path: `/`, or `/name` parts with no trailing slash, in decoded Unicode.

    Build one with `ResourcePath.from_target` (a request target or URI path, percent-encoded) or
    `ResourcePath.from_text` (already decoded). Compares and hashes by its text.
    """

    __slots__ = ("text",)

    text: str

    def __init__(self, text: str) -> None:
        """Wrap `text`, which must already be canonical; use the `from_` constructors for input."""
        self.text = text

    @classmethod
    def from_target(cls, target: str) -> ResourcePath:
        """Decode the path part of a request target, exactly once.

        Raises InvalidPathError for dot segments (also percent-encoded), an encoded slash, a
        backslash that is encoded or not, NUL and control characters, bad escapes, bytes that are
        not UTF-8, empty segments in the middle, and paths or names that are too long.
        """
        plain = target.removesuffix("/")
        if len(plain) <= MAX_SEGMENT_BYTES and _PLAIN.fullmatch(plain):
            return cls(plain)
        if not target.startswith("/"):
            msg = "the path must start with a slash"
            raise InvalidPathError(msg)
        if len(target) > 3 * MAX_PATH_BYTES:
            msg = f"the path is longer than {MAX_PATH_BYTES} bytes"
            raise InvalidPathError(msg)
        if not _TARGET.fullmatch(target) or _BAD_ESCAPE.search(target):
            msg = "the path holds a character that must be percent-encoded, or a broken percent-encoding"
            raise InvalidPathError(msg)
        if "%2f" in target.lower():
            msg = "the path holds an encoded slash (%2F), which could mean two different resources"
            raise InvalidPathError(msg)
        try:
            text = unquote_to_bytes(target).decode("utf-8")
        except UnicodeDecodeError:
            msg = "the path is not UTF-8 once percent-decoded"
            raise InvalidPathError(msg) from None
        return cls.from_text(text)

    @classmethod
    def from_text(cls, text: str) -> ResourcePath:
        """Check an already decoded path, drop one trailing slash, and wrap it.

        Raises InvalidPathError as `from_target` does.
        """
        if not text.startswith("/"):
            msg = "the path must start with a slash"
            raise InvalidPathError(msg)
        if _CONTROL.search(text):
            msg = "the path holds a control character"
            raise InvalidPathError(msg)
        if "\\" in text:
            msg = "the path holds a backslash"
            raise InvalidPathError(msg)
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:
            msg = "the path holds a lone surrogate"
            raise InvalidPathError(msg) from None
        if size > MAX_PATH_BYTES:
            msg = f"the path is longer than {MAX_PATH_BYTES} bytes"
            raise InvalidPathError(msg)
        if text == "/":
            return cls(text)
        canonical = text.removesuffix("/")
        for segment in canonical[1:].split("/"):
            _check_segment(segment)
        return cls(canonical)

    @property
    def is_root(self) -> bool:
        """True for `/`."""
        return self.text == "/"

    @property
    def name(self) -> str:
        """The last segment; empty for the root."""
        return self.text.rsplit("/", 1)[1]

    @property
    def segments(self) -> tuple[str, ...]:
        """The names from the root down; empty for the root."""
        return () if self.text == "/" else tuple(self.text[1:].split("/"))

    @property
    def parent(self) -> ResourcePath:
        """The collection that this is a member of; the root is its own parent."""
        return ResourcePath(self.text.rsplit("/", 1)[0] or "/")

    @property
    def lineage(self) -> list[str]:
        """The texts of the root, each ancestor, and the path itself, from the top down."""
        text = self.text
        found = ["/"]
        if text == "/":
            return found
        end = text.find("/", 1)
        while end != -1:
            found.append(text[:end])
            end = text.find("/", end + 1)
        found.append(text)
        return found

    @property
    def prefix(self) -> str:
        """What the text of every path below this one starts with."""
        return "/" if self.text == "/" else self.text + "/"

    def child(self, name: str) -> ResourcePath:
        """The member `name`; raises InvalidPathError where the name cannot be one segment."""
        if not name or "/" in name:
            msg = "a member's name must be one segment"
            raise InvalidPathError(msg)
        return ResourcePath.from_text(self.prefix + name)

    def is_below(self, other: ResourcePath) -> bool:
        """True for a strict descendant of `other`."""
        return self.text != other.text and self.text.startswith(other.prefix)

    def is_at_or_below(self, other: ResourcePath) -> bool:
        """True for `other` itself and for all its descendants."""
        text, top = self.text, other.text
        return text == top or text.startswith(top if top == "/" else top + "/")

    def moved(self, source: ResourcePath, destination: ResourcePath) -> ResourcePath:
        """Where this path, at or below `source`, lies once `source` has become `destination`."""
        if self.text == source.text:
            return destination
        return ResourcePath(destination.prefix + self.text[len(source.prefix) :])

    def href(self, *, collection: bool = False) -> str:
        """The absolute path as a URI reference, percent-encoded; collections end in a slash (RFC 4918 5.2)."""
        encoded = self.text if _PLAIN.fullmatch(self.text) else quote(self.text, safe=_KEPT_IN_HREF)
        return encoded + "/" if collection and encoded != "/" else encoded

    def __eq__(self, other: object) -> bool:
        """Paths are equal when their canonical texts are."""
        return isinstance(other, ResourcePath) and other.text == self.text

    def __lt__(self, other: ResourcePath) -> bool:
        """Order by text, as the stores' range scans do."""
        return self.text < other.text

    def __hash__(self) -> int:
        """Hash by text."""
        return hash(self.text)

    def __repr__(self) -> str:
        """For logs and test failures."""
        return f"ResourcePath({self.text!r})"

    def __str__(self) -> str:
        """The decoded text."""
        return self.text


def _check_segment(segment: str) -> None:
    if segment in {".", ".."}:
        msg = "the path holds a dot segment"
        raise InvalidPathError(msg)
    if not segment:
        msg = "the path holds an empty segment"
        raise InvalidPathError(msg)
    if len(segment.encode("utf-8")) > MAX_SEGMENT_BYTES:
        msg = f"a name in the path is longer than {MAX_SEGMENT_BYTES} bytes"
        raise InvalidPathError(msg)


ROOT: Final = ResourcePath("/")
"""The top of the namespace; a depth-infinity lock here closes everything."""
