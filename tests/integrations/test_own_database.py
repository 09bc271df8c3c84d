"""Locks in the application's own database: its tables, and what passes the line in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect

from holdfast.core.model import LockScope
from holdfast.databases import LockTable
from holdfast.integrations import LockedError, Locks, Wanted
from holdfast.integrations.backends import resource_of

ORDER = resource_of("/orders/42")


@pytest.fixture(name="engine")
def make_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    yield engine
    engine.dispose()


def test_the_tables_of_an_older_version_get_the_one_that_is_missing(engine: Engine) -> None:
    table = LockTable(engine)
    table.metadata.create_all(engine, tables=[table.rows.table, table.rows.counter])
    Locks(engine).acquire(Wanted(resource=ORDER, principal="alice"))
    assert sorted(inspect(engine).get_table_names()) == sorted(one.name for one in table.tables)


def test_all_who_begin_at_the_same_moment_find_the_tables_made(engine: Engine) -> None:
    together = threading.Barrier(6)
    granted: list[str] = []

    def begin(number: int) -> None:
        locks = Locks(engine)
        together.wait(30)
        granted.append(locks.acquire(Wanted(resource=resource_of(f"/orders/{number}"), principal="alice")).root)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 6


def test_going_on_elsewhere_with_ones_own_shared_lock_passes_the_line(engine: Engine) -> None:
    """Nothing comes free by it that somebody waits for."""
    locks = Locks(engine)
    held = locks.acquire(Wanted(resource=ORDER, principal="alice", scope=LockScope.SHARED))
    waiting = threading.Thread(
        target=lambda: locks.acquire(Wanted(resource=ORDER, principal="bob", wait=30)), daemon=True
    )
    waiting.start()
    while not locks.find(ORDER)[0].queue_length:
        assert waiting.is_alive()
    with pytest.raises(LockedError):
        locks.acquire(Wanted(resource=ORDER, principal="alice", scope=LockScope.SHARED))
    newer = locks.take_over(held.id, "alice")
    assert [one.id for one in locks.find(ORDER)] == [newer.id]
    locks.release(newer.id, newer.token, "alice")
    waiting.join(60)
    assert [one.holder.name for one in locks.find(ORDER)] == ["bob"]
