"""Throttle: how long a key must wait after failed attempts.

Owns: the counters and the growth of the delay. Must not know: what a key stands for, passwords, time (`now_s`
is passed in). A key has some free failures; each further one doubles the wait, up to a minute; a quiet quarter
of an hour forgets them. An attempt is counted before it is made and taken back when it succeeds, so that many
attempts at the same time cannot all slip through. Not safe for threads: the caller holds a lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final

import msgspec

__all__ = ["FORGET_AFTER_S", "FREE_FAILURES", "MAX_WAIT_S", "Throttle"]

FREE_FAILURES: Final = 10
MAX_WAIT_S: Final = 60.0
FORGET_AFTER_S: Final = 900.0
_MAX_KEYS: Final = 20_000


class _Count(msgspec.Struct):
    failures: int
    at_s: float


class Throttle:
    """Counters by key; the least recently failed keys are forgotten first when there are too many."""

    def __init__(self) -> None:
        """Begin with no failures."""
        self._counts: OrderedDict[Hashable, _Count] = OrderedDict()

    def wait_s(self, keys: Iterable[Hashable], now_s: float) -> float:
        """Seconds until an attempt under all these keys may be made; 0 when at once."""
        return max((self._wait_of(key, now_s) for key in keys), default=0.0)

    def count(self, keys: Iterable[Hashable], now_s: float) -> None:
        """Count an attempt that is about to be made as failed."""
        for key in keys:
            known = self._counts.pop(key, None)
            failures = known.failures if known is not None and now_s - known.at_s < FORGET_AFTER_S else 0
            self._counts[key] = _Count(failures + 1, now_s)
            if len(self._counts) > _MAX_KEYS:
                self._counts.popitem(last=False)

    def take_back(self, keys: Iterable[Hashable]) -> None:
        """Undo one `count`: the attempt succeeded, or was never made."""
        for key in keys:
            known = self._counts.get(key)
            if known is None:
                continue
            known.failures -= 1
            if known.failures <= 0:
                del self._counts[key]

    def _wait_of(self, key: Hashable, now_s: float) -> float:
        known = self._counts.get(key)
        if known is None or known.failures < FREE_FAILURES or now_s - known.at_s >= FORGET_AFTER_S:
            return 0.0
        doublings = min(known.failures - FREE_FAILURES, 16)
        return max(0.0, known.at_s + min(MAX_WAIT_S, 2.0**doublings) - now_s)
