"""One contender of a race between processes, importable by a child process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.config import Durability
from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.service import AcquireRequest, Claim, LockService
from holdfast.store.protocol import Store
from holdfast.store.sqlite.store import SqliteStore

PRIZE = ResourcePath("/dav/prize")

Result = tuple[bool, str, int]
"""Won? The id of the winner's lock, as this contender was told, and its fencing token."""


def open_shared(file: Path) -> SqliteStore:
    return SqliteStore(file, durability=Durability.CRASH, busy_limit_s=60)


def service_on(store: Store) -> LockService:
    return LockService(store, etag_of=lambda _: None)


def compete(service: LockService, name: str, rounds: int, meet: Callable[[], object]) -> list[Result]:
    """Ask for the prize in every round, at the same moment as all others; the winner releases it after all have asked."""
    results: list[Result] = []
    for number in range(rounds):
        # Every other round locks the tree above, which meets the prize too.
        resource, depth = (PRIZE, Depth.ZERO) if (number + len(name)) % 2 else (PRIZE.parent, Depth.INFINITY)
        request = AcquireRequest(Claim(resource, name), LockScope.EXCLUSIVE, depth, None)
        meet()
        answer = service.acquire(request, is_mapped=lambda: True)
        meet()
        if isinstance(answer, Lock):
            results.append((True, answer.id, answer.fencing_token))
            released = service.release(resource, answer.token, name)
            assert isinstance(released, Lock)
        else:
            results.append(loss(answer))
    return results


def loss(answer: Refused) -> Result:
    (contention,) = answer.contentions
    return (False, contention.lock.id, contention.lock.fencing_token)
