"""Requests that wait in line, each on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from tests.api.desk import Desk, Reply

__all__ = ["WAIT", "Queue", "until"]

WAIT = {"Prefer": "wait=60"}


class Queue:
    """Requests that wait, each on a thread of its own, in the order in which they were sent."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.line = desk.served.application.line
        self.threads = ThreadPoolExecutor(16)

    def ask(
        self, who: str, resource: str, headers: Mapping[str, str] | None = None, **members: object
    ) -> Future[Reply]:
        """Send it; it waits when this returns."""
        before = len(self.line)
        future = self.threads.submit(self.desk.acquire, who, resource, WAIT if headers is None else headers, **members)
        until(lambda: len(self.line) > before or future.done())
        assert not future.done(), future.result().answer.body
        return future


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)
