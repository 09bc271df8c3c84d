"""The If field of the wrong little server: read, and no more. Written apart from Holdfast's own on purpose."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Condition", "matches", "parse_if"]

_LIST = re.compile(
    r"\s*(?:<(?P<tag>[^<>]+)>\s*)?\(\s*(?P<inside>(?:(?:Not\s*)?(?:<[^<>]+>|\[(?:W/)?\"[^\"]*\"\])\s*)+)\)"
)
_CONDITION = re.compile(r"(Not\s*)?(?:<([^<>]+)>|\[((?:W/)?\"[^\"]*\")\])")


class Condition(NamedTuple):
    """A token or an entity tag."""

    value: str
    is_etag: bool
    is_negated: bool


def parse_if(text: str) -> list[tuple[str | None, list[Condition]]] | None:
    """Each list with the tag that it stands under; None where it is no If field."""
    found: list[tuple[str | None, list[Condition]]] = []
    at, tag = 0, None
    while at < len(text.rstrip()):
        match = _LIST.match(text, at)
        if match is None:
            return None
        tag = match["tag"] or tag
        conditions = [
            Condition(token or etag, not token, bool(no)) for no, token, etag in _CONDITION.findall(match["inside"])
        ]
        found.append((tag, conditions))
        at = match.end()
    return found or None


def matches(*, held: bool, is_negated: bool) -> bool:
    """What a condition comes to."""
    return held is not is_negated
