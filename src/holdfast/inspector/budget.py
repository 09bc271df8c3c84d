"""How much work an inspection may take: decoded bytes, XML elements, and seconds.

Owns: the count of what is spent. One Budget is for everything that one request asks, or for one exchange where nobody gave another.
Must not know: any rule, and who asks. What is not judged for want of room is told in the report; nothing here raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

__all__ = ["ROOMY", "Budget", "WorkLimits"]


class WorkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of each body: `bytes_each` after its content coding is undone, `nodes_each` elements. Of all together: the rest; None: no bound."""

    bytes_each: int = 4 * 1024 * 1024
    nodes_each: int = 50_000
    bytes_in_all: int | None = None
    nodes_in_all: int | None = None
    seconds: float | None = None


ROOMY: Final = WorkLimits()
"""For who inspects on a machine of their own."""


class Budget:
    """What is left of some limits. Not for several threads; `clock` tells seconds."""

    def __init__(self, limits: WorkLimits = ROOMY, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now."""
        self.limits = limits
        self._clock = clock
        self._end = None if limits.seconds is None else clock() + limits.seconds
        self._bytes = 0
        self._nodes = 0

    @property
    def is_over(self) -> bool:
        """True once the time has passed."""
        return self._end is not None and self._clock() >= self._end

    @property
    def most_bytes(self) -> int:
        """How long the next body may be, decoded."""
        whole = self.limits.bytes_in_all
        return self.limits.bytes_each if whole is None else max(0, min(self.limits.bytes_each, whole - self._bytes))

    @property
    def most_nodes(self) -> int:
        """How many elements the next body may have."""
        whole = self.limits.nodes_in_all
        return self.limits.nodes_each if whole is None else max(0, min(self.limits.nodes_each, whole - self._nodes))

    def take(self, content: bytes) -> str:
        """Spend what this decoded body takes, of which no more than a byte beyond `most_bytes` was made; or why it does not fit.

        What does not fit costs the bytes that were looked at, and no elements.
        """
        most, most_nodes = self.most_bytes, self.most_nodes
        self._bytes += min(len(content), most)
        if len(content) > most:
            each = self.limits.bytes_each
            return f"it has more than {each} bytes" if most == each else "the bodies together are too long"
        nodes = content.count(b"<") - content.count(b"</")
        if nodes > most_nodes:
            each = self.limits.nodes_each
            return f"it has more than {each} elements" if most_nodes == each else "the bodies have too many elements"
        self._nodes += nodes
        return ""
