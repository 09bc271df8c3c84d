"""Byte ranges, text <-> values (RFC 9110 section 14).

Owns: reading a Range field against a size, and what is refused as abuse. Must not know: files.
"""

from __future__ import annotations

import enum
import re
from typing import Final, TypeAlias

import msgspec

__all__ = [
    "MAX_RANGES",
    "UNSATISFIABLE",
    "ByteRange",
    "RangeRequest",
    "Unsatisfiable",
    "parse_range",
    "render_content_range",
]

MAX_RANGES: Final = 32
"""A request for more ranges is answered with the whole (section 14.2 allows to ignore Range)."""

_MAX_OVERLAPS: Final = 2
_MAX_LENGTH: Final = 1024
_HUGE: Final = 2**63 - 1

# ranges-specifier = "bytes=" 1#( int-range / suffix-range ); int-range = first-pos "-" [ last-pos ]
_UNIT: Final = re.compile(r"[ \t]*bytes[ \t]*=", re.IGNORECASE)
_SPEC: Final = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")


class ByteRange(msgspec.Struct, frozen=True):
    """`length` bytes from `offset`; at least one byte, all of them within the representation."""

    offset: int
    length: int


class Unsatisfiable(enum.Enum):
    """The type of UNSATISFIABLE: no asked range lies within the representation, for a 416 answer."""

    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE

RangeRequest: TypeAlias = tuple[ByteRange, ...] | Unsatisfiable | None
"""Ranges in the order asked; UNSATISFIABLE (416); or None: send the whole with 200."""


def parse_range(text: str | None, size: int) -> RangeRequest:
    """Read a Range field against a representation of `size` bytes (section 14.2).

    None where the field is absent, of another unit, malformed, asks for more than MAX_RANGES ranges,
    or for more than two that overlap (section 17.15), or where the representation is empty (some
    clients ask for a range of whatever they get): then the whole is sent.
    """
    specs = _specs(text) if size else []
    found: list[ByteRange] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first: str | None = match[1]
        if first is None:
            length = min(_number(match[3]), size)
            if length:
                found.append(ByteRange(size - length, length))
            continue
        start = _number(first)
        end = _number(match[2]) if match[2] else _HUGE
        if end < start:
            return None
        if start < size:
            found.append(ByteRange(start, min(end, size - 1) - start + 1))
    if not found:
        return UNSATISFIABLE if specs else None
    return None if _overlaps(found) > _MAX_OVERLAPS else tuple(found)


def render_content_range(part: ByteRange | None, size: int) -> str:
    """A Content-Range value for one part; `None` gives that of a 416 answer (section 14.4)."""
    if part is None:
        return f"bytes */{size}"
    return f"bytes {part.offset}-{part.offset + part.length - 1}/{size}"


def _specs(text: str | None) -> list[str]:
    """The items of a `bytes` range set; none where the field is to be ignored."""
    if text is None or len(text) > _MAX_LENGTH:
        return []
    unit = _UNIT.match(text)
    if unit is None:
        return []
    specs = [spec for spec in text[unit.end() :].split(",") if spec.strip(" \t")]
    return specs if len(specs) <= MAX_RANGES else []


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 18 else _HUGE


def _overlaps(ranges: list[ByteRange]) -> int:
    """How many ranges begin before an earlier-starting one has ended."""
    count = 0
    reached = -1
    for part in sorted(ranges, key=lambda part: part.offset):
        count += part.offset < reached
        reached = max(reached, part.offset + part.length)
    return count
