"""Backends of every kind, each with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.access import Role
from holdfast.integrations.backends import Locks
from holdfast.integrations.embedded import EmbeddedBackend
from tests.serving import Uptime, serving


@dataclass
class Kept:
    """The locks of an application, and how time passes for them."""

    locks: Locks
    advance: Callable[[float], None]


@pytest.fixture(params=["embedded", "server", "open server"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "embedded":
        uptime = Uptime()
        backend = EmbeddedBackend(tmp_path / "locks.db", clock=Clock(read_uptime=uptime), durability=Durability.CRASH)
        with Locks(backend=backend) as locks:
            yield Kept(locks, uptime.advance)
        return
    folder = tmp_path / "served"
    folder.mkdir()
    is_open = request.param == "open server"
    users = None if is_open else {"shop": Role.WRITER, "alice": Role.WRITER}
    with (
        serving(folder, users=users) as served,
        Locks(served.url, auth=None if is_open else ("shop", "shop-secret")) as locks,
    ):
        yield Kept(locks, served.uptime.advance)
