"""Which names on disk are resources at all: reserved names, and names that no URL can spell.

Owns: the reserved names and the test for them. Must not know: descriptors or disks. Pure.

`.holdfast` keeps the server's state; it is reserved at every depth, so that the state of another
server, whose folder lies inside this one, is as hidden. `.holdfast-` with 32 hexadecimal digits is a
file on its way into a mounted file system. File systems that fold letter case, compatible letters or
invisible characters find the same entry under other spellings, so the test folds as they do.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Final

__all__ = ["STATE_NAME", "hidden_name", "is_reserved", "is_reserved_name", "servable_names"]

STATE_NAME: Final = ".holdfast"
"""The folder, in the served folder, that holds the server's own state."""

_RESERVED: Final = re.compile(r"\.holdfast(?:-[0-9a-f]{32})?")
_MARK: Final = "/" + STATE_NAME
# Control characters, the backslash and (undecodable bytes) lone surrogates: ResourcePath refuses them all.
_UNSPEAKABLE: Final = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")
# Default ignorable code points that are not of category Cf.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


def _folded(name: str) -> str:
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", _IGNORABLE.sub("", visible)).casefold()


def is_reserved_name(name: str) -> bool:
    """True for one name that is never a resource, however it is spelled."""
    if name.isascii():
        return name.startswith(".") and _RESERVED.fullmatch(name.lower()) is not None
    return _RESERVED.fullmatch(_folded(name)) is not None


def is_reserved(text: str) -> bool:
    """True for a path text that has a reserved name anywhere in it."""
    if text.isascii() and _MARK not in text.lower():
        return False
    return any(is_reserved_name(name) for name in text.split("/"))


def hidden_name() -> str:
    """A new reserved name that nobody can guess, for a file that must lie beside its destination."""
    return f"{STATE_NAME}-{secrets.token_hex(16)}"


def servable_names(names: list[str]) -> list[str]:
    """Those of a collection's names that can be resources, sorted."""
    joined = "/".join(names)
    if _UNSPEAKABLE.search(joined) or is_reserved("/" + joined):
        names = [name for name in names if not _UNSPEAKABLE.search(name) and not is_reserved_name(name)]
    return sorted(names)
