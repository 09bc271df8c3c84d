"""Backends of every kind, each with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, bindparam, create_engine

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.access import Role
from holdfast.databases import begin_immediate
from holdfast.databases.locktable import LockTable
from holdfast.integrations.backends import Locks
from holdfast.integrations.embedded import EmbeddedBackend
from holdfast.integrations.own_database import OwnDatabaseBackend
from tests.serving import Uptime, serving


@dataclass
class Kept:
    """The locks of an application, and how time passes for them."""

    locks: Locks
    advance: Callable[[float], None]


@pytest.fixture(params=["embedded", "own database", "server"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "embedded":
        uptime = Uptime()
        backend = EmbeddedBackend(tmp_path / "locks.db", clock=Clock(read_uptime=uptime), durability=Durability.CRASH)
        with Locks(backend=backend) as locks:
            yield Kept(locks, uptime.advance)
        return
    if request.param == "own database":
        uptime = Uptime()
        clock = Clock(read_uptime=uptime)
        engine = create_engine(f"sqlite:///{tmp_path}/app.db")
        begin_immediate(engine)
        table = LockTable(engine, now=bindparam("now", callable_=lambda: clock.now_us() // 1000, type_=BigInteger))
        with Locks(backend=OwnDatabaseBackend(table, makes_tables=True)) as locks:
            yield Kept(locks, uptime.advance)
        engine.dispose()
        return
    folder = tmp_path / "served"
    folder.mkdir()
    users = {"shop": Role.WRITER, "alice": Role.WRITER}
    with serving(folder, users=users) as served, Locks(served.url, auth=("shop", "shop-secret")) as locks:
        yield Kept(locks, served.uptime.advance)
