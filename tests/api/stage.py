"""The servers that the cases of the statuses need, each started when it is first asked for: with users, without, full, busy."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.api.desk import Desk
from tests.mounting import mounted_tmpfs
from tests.serving import USERS, serving

__all__ = ["ID", "PARTS", "TOKEN", "Ask", "FullDisk", "Stage"]

ID = "no-such-lock"
TOKEN = "urn:uuid:00000000-0000-4000-8000-000000000000"
TEAM = Grant(Role.WRITER, ResourcePath("/team"))


@dataclass(frozen=True)
class Ask:
    """A well-formed request of one route: what it is sent with, but for what a case changes."""

    target: str
    body: object = None
    fields: dict[str, str] = field(default_factory=dict[str, str])


PARTS: dict[str, Ask] = {
    "acquireLock": Ask("/api/locks", {"resource": "/part"}),
    "findLocks": Ask("/api/locks"),
    "refreshLocks": Ask("/api/locks/refresh", {"locks": [{"id": ID, "token": TOKEN}]}),
    "describeLock": Ask(f"/api/locks/{ID}"),
    "releaseLock": Ask(f"/api/locks/{ID}", {"token": TOKEN}),
    "refreshLock": Ask(f"/api/locks/{ID}/refresh", {"token": TOKEN}),
    "breakLock": Ask(f"/api/locks/{ID}/break", {"reason": "r"}),
    "takeOverLock": Ask(f"/api/locks/{ID}/take-over", {}),
    "checkChange": Ask("/api/check", {"resource": "/part"}),
    "checkForwarded": Ask("/api/check", None, {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/part"}),
    "readHistory": Ask("/api/history"),
    "followEvents": Ask("/api/events"),
    "describeSession": Ask("/api/session"),
}
"""By the name of each route."""


@dataclass
class FullDisk:
    """A server whose disk is full; `locks` are alice's, from before that, one for each case to use up."""

    desk: Desk
    locks: list[dict[str, Any]]


class Stage:
    """All servers; `close` ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        self._stack.close()

    def _serve(self, name: str, **settings: Any) -> Desk:
        folder = self._folder / name
        folder.mkdir()
        return Desk(self._stack.enter_context(serving(folder, **settings)))

    @cached_property
    def desk(self) -> Desk:
        """The usual one; tom may write below /team, and see nothing else."""
        return self._serve("usual", users={**USERS, "tom": (TEAM,)})

    @cached_property
    def slowed(self) -> Desk:
        """One on which passwords are guessed."""
        return self._serve("slowed", users={"alice": Role.WRITER})

    @cached_property
    def open(self) -> Desk:
        """One without users."""
        return self._serve("open", users=None)

    @cached_property
    def one_stream(self) -> Desk:
        """One with room for one stream."""
        return self._serve("one-stream", max_streams=1)

    @cached_property
    def crowded(self) -> Desk:
        """One with room for one connection."""
        return self._serve("crowded", users=None, max_connections=1)

    @cached_property
    def capped(self) -> Desk:
        """One on which nobody may have another lock; alice has two, from when there was more room."""
        folder = self._folder / "capped"
        folder.mkdir()
        with serving(folder) as before:
            for number in range(2):
                Desk(before).granted("alice", f"/capped/{number}")
        return Desk(self._stack.enter_context(serving(folder, max_locks_per_principal=1)))

    @cached_property
    def impatient(self) -> Desk:
        """One that waits for another process to leave its store for a moment only."""
        desk = self._serve("impatient", users=None)
        desk.served.application.store._busy_limit_s = 0.05
        return desk

    @contextlib.contextmanager
    def busy(self) -> Generator[Desk]:
        """The impatient one, while another connection to its store writes and does not end."""
        desk = self.impatient
        place = desk.served.folder / ".holdfast" / "locks.db"
        with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield desk
            other.execute("ROLLBACK")

    @cached_property
    def full(self) -> FullDisk:
        folder = self._stack.enter_context(mounted_tmpfs(self._folder / "full"))
        desk = Desk(self._stack.enter_context(serving(folder)))
        locks = [desk.granted("alice", f"/full/{number}", ttl=3600) for number in range(8)]
        _fill(folder / "ballast")
        for number in range(500):  # a store has a little room left inside of its files
            if desk.acquire("alice", f"/room/{number}", reason="r" * 1000).status == 507:
                return FullDisk(desk, locks)
        raise AssertionError("the disk is not full")


def _fill(ballast: Path) -> None:
    """A file that takes all the room there is."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65_536, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                _write_for_ever(descriptor, size)
    finally:
        os.close(descriptor)


def _write_for_ever(descriptor: int, size: int) -> None:
    while True:
        os.write(descriptor, bytes(size))
