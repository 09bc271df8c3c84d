"""What happens by itself: calls the Pulse soon after a commit, and when its own time is up.

Owns: when `Pulse.beat` is called. Must not know: what a beat does; how its changes are kept is the holder's.
While nothing is parked and nobody listens, a nudge is one look at a flag, and no timer runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from holdfast.edge.settings import Pulse

__all__ = ["Heart"]

logger = logging.getLogger("holdfast.edge")

_AFTER_FAILURE_S: Final = 1.0
_LEAST_S: Final = 0.001
"""Between two beats that nothing asked for; a pulse that always has something due leaves the loop to others."""


class Keeper(Protocol):
    """Keeps what a beat changes; a Holder is one."""

    def run(self, work: Callable[[], float], /) -> float:
        """Do `work`, whose changes may wait for `flush`."""
        ...

    def flush(self) -> bool:
        """Commit them, and send the answers that wait for that."""
        ...


class Heart:
    """One per server and loop; used from the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse, keeper: Keeper) -> None:
        """Rest until the first nudge."""
        self._loop = loop
        self._pulse = pulse
        self._keeper = keeper
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None

    def nudge(self) -> None:
        """Something was committed, or began to wait: beat in this turn of the loop, once, where that is wanted."""
        if self._pulse.is_wanted and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._beat)

    def _beat(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pulse = self._pulse
        if not pulse.is_wanted:
            return
        try:
            rest_s = self._keeper.run(pulse.beat)
        except Exception:
            logger.exception("what happens by itself failed; it is tried again in %g s", _AFTER_FAILURE_S)
            rest_s = _AFTER_FAILURE_S
        self._keeper.flush()
        if pulse.is_wanted:
            self._timer = self._loop.call_later(max(rest_s, _LEAST_S), self._beat)
