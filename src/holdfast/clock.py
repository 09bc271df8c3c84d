"""The one place that reads the time.

A Clock's `now` is an aware UTC instant that never runs backwards and does not jump with the wall
clock: it is a wall-clock anchor, taken once, plus the time that has passed on a clock that also
counts while the machine sleeps. Processes that share a store share its anchor, so they agree on
`now`. `wall_offset` says how far the wall clock has been moved since, for showing an instant to people.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Anchor", "Clock", "boot_identity"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def _read_uptime() -> int:
    """Microseconds on a clock that is shared by all processes, never set, and counts sleep where the system can."""
    source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(source) // 1000


def _read_wall() -> int:
    """Microseconds since 1970 on the wall clock, which people and NTP may set at any time."""
    return time.time_ns() // 1000


def boot_identity() -> str:
    """A text that changes when the machine restarts, since the uptime clock starts anew then; empty where unknown."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Anchor(msgspec.Struct, frozen=True):
    """The pair of readings, in microseconds, that ties uptime to an instant; good while `boot` is this boot's."""

    wall_us: int
    uptime_us: int
    boot: str


class Clock:
    """Instants for one process. The two sources are parameters so that a test can move them."""

    def __init__(
        self,
        anchor: Anchor | None = None,
        *,
        read_uptime: Callable[[], int] = _read_uptime,
        read_wall: Callable[[], int] = _read_wall,
    ) -> None:
        """Continue `anchor`, or take a new one now."""
        self._read_uptime = read_uptime
        self._read_wall = read_wall
        self.anchor = anchor or Anchor(read_wall(), read_uptime(), boot_identity())
        self._base = self.anchor.wall_us - self.anchor.uptime_us
        self._offset = timedelta()
        self._offset_until_us = 0

    def now_us(self) -> int:
        """Microseconds since 1970 on this clock."""
        return self._base + self._read_uptime()

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        return _EPOCH + timedelta(0, 0, self._base + self._read_uptime())

    def wall_offset(self) -> timedelta:
        """What to add to an instant of this clock to show it on the wall clock as that stood within the last second."""
        now_us = self._base + self._read_uptime()
        if not self._offset_until_us - 1_000_000 <= now_us < self._offset_until_us:
            self._offset = timedelta(microseconds=self._read_wall() - now_us)
            self._offset_until_us = now_us + 1_000_000
        return self._offset

    def resumed(self, anchor: Anchor, latest_us: int) -> Clock:
        """A clock with the same sources that goes on from a stored anchor.

        After a restart of the machine the stored anchor means nothing: a new one is taken, not
        before `latest_us`, the latest instant that the store has seen.
        """
        uptime = self._read_uptime()
        if anchor.boot == boot_identity() and anchor.boot and anchor.uptime_us <= uptime:
            return Clock(anchor, read_uptime=self._read_uptime, read_wall=self._read_wall)
        fresh = Anchor(max(self._read_wall(), latest_us), uptime, boot_identity())
        return Clock(fresh, read_uptime=self._read_uptime, read_wall=self._read_wall)
