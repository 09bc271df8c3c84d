"""What many who try again may do so together: one bucket of tokens, for the client's requests and for a database's transactions.

Owns: that count. Must not know: what is tried again, or the clock; the time is passed in.
"""

from __future__ import annotations

import threading

__all__ = ["Budget"]


class Budget:
    """A token bucket that requests share: how many may be sent again, all together.

    `capacity` may be sent again at once, `per_second` after that. Safe from any thread.

    >>> budget = Budget(capacity=2, per_second=0.5)
    >>> [budget.reserve(now=100.0) for _ in range(4)]
    [0.0, 0.0, 2.0, 4.0]
    """

    def __init__(self, capacity: int = 100, per_second: float = 20.0) -> None:
        """Start full. Raises ValueError unless both are above zero."""
        if capacity < 1 or not per_second > 0:
            msg = "a budget needs a capacity and a rate above zero"
            raise ValueError(msg)
        self.capacity = capacity
        self.per_second = per_second
        self._lock = threading.Lock()
        self._left = float(capacity)
        self._counted_at: float | None = None

    def reserve(self, now: float, most: float = float("inf")) -> float | None:
        """Seconds after which one more may be sent, which is taken from the budget; None, and nothing taken, beyond `most`."""
        with self._lock:
            if self._counted_at is not None:
                self._left = min(self.capacity, self._left + max(0.0, now - self._counted_at) * self.per_second)
            self._counted_at = now
            delay = max(0.0, 1.0 - self._left) / self.per_second
            if delay > most:
                return None
            self._left -= 1.0
            return delay
