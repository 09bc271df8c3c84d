"""Sweeper: the thread that tidies expired locks and old events away.

Owns: how often that is done, and that a failure does not end it. Must not know: what expired means; correctness never waits
for it.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Final, Protocol

__all__ = ["Sweeper", "Tidied"]

_logger: Final = logging.getLogger("holdfast.server")


class Tidied(Protocol):
    """What is tidied; a LockService is one."""

    def sweep(self) -> int:
        """Tidy away some of what has expired; how much, 0 where nothing is left."""
        ...

    def trim(self, keep: timedelta, /) -> int:
        """Forget what happened longer ago than `keep`; how much."""
        ...


class Sweeper:
    """A thread that tidies expired locks and old events away; correctness never waits for it."""

    def __init__(self, tidied: Tidied, *, every_s: float, keep_events: timedelta) -> None:
        """Start with `start`."""
        self._tidied = tidied
        self._every_s = every_s
        self._keep_events = keep_events
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="holdfast-sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the sweep in progress."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                while self._tidied.sweep() and not self._stopping.is_set():
                    pass
                self._tidied.trim(self._keep_events)
            except Exception:
                _logger.exception("tidying expired locks failed; it is tried again in %s s", self._every_s)
