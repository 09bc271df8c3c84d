"""The If header's text (RFC 4918 section 10.4.2).

    If             = "If" ":" ( 1*No-tag-list | 1*Tagged-list )
    No-tag-list    = List
    Tagged-list    = Resource-Tag 1*List
    List           = "(" 1*Condition ")"
    Condition      = ["Not"] (State-token | "[" entity-tag "]")
    State-token    = Coded-URL
    Resource-Tag   = "<" Simple-ref ">"

Accepted beyond the grammar: commas between lists, because fields sent apart arrive joined by commas
(RFC 9110 section 5.3), and untagged lists before tagged ones, for the same reason.
Each step of the parser consumes at least one character or fails, so it ends on any input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from holdfast.core.conditions import ConditionList, EtagCondition, IfHeader, TokenCondition
from holdfast.core.paths import ResourcePath

__all__ = ["MAX_CONDITIONS", "MAX_IF_BYTES", "IfSyntaxError", "parse_if", "render_if"]

MAX_IF_BYTES: Final = 16_384
"""Longest accepted If header, in bytes."""

MAX_CONDITIONS: Final = 256
"""Most conditions in one header; each may cost a look-up."""

_SPACE: Final = re.compile(r"[ \t\r\n,]*")
_CODED: Final = re.compile(r"<([^<>\s]+)>")
# Entity tags may hold spaces here, as those of the RFC's own examples do (sections 10.4.6, 10.4.9): it cites the
# quoted-string of RFC 2616 section 3.11, which RFC 9110 section 8.8.3 has narrowed since.
_CONDITION: Final = re.compile(
    r"""[ \t\r\n]*(?:((?i:not))(?=[ \t\r\n<\[])[ \t\r\n]*)?    # "Not" is case-insensitive (RFC 5234 strings)
        (?:<([^<>\s]+)>|\[((?:W/)?"[^"\x00-\x1f\x7f]*")\])[ \t\r\n]*""",
    re.VERBOSE,
)
_SIMPLE: Final = re.compile(r"\(<([^<>\s]+)>\)")


class IfSyntaxError(ValueError):
    """The If header cannot be read; the text is for the 400 answer."""


def parse_if(text: str, request_resource: ResourcePath, resolve: Callable[[str], ResourcePath | None]) -> IfHeader:
    """Read an If header.

    `request_resource` is what untagged lists are about. `resolve` turns a Resource-Tag's text (an
    absolute URI or path) into a canonical path, or None when it names nothing on this server.
    Raises IfSyntaxError.
    """
    simple = _SIMPLE.fullmatch(text)
    if simple and len(text) <= MAX_IF_BYTES:
        return IfHeader((ConditionList(request_resource, (TokenCondition(simple[1]),)),))
    if len(text) > MAX_IF_BYTES:
        msg = f"the If header is longer than {MAX_IF_BYTES} bytes"
        raise IfSyntaxError(msg)
    lists: list[ConditionList] = []
    resource: ResourcePath | None = request_resource
    tagged = False
    open_tag = False
    left = MAX_CONDITIONS
    position = _skip(text, 0)
    while position < len(text):
        if text[position] == "<":
            tag = _CODED.match(text, position)
            if tag is None or open_tag:
                raise _error(text, position, "a Resource-Tag must be <URL>, followed by a list")
            resource, tagged, open_tag = resolve(tag[1]), True, True
            position = tag.end()
        elif text[position] == "(":
            conditions, position = _parse_list(text, position + 1, left)
            left -= len(conditions)
            lists.append(ConditionList(resource, conditions, tagged))
            open_tag = False
        else:
            raise _error(text, position, "expected '(' or '<'")
        position = _skip(text, position)
    if not lists or open_tag:
        raise _error(text, position, "a list is missing")
    return IfHeader(tuple(lists))


def _parse_list(text: str, start: int, left: int) -> tuple[tuple[TokenCondition | EtagCondition, ...], int]:
    conditions: list[TokenCondition | EtagCondition] = []
    position = start
    while not text.startswith(")", position):
        match = _CONDITION.match(text, position)
        if match is None:
            raise _error(text, position, "expected a condition: <token> or [etag], with or without Not")
        if len(conditions) >= left:
            msg = f"the If header holds more than {MAX_CONDITIONS} conditions"
            raise IfSyntaxError(msg)
        negated = match[1] is not None
        conditions.append(TokenCondition(match[2], negated) if match[2] else EtagCondition(match[3], negated))
        position = match.end()
    if not conditions:
        raise _error(text, position, "a list must hold at least one condition")
    return tuple(conditions), position + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _error(text: str, position: int, problem: str) -> IfSyntaxError:
    # Never quotes the header: it may hold lock tokens.
    return IfSyntaxError(f"the If header is not well-formed at character {position} of {len(text)}: {problem}")


def render_if(header: IfHeader) -> str:
    """The header's text, with tags where lists have them; the inverse of `parse_if` on this server's own paths."""
    parts: list[str] = []
    after_tag = False
    for item in header.lists:
        # A tag applies to all lists up to the next tag, so an untagged list after a tagged one needs its own.
        if (item.tagged or after_tag) and item.resource is not None:
            parts.append(f"<{item.resource.href()}>")
            after_tag = True
        inner = " ".join(_render_condition(condition) for condition in item.conditions)
        parts.append(f"({inner})")
    return " ".join(parts)


def _render_condition(condition: TokenCondition | EtagCondition) -> str:
    prefix = "Not " if condition.negated else ""
    if isinstance(condition, TokenCondition):
        return f"{prefix}<{condition.token}>"
    return f"{prefix}[{condition.etag}]"
