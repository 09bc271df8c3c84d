"""Time that moves only when a test moves it.

Owns: the two sources that a Clock reads. Must not know: what the time is used for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from holdfast.clock import Clock

__all__ = ["ManualTime"]

_MICROSECOND: Final = timedelta(microseconds=1)


class ManualTime:
    """The uptime and the wall clock of a machine, both standing still. Give `clock()` to what is under test."""

    def __init__(self) -> None:
        """Some moment in 2026, an hour after the machine was started."""
        self.uptime_us = 3_600_000_000
        self.wall_us = 1_780_000_000_000_000

    def clock(self) -> Clock:
        """A new clock that reads this time."""
        return Clock(read_uptime=lambda: self.uptime_us, read_wall=lambda: self.wall_us)

    def pass_by(self, span: timedelta) -> None:
        """Let time pass, on both clocks."""
        self.uptime_us += span // _MICROSECOND
        self.wall_us += span // _MICROSECOND

    def set_wall_clock(self, change: timedelta) -> None:
        """Move the wall clock only, as a person or NTP does."""
        self.wall_us += change // _MICROSECOND

    def restart_machine(self) -> None:
        """Start the uptime anew; the wall clock goes on."""
        self.uptime_us = 1_000_000
