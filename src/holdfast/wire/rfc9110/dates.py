"""HTTP dates, text <-> instants (RFC 9110 section 5.6.7).

Owns: the three forms that are read and the one that is written. Must not know: what time it is.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

__all__ = ["http_date", "parse_http_date", "render_http_date"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_CLOCK: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT. Some clients write "UTC" or "+0000", or a day of one digit.
_IMF: Final = re.compile(
    rf"[a-z]{{3}}, ?(?P<day>[0-9]{{1,2}}) (?P<month>[a-z]{{3}}) (?P<year>[0-9]{{4}}) {_CLOCK} (?:gmt|utc|\+0000)",
    re.IGNORECASE,
)
# rfc850-date: Sunday, 06-Nov-94 08:49:37 GMT
_RFC850: Final = re.compile(
    rf"[a-z]{{6,9}}, (?P<day>[0-9]{{2}})-(?P<month>[a-z]{{3}})-(?P<year>[0-9]{{2}}) {_CLOCK} gmt", re.IGNORECASE
)
# asctime-date: Sun Nov  6 08:49:37 1994
_ASCTIME: Final = re.compile(
    rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})", re.IGNORECASE
)
_FORMS: Final = (_IMF, _RFC850, _ASCTIME)
_LONGEST: Final = 40


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """The IMF-fixdate of a count of whole seconds since 1970."""
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds)[:7]
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


def render_http_date(instant: datetime) -> str:
    """The IMF-fixdate of an aware instant; parts of a second are dropped."""
    return http_date((instant - _EPOCH) // _SECOND)


def parse_http_date(text: str | None) -> datetime | None:
    """Read any of the three forms of RFC 9110 section 5.6.7; None for anything else.

    Two-digit years below 70 are of this century. The name of the weekday is not compared.
    """
    if not text or len(text) > _LONGEST:
        return None
    text = text.strip(" \t")
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _instant(match)
    return None


def _instant(match: re.Match[str]) -> datetime | None:
    month = _MONTH_NUMBERS.get(match["month"].lower())
    if month is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    second = 59 if match["second"] == "60" else int(match["second"])  # a leap second
    try:
        return datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None
