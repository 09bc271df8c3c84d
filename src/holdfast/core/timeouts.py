"""How long a lock is granted (RFC 4918 sections 6.6 and 10.7).

Granted time is the asked time, clamped to the bounds of the server; a client that asks nothing gets
the default, one that asks for ever gets the most that is given.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec

__all__ = ["FOREVER", "TimeoutPolicy"]

FOREVER: Final = timedelta.max
"""What `Timeout: Infinite` asks for."""


class TimeoutPolicy(msgspec.Struct, frozen=True):
    """The bounds of granted times."""

    shortest: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(hours=24)
    default: timedelta = timedelta(minutes=30)

    def grant(self, asked: timedelta | None) -> timedelta:
        """The ttl to grant for what was asked; None when the client named no time that was understood."""
        if asked is None:
            return self.default
        return max(self.shortest, min(asked, self.longest))
