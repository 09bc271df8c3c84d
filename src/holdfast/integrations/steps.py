"""Work that may have to wait, in steps that never do: a generator whose numbers are the pauses between them, in seconds.

Owns: running such work to its end on a thread of the caller's own. Must not know: what is waited for. Where requests share an event
loop, `integrations.threads` runs each step on a thread and lets the pauses pass without one. Work that is closed early gives up
whatever place it has in line.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import TypeAlias, TypeVar

__all__ = ["Steps", "finished"]

T = TypeVar("T")

Steps: TypeAlias = Generator[float, None, T]


def finished(steps: Steps[T]) -> T:
    """What the work comes to; its pauses are slept here."""
    with closing(steps):
        while True:
            try:
                pause = next(steps)
            except StopIteration as end:
                return end.value
            time.sleep(pause)
