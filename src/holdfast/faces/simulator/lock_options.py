"""What is asked of a simulated lock: its key, for how long, by whom, why; in words where that cannot be.

Owns: these options and their bounds, and which others go with a lock: none that would make its answer untrue. Must not know:
how a lock stands. No value is ever repeated in a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.faces.simulator.options import OptionError, Options

__all__ = ["KEY", "LOCK_OPTIONS", "Terms", "check_together", "read_asked", "read_terms"]

LOCK_OPTIONS: Final[Mapping[str, str]] = {
    "lock": "with 423: the name of a real lock, 1 to 40 letters, digits, `_`, `-`; 423 while it is held, then 200",
    "for": "how long the lock is held: 10s, 1.5m, 2h",
    "holder": "who holds the lock: a name",
    "reason": "why it is held",
}
"""Each option and what it takes, as `options.OPTIONS`."""

KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""The name of a lock, which is a part of an id and of a path."""

_SPAN: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)(ms|s|m|h)?")
_IN_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LEAST_S: Final = 1.0
_MOST_S: Final = 86_400.0
_LONGEST_REASON: Final = 200

_FIXED: Final = frozenset({"retry-after"})


class Terms(msgspec.Struct, frozen=True):
    """What was asked of a lock; None where nothing was."""

    span: timedelta | None
    holder: str | None
    reason: str | None


def read_asked(options: Options) -> tuple[str, Terms]:
    """The key of the lock, and what is asked of it. Raises OptionError."""
    key = options.further.get("lock")
    if key is None:
        raise OptionError("for, holder and reason are of a lock, which lock names.")
    if KEY.fullmatch(key) is None:
        raise OptionError("The option lock is 1 to 40 letters, digits and `_`, `-`.")
    return key, read_terms(options.further)


def read_terms(further: Mapping[str, str]) -> Terms:
    """What is asked of a lock whose key is known otherwise. Raises OptionError."""
    holder, reason = further.get("holder"), further.get("reason")
    if holder is not None:
        try:
            holder = check_name(holder)
        except UnusableNameError:
            raise OptionError(
                'The option holder is a name of 1 to 64 characters, none of them : / \\ " < or >, and not anonymous.'
            ) from None
    if reason is not None and not (reason.isprintable() and len(reason) <= _LONGEST_REASON):
        raise OptionError(f"The option reason is up to {_LONGEST_REASON} characters on one line.")
    return Terms(_span(further.get("for")), holder, reason)


def _span(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _SPAN.fullmatch(text)
    seconds = 0.0 if match is None else float(match[1]) * _IN_SECONDS[match[2] or "s"]
    if not _LEAST_S <= seconds <= _MOST_S:
        raise OptionError("The option for is a span of time from 1s to 24h, such as 10s or 1.5m.")
    return timedelta(seconds=seconds)


def check_together(code: int, options: Options) -> None:
    """Raises OptionError for what would make the answer untrue."""
    if code != 423:
        raise OptionError("A lock goes with 423 alone: it is 423 while it is held, and 200 then.")
    if options.pattern is not None or options.key is not None:
        raise OptionError("A lock says by itself what comes when: seq, random and key do not go with it.")
    if options.retry_after is not None or any(name.lower() in _FIXED for name, _ in options.fields):
        raise OptionError("With a lock, Retry-After tells when it ends; it can be left out (omit), not chosen.")
    if options.delay_s:
        raise OptionError(
            "The lock's time would run on during the delay, and the answer be untrue; body_delay and dribble go with a "
            "lock, and `Prefer: wait=N` waits for its end."
        )
