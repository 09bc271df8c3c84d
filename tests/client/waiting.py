"""Waiting for what must come, with a bound: on a thread and on a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["come", "until"]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)


async def come(is_so: Callable[[], bool]) -> None:
    """The same on a loop."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.002)
