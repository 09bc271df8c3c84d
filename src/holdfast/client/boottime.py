"""The clock of held locks: seconds that nobody sets, and that go on while the machine sleeps.

Owns: `boottime`. Python's `time.monotonic` stands still on Linux while the machine is suspended, and a server's timer does
not: a laptop that is opened after lunch would believe that it still holds what expired at noon.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["boottime"]

_SOURCE: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since an unknown beginning; on Linux the time that the machine sleeps is counted.

    >>> boottime() <= boottime()
    True
    """
    return time.clock_gettime(_SOURCE)
