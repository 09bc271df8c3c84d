"""The Prefer field (RFC 7240) and WebDAV's preferences (RFC 8144), text <-> values.

Owns: the grammar, and which preferences Holdfast knows. Must not know: who honours them. A
preference is only ever a wish, so nothing here fails: what is not understood is passed over.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

__all__ = [
    "MAX_PREFER_LENGTH",
    "MAX_WAIT_SECONDS",
    "Preferences",
    "Return",
    "parse_prefer",
    "render_prefer",
]

MAX_PREFER_LENGTH: Final = 4096
"""Characters of a Prefer field that are looked at; what follows is passed over."""

MAX_WAIT_SECONDS: Final = 2**31 - 1
"""A larger `wait` is read as this; how long a request may really wait is a setting."""


class Return(enum.StrEnum):
    """What the client wants in the body of a success (RFC 7240 section 4.2)."""

    MINIMAL = "minimal"
    REPRESENTATION = "representation"


class Preferences(msgspec.Struct, frozen=True):
    """What a request prefers. `wait` is in seconds; None where it was not asked for.

    `depth_noroot` leaves the collection itself out of a PROPFIND (RFC 8144 section 4).
    """

    wait: int | None = None
    return_: Return | None = None
    depth_noroot: bool = False
    respond_async: bool = False


_NONE: Final = Preferences()

# preference = token [ BWS "=" BWS word ] *( OWS ";" [ OWS parameter ] ); word = token / quoted-string.
# Atomic groups: a failed match costs no backtracking, so the scan is linear in the text.
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = r'"(?>[^"\\]|\\.)*+"'
_PREFERENCE: Final = re.compile(rf"[ \t]*+({_WORD})(?>[ \t]*+=[ \t]*+({_WORD}|{_QUOTED}))?+", re.DOTALL)
_REST: Final = re.compile(rf'(?>{_QUOTED}|[^,"])*+', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_prefer(text: str | None, brief: str | None = None) -> Preferences:
    """Read a Prefer field, repeated fields joined by commas; `brief` is Microsoft's older `Brief: t` field.

    Never fails. Of a preference that is given twice, the first counts (RFC 7240 section 2).
    """
    if not text and not brief:
        return _NONE
    found = dict[str, str]()
    for name, value in _preferences((text or "")[:MAX_PREFER_LENGTH]):
        found.setdefault(name, value)
    wanted = found.get("return", "").lower()
    if not wanted and (brief or "").strip(" \t").lower() == "t":
        wanted = "minimal"
    return Preferences(
        wait=_seconds(found.get("wait", "")),
        return_=Return(wanted) if wanted in {"minimal", "representation"} else None,
        depth_noroot=found.get("depth-noroot") == "",
        respond_async=found.get("respond-async") == "",
    )


def render_prefer(preferences: Preferences) -> str:
    """The value of a Prefer or Preference-Applied field; empty where nothing is preferred."""
    parts: list[str] = []
    if preferences.respond_async:
        parts.append("respond-async")
    if preferences.wait is not None:
        parts.append(f"wait={preferences.wait}")
    if preferences.return_ is not None:
        parts.append(f"return={preferences.return_.value}")
    if preferences.depth_noroot:
        parts.append("depth-noroot")
    return ", ".join(parts)


def _preferences(text: str) -> list[tuple[str, str]]:
    """Each (lower-case name, value without quotes), in order; items that break the grammar are left out."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _PREFERENCE.match(text, position)
        start = match.end() if match else position
        rest = _REST.match(text, start)
        end = rest.end() if rest else start
        if match is not None and text[start:end].lstrip(" \t")[:1] in {"", ";"}:
            found.append((match[1].lower(), _unquoted(match[2] or "")))
        if end < len(text) and text[end] == '"':  # a quoted string without an end: nothing after it can be trusted
            break
        position = end + 1
    return found


def _unquoted(word: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", word[1:-1]) if word.startswith('"') else word


def _seconds(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip("0") or "0"
    return min(int(digits), MAX_WAIT_SECONDS) if len(digits) <= 10 else MAX_WAIT_SECONDS
