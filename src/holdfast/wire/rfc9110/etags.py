"""Entity tags, text <-> values (RFC 9110 section 8.8.3).

Owns: their grammar, lists of them, and the strong and weak comparison. Must not know: how a resource
comes by its tag.
"""

from __future__ import annotations

import enum
import re
from typing import Final, TypeAlias

import msgspec

from holdfast.wire.rfc4918 import HeaderError

__all__ = [
    "ANY",
    "MAX_TAG_LIST_LENGTH",
    "AnyTag",
    "EntityTag",
    "TagCondition",
    "parse_entity_tag",
    "parse_tag_condition",
    "render_tag_condition",
]

MAX_TAG_LIST_LENGTH: Final = 8192
"""Longest accepted If-Match or If-None-Match field, in characters."""


class EntityTag(msgspec.Struct, frozen=True):
    """One entity tag: the text between the quotes, and whether `W/` stood before them."""

    opaque: str
    weak: bool = False

    def matches_strongly(self, other: EntityTag) -> bool:
        """Both are strong and their texts are equal (section 8.8.3.2)."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def matches_weakly(self, other: EntityTag) -> bool:
        """Their texts are equal, weak or not (section 8.8.3.2)."""
        return self.opaque == other.opaque

    def render(self) -> str:
        """As in an ETag field."""
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'


class AnyTag(enum.Enum):
    """The type of ANY, which is `*` in If-Match and If-None-Match: any current representation."""

    ANY = "*"


ANY: Final = AnyTag.ANY

TagCondition: TypeAlias = tuple[EntityTag, ...] | AnyTag
"""The value of an If-Match or If-None-Match field."""

# entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE; etagc = %x21 / %x23-7E / obs-text. A bare word without
# quotes, as sloppy clients send it, is read as a strong tag: refusing it would only hide a conflict.
_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",*][^\s",]*)')
_BETWEEN: Final = re.compile(r"[ \t,]*")


def parse_entity_tag(text: str | None) -> EntityTag | None:
    """Read one tag (an ETag field, the brackets of an If header); None where it is not exactly one."""
    match = _TAG.fullmatch(text.strip(" \t")) if text else None
    return None if match is None else _tag(match)


def parse_tag_condition(text: str) -> TagCondition:
    """Read the list of an If-Match or If-None-Match field (sections 13.1.1, 13.1.2), or `*`.

    Raises HeaderError where it cannot be understood: passing over a condition could lose an update.
    """
    if len(text) > MAX_TAG_LIST_LENGTH:
        msg = f"the list of entity tags is longer than {MAX_TAG_LIST_LENGTH} characters"
        raise HeaderError(msg)
    if text.strip(" \t") == "*":
        return ANY
    tags: list[EntityTag] = []
    position = _end(_BETWEEN.match(text))
    while position < len(text):
        match = _TAG.match(text, position)
        after = _BETWEEN.match(text, match.end()) if match else None
        if match is None or after is None or ("," not in after[0] and after.end() < len(text)):
            msg = 'If-Match and If-None-Match take entity tags in double quotes, separated by commas, or "*"'
            raise HeaderError(msg)
        tags.append(_tag(match))
        position = after.end()
    if not tags:
        msg = "If-Match and If-None-Match need at least one entity tag"
        raise HeaderError(msg)
    return tuple(tags)


def render_tag_condition(condition: TagCondition) -> str:
    """The value of an If-Match or If-None-Match field."""
    return "*" if isinstance(condition, AnyTag) else ", ".join(tag.render() for tag in condition)


def _tag(match: re.Match[str]) -> EntityTag:
    bare: str | None = match[3]
    return EntityTag(match[2], match[1] is not None) if bare is None else EntityTag(bare)


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0
