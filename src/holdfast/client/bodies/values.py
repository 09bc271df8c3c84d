"""Single values out of a stranger's JSON or text: names, instants, spans, members in any case.

Owns: what is taken for such a value, and that everything else is none. Must not know: any server, or where in a body a
value stands. Nothing here raises, or recurses into what it is handed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, TypeAlias, cast

import msgspec

from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.sentences import clean

__all__ = [
    "MAX_RETRY_AFTER",
    "JsonObject",
    "count",
    "folded",
    "instant",
    "json_list",
    "json_object",
    "json_value",
    "member",
    "objects_in",
    "retry_after",
    "seconds",
    "text",
    "words",
]

JsonObject: TypeAlias = Mapping[str, object]

MAX_RETRY_AFTER: Final = 86_400.0
"""Longest Retry-After that is believed, in seconds; a longer one is cut to it."""

_MAX_WORDS: Final = 500
_MAX_OBJECTS: Final = 200
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_SECONDS: Final = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,9})?", re.ASCII)
# Whole seconds of 1973 to 5138; a thousand times as much is milliseconds.
_EARLIEST: Final = 100_000_000
_LATEST: Final = 100_000_000_000


def json_value(body: bytes) -> object:
    """The JSON value of a body, with or without a byte order mark; None where it is none, or too deep."""
    try:
        return cast("object", msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf")))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None


def json_object(value: object) -> JsonObject:
    """The value where it is an object, else an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def json_list(value: object) -> list[object]:
    """The value where it is an array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def folded(value: object) -> JsonObject:
    """The object with its names in lower case, as Go reads them; of two that differ in case the first counts."""
    found: dict[str, object] = {}
    for name, item in json_object(value).items():
        found.setdefault(name.lower(), item)
    return found


def member(value: object, *names: str) -> object:
    """The value found by going down through objects by these names; None where one is missing."""
    for name in names:
        value = json_object(value).get(name)
    return value


def objects_in(value: object) -> Iterator[JsonObject]:
    """All objects in a JSON value, the outer before the inner, up to a bound."""
    todo: list[object] = [value]
    left = _MAX_OBJECTS
    while todo and left:
        item = todo.pop(0)
        left -= 1
        inner: Iterable[object] = json_list(item)[:_MAX_OBJECTS]
        if isinstance(item, dict):
            found = json_object(cast("object", item))
            yield found
            inner = found.values()
        todo.extend(cast("object", part) for part in inner if isinstance(part, (dict, list)))
        del todo[_MAX_OBJECTS:]


def text(value: object) -> str:
    """A name or another short text, on one line; numbers as they are written; empty for anything else."""
    if isinstance(value, str):
        return clean(value[:_MAX_WORDS])
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18 else ""


def words(value: object) -> str:
    """A sentence, on one line; empty for anything but text."""
    return clean(value[: 4 * _MAX_WORDS], _MAX_WORDS) if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """A whole number of things; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def seconds(value: object) -> float | None:
    """A span in seconds, as a number or its text; it may be negative, and is never NaN or infinite."""
    if isinstance(value, str):
        value = float(value.strip()) if len(value) < 40 and _SECONDS.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return float(value) if abs(value) < 10**18 else None


def instant(value: object) -> datetime | None:
    """An instant: RFC 3339 (up to nine digits of a second; without an offset it is UTC), an HTTP date, or seconds since 1970.

    None for years before 1971, by which some say that there is none, and for whatever no calendar has.
    """
    if isinstance(value, str):
        if len(value) > 60:
            return None
        match = _INSTANT.fullmatch(value.strip())
        if match is not None:
            return _of_match(match)
        return parse_http_date(value) or (_of_number(value.strip()) if value.strip().isascii() else None)
    if isinstance(value, datetime):
        return value
    return _of_number(value)


def retry_after(value: str | None, answered_at: datetime | None) -> float | None:
    """The seconds of a Retry-After field: a number, or a date seen from the server's clock (RFC 9110 section 10.2.3).

    From 0, also for what is negative or past, to MAX_RETRY_AFTER. None where it is neither, or where it is a date and
    the server's clock is not known.
    """
    if value is None:
        return None
    asked = seconds(value)
    if asked is None and answered_at is not None:
        date = parse_http_date(value)
        asked = None if date is None else (date - answered_at).total_seconds()
    return None if asked is None else min(max(asked, 0.0), MAX_RETRY_AFTER)


def _of_number(value: object) -> datetime | None:
    number = seconds(value)
    if number is None:
        return None
    if number >= _LATEST:
        number /= 1000
    if not _EARLIEST <= number < _LATEST:
        return None
    return datetime.fromtimestamp(number, UTC)


def _of_match(match: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    second = min(int(match[6] or 0), 59)  # a leap second
    micros = int((match[7] or "0").ljust(6, "0")[:6])
    offset = match[8] or "Z"
    zone = UTC
    if offset != "Z":
        span = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
        if span >= timedelta(hours=24):
            return None
        zone = timezone(-span if offset[0] == "-" else span)
    try:
        found = datetime(year, month, day, hour, minute, second, micros, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year > 1970 else None
