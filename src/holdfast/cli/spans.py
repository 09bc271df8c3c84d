"""How long to wait, as people type it: `30`, `30s`, `10m`, `1h`.

Owns: that form, and the sentence for what is none. Must not know: what is waited for.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.cli.terminal import CommandError

__all__ = ["parse_seconds"]

_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|[smhdw]?)", re.ASCII)
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LONGEST_S: Final = 3660 * 86_400.0


def parse_seconds(text: str, flag: str) -> float:
    """Seconds from a number with ms, s, m, h, d or w behind it, or with nothing for seconds; up to ten years.

    Raises CommandError, which names the `flag`.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        msg = f"{flag} {text} is no span of time: write a number with s, m, h or d behind it, such as 30s or 10m."
        raise CommandError(msg)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST_S:
        msg = f"{flag} {text} is more than ten years: choose a shorter span."
        raise CommandError(msg)
    return seconds
