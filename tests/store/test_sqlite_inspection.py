"""What an inspection of a database finds, and that it changes nothing."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.model import DeadProperty
from holdfast.core.paths import ResourcePath
from holdfast.store.sqlite import SqliteStore
from holdfast.store.sqlite.inspection import Finding, Level, inspect_database, paths_with_properties
from holdfast.testing import ManualTime
from holdfast.testing.store_cases import event_about, lock_on, waiter_on


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def path(tmp_path: Path, time: ManualTime) -> Path:
    """A database with three locks of two principals, three events and a dead property, closed."""
    path = tmp_path / "locks.db"
    with SqliteStore(path, clock=time.clock(), durability=Durability.CRASH) as store, store.write() as tx:
        for name, principal in (("a", "anna"), ("b", "anna"), ("c", "ben")):
            token = tx.mint_fencing_token()
            lock = lock_on(tx, f"/dav/{name}", principal=principal, fencing_token=token)
            tx.insert(lock)
            tx.append(event_about(lock, tx.now))
        tx.put_property(DeadProperty(ResourcePath("/dav/a"), "urn:x", "colour", '<colour xmlns="urn:x"/>'))
    return path


def spoil(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def faults(path: Path) -> list[Finding]:
    return [finding for finding in inspect_database(path, clock=ManualTime().clock()) if finding.level is Level.FAULT]


def fault(path: Path) -> str:
    [found] = faults(path)
    return f"{found.topic}: {found.text}"


def test_a_sound_database_has_no_fault_and_stays_byte_for_byte(path: Path):
    before = path.read_bytes()
    assert faults(path) == []
    assert path.read_bytes() == before


def test_it_is_looked_at_as_of_one_moment_while_a_store_has_it(path: Path, time: ManualTime):
    with SqliteStore(path, clock=time.clock(), durability=Durability.CRASH) as store:
        with store.write() as tx:
            tx.remove(lock_on(tx, "/dav/a"))
            assert "3 held." in {finding.text for finding in inspect_database(path, clock=time.clock())}
        assert "2 held." in {finding.text for finding in inspect_database(path, clock=time.clock())}


def test_expired_locks_are_counted_apart(path: Path, time: ManualTime):
    time.pass_by(timedelta(hours=1))
    found = {finding.topic: finding for finding in inspect_database(path, clock=time.clock())}
    assert found["locks"].text == "0 held."
    assert found["expired locks"].level is Level.NOTICE
    assert found["expired locks"].text.startswith("3 ")


def test_waiters_are_told_of_and_those_that_have_gone_apart(path: Path, time: ManualTime):
    assert "waiters" not in {finding.topic for finding in inspect_database(path, clock=time.clock())}
    with SqliteStore(path, clock=time.clock(), durability=Durability.CRASH) as store, store.write() as tx:
        for name, seconds in (("x", 10), ("y", 20), ("z", 20)):
            tx.enqueue(waiter_on(tx, "/dav/a", lock_id=name, lease=timedelta(seconds=seconds)))
    time.pass_by(timedelta(seconds=10))
    found = {finding.topic: finding for finding in inspect_database(path, clock=time.clock())}
    assert (found["waiters"].level, found["waiters"].text) == (Level.OK, "2 in line.")
    assert found["lapsed waiters"].level is Level.NOTICE
    assert found["lapsed waiters"].text.startswith("1 ")


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE counters SET locks = 7"], "counters: 7 locks are counted and 3 kept"),
        (["UPDATE principals SET locks = 5 WHERE principal = 'ben'"], "For 1 principals"),
        (["DELETE FROM principals WHERE principal = 'anna'"], "For 1 principals"),
        (["INSERT INTO principals VALUES ('eva', 1)"], "For 1 principals"),
        (["UPDATE counters SET next_fencing_token = 3"], "The next fencing token would be 3, and 3 was given out"),
        (["UPDATE counters SET waiters = 2"], "counters: 2 waiters are counted and 0 kept"),
        (
            [
                "INSERT INTO waiters VALUES (1, 'i', '/a', '', '', '', '', NULL, '', '', '', NULL, 0, 0, 0, 0)",
                "UPDATE counters SET waiters = 1",
            ],
            "counters: The next waiter would have the place 1, and there is one with 1",
        ),
        (["DELETE FROM counters"], "0 rows of counters"),
        (["DROP INDEX locks_by_id"], "schema: Missing, strange or changed: index locks_by_id"),
        (["CREATE TABLE more (x)"], "schema: Missing, strange or changed: table more"),
        (["PRAGMA user_version = 999"], "schema: It was written by a newer Holdfast"),
        (["PRAGMA application_id = 1"], "database: .* of another program"),
        (["UPDATE locks SET root = '/dav/a' WHERE root = '/dav/b'"], "locks: 1 pairs of locks conflict"),
        (["UPDATE locks SET root = '/', depth = 'infinity' WHERE root = '/dav/b'"], "locks: 2 pairs of locks conflict"),
    ],
)
def test_each_disagreement_is_a_fault(path: Path, statements: list[str], said: str):
    spoil(path, *statements)
    assert re.search(said, fault(path)), fault(path)


def test_shared_locks_stand_beside_one_another(path: Path):
    spoil(path, "UPDATE locks SET root = '/dav/a', scope = 'shared'")
    assert faults(path) == []


def test_a_damaged_page_is_a_fault(path: Path):
    raw = bytearray(path.read_bytes())
    raw[4096 + 8 : 4096 + 200] = b"\xff" * 192
    path.write_bytes(raw)
    assert "database" in fault(path)


def test_what_is_no_database_is_a_fault(path: Path):
    path.write_bytes(b"no database at all\n" * 500)
    assert "is not a database" in fault(path)


def test_an_empty_file_is_no_fault(tmp_path: Path):
    (tmp_path / "locks.db").touch()
    assert [finding.level for finding in inspect_database(tmp_path / "locks.db")] == [Level.NOTICE]


def test_the_resources_with_dead_properties_are_told(path: Path):
    assert [resource.text for resource in paths_with_properties(path)] == ["/dav/a"]
