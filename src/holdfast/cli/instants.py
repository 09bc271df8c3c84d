"""Spans and ends of time as people type them: `90m`, `2h`, `22:00`, `2026-11-22T22:00`.

Owns: those forms, and the sentence for what is none of them. Must not know: the clock, which is asked by the caller;
what the time is for.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

from holdfast.cli.terminal import CommandError

__all__ = ["local_text", "parse_span", "parse_until"]

_SPAN: Final = re.compile(r"([1-9][0-9]{0,8})([mhdw])")
_UNITS: Final = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LONGEST: Final = timedelta(days=3660)
_TIME: Final = re.compile(r"[0-2]?[0-9]:[0-5][0-9](:[0-5][0-9])?")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:?[0-9]{2})?")


def parse_span(text: str, flag: str, *, otherwise: str = "") -> timedelta:
    """A number and m, h, d or w (minutes to weeks), up to ten years. Raises CommandError, which names the `flag`.

    `otherwise` ends the sentence, where the flag takes something else too.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        msg = f"{flag} {text} is no span of time: write a number and m, h, d or w, such as 90d{otherwise}."
        raise CommandError(msg)
    count = int(found[1])
    if count > _LONGEST // _UNITS[found[2]]:
        msg = f"{flag} {text} is more than ten years: choose a shorter span{otherwise}."
        raise CommandError(msg)
    return count * _UNITS[found[2]]


def parse_until(text: str, flag: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The instant that a time of day, or a date and time, means: local where it names no zone. Raises CommandError.

    A time of day is the next one, today or tomorrow. `now` is aware, on the wall clock; `zone` None is the machine's.
    """
    today = now.astimezone(zone)
    try:
        if _TIME.fullmatch(text):
            clock = time.fromisoformat(text.zfill(len(text) + (text[1] == ":")))
            found = _local(datetime.combine(today.date(), clock), zone)
            if found <= now:
                found = _local(datetime.combine(today.date() + timedelta(days=1), clock), zone)
        elif _INSTANT.fullmatch(text):
            named = datetime.fromisoformat(text)
            found = named if named.tzinfo is not None else _local(named, zone)
        else:
            msg = f"{flag} {text} is no time: write 22:00 for the next time that it is ten in the evening here, or 2026-11-22T22:00."
            raise CommandError(msg)
    except (ValueError, OverflowError) as error:
        msg = f"{flag} {text} is a time that does not exist."
        raise CommandError(msg) from error
    if found <= now:
        msg = f"{flag} {text} is past: here it is {local_text(now, now, zone)}."
        raise CommandError(msg)
    if found - now > _LONGEST:
        msg = f"{flag} {text} is more than ten years away: choose an earlier time, or none."
        raise CommandError(msg)
    return found


def local_text(instant: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """An instant for the person at this machine: the time alone when it falls on the day of `now`, else the day as well."""
    shown, today = instant.astimezone(zone), now.astimezone(zone)
    return f"{shown:%H:%M}" if shown.date() == today.date() else f"{shown:%Y-%m-%d %H:%M}"


def _local(naive: datetime, zone: tzinfo | None) -> datetime:
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
