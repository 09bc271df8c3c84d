"""One coarse timer for all connections of a server.

Owns: a reading of the loop's clock that is at most one tick old, and the round of checks. Must not
know: what a connection checks. A timer per request costs more than the shortest answers do.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Member", "Sweep"]


class Member(Protocol):
    """Whoever wants to be asked once per tick whether its time is over."""

    def check(self, now: float) -> None:
        """Look at `now` (seconds on the loop's clock) and act."""
        ...


class Sweep:
    """Ticks while it has members. Used from the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, every_s: float) -> None:
        """Look at the members every `every_s` seconds."""
        self.now = loop.time()
        self._loop = loop
        self._every_s = every_s
        self._members: set[Member] = set()
        self._ticking = False

    def join(self, member: Member) -> None:
        """Ask `member` from now on."""
        self.now = self._loop.time()
        self._members.add(member)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(self._every_s, self._tick)

    def leave(self, member: Member) -> None:
        """Ask it no more; harmless when repeated."""
        self._members.discard(member)

    def _tick(self) -> None:
        self.now = now = self._loop.time()
        for member in tuple(self._members):
            member.check(now)
        self._ticking = bool(self._members)
        if self._ticking:
            self._loop.call_later(self._every_s, self._tick)
