"""A process of its own that takes part in a race; started with spawn, as server workers are."""

from __future__ import annotations

from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.service.contender import Result, compete, open_shared, service_on


def take_part(file: str, name: str, rounds: int, barrier: Barrier, results: Queue[list[Result]]) -> None:
    """Open the store here, compete, and hand in what was seen."""
    try:
        with open_shared(Path(file)) as store:
            results.put(compete(service_on(store), name, rounds, lambda: barrier.wait(60)))
    except BaseException:
        barrier.abort()
        raise
