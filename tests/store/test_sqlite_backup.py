"""A backup: whole and of one moment while others write, placed in one step, and safe to restore."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.model import DeadProperty
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore
from holdfast.store.sqlite.backup import COUNTER_LEAP, back_up
from holdfast.store.sqlite.inspection import Level, inspect_database
from holdfast.testing.store_cases import event_about, lock_on, waiter_on

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one lock, one event and a dead property, closed."""
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "locks.db"
    with open_store(path) as store:
        grant(store, "/dav/a")
        with store.write() as tx:
            tx.put_property(DeadProperty(ResourcePath("/dav/a"), "urn:x", "colour", '<colour xmlns="urn:x"/>'))
    return path


def open_store(path: Path) -> SqliteStore:
    return SqliteStore(path, durability=Durability.CRASH)


def grant(store: SqliteStore, root: str) -> tuple[int, int]:
    """A new lock: its fencing token, and the number of its event."""
    with store.write() as tx:
        lock = lock_on(tx, root, fencing_token=tx.mint_fencing_token())
        tx.insert(lock)
        return lock.fencing_token, tx.append(event_about(lock, tx.now))


def test_a_backup_is_one_file_that_its_owner_alone_may_read_and_opens_as_a_store(path: Path, tmp_path: Path):
    target = tmp_path / "backups" / "monday.db"
    target.parent.mkdir()
    before = os.umask(0)
    try:
        made = back_up(path, target)
    finally:
        os.umask(before)
    assert [entry.name for entry in target.parent.iterdir()] == ["monday.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (made.bytes, made.locks, made.properties) == (target.stat().st_size, 1, 1)
    assert all(finding.level is Level.OK for finding in inspect_database(target))
    with open_store(target) as store, store.read() as tx:
        assert tx.lock_with_id("id-/dav/a") is not None
        assert [event.lock_id for event in tx.events_after(0, 10)] == ["id-/dav/a"]


def test_what_is_committed_but_only_in_the_log_is_in_the_backup(path: Path, tmp_path: Path):
    with open_store(path) as store:
        grant(store, "/dav/b")
        assert back_up(path, tmp_path / "copy.db").locks == 2
        grant(store, "/dav/c")
    assert back_up(path, tmp_path / "copy.db", overwrite=True).locks == 3


def test_nothing_of_the_source_is_changed(path: Path, tmp_path: Path):
    with open_store(path):
        log = path.with_name("locks.db-wal")
        before = path.read_bytes(), log.read_bytes()
        back_up(path, tmp_path / "copy.db")
        assert (path.read_bytes(), log.read_bytes()) == before


def test_a_restored_store_gives_no_fencing_token_and_no_event_number_twice(path: Path, tmp_path: Path):
    back_up(path, tmp_path / "copy.db")
    with open_store(path) as store:
        given = [grant(store, f"/dav/later-{number}") for number in range(5000)]
    with open_store(tmp_path / "copy.db") as restored:
        token, seq = grant(restored, "/dav/b")
    assert COUNTER_LEAP < token < 2 * COUNTER_LEAP
    assert token > max(given)[0]
    assert seq > max(given)[1]


def test_a_restored_store_gives_no_place_in_the_line_twice(path: Path, tmp_path: Path):
    def enqueue(store: SqliteStore, name: str) -> int:
        with store.write() as tx:
            return tx.enqueue(waiter_on(tx, "/dav/a", lock_id=name)).seq

    with open_store(path) as store:
        enqueue(store, "before")
        back_up(path, tmp_path / "copy.db")
        given = [enqueue(store, f"after-{number}") for number in range(100)]
    with open_store(tmp_path / "copy.db") as restored:
        assert enqueue(restored, "restored") > max(given)
        assert [waiter.id for waiter in restored.peek_waiters(["/dav/a"])] == ["before", "restored"]
    assert all(finding.level is not Level.FAULT for finding in inspect_database(tmp_path / "copy.db"))


@pytest.mark.process
def test_backups_taken_while_another_process_writes_are_each_of_one_moment(path: Path, tmp_path: Path):
    """The worker adds a lock and an event in each transaction: no copy may have one without the other."""
    with subprocess.Popen(
        [sys.executable, WORKER, "write-for-ever", path, "w"], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline()
        seen: list[int] = []
        try:
            while len(seen) < 8 or seen[-1] == seen[0]:
                made = back_up(path, tmp_path / "copy.db", overwrite=True)
                assert all(finding.level is not Level.FAULT for finding in inspect_database(tmp_path / "copy.db"))
                seen.append(made.locks)
        finally:
            worker.kill()
    assert seen == sorted(seen)


def test_a_target_that_exists_stays_as_it_is_unless_told_otherwise(path: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists"):
        back_up(path, target)
    assert target.read_text() == "precious"
    back_up(path, target, overwrite=True)
    assert target.read_bytes().startswith(b"SQLite format 3")
    assert {entry.name for entry in tmp_path.iterdir()} == {"state", "copy.db"}


def test_a_link_is_replaced_and_what_it_leads_to_is_not(path: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "copy.db").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="exists"):
        back_up(path, tmp_path / "copy.db")
    back_up(path, tmp_path / "copy.db", overwrite=True)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "copy.db").is_symlink()


def test_what_is_not_holdfast_s_is_not_backed_up(path: Path, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE things (x)")
    (tmp_path / "text").write_text("no database at all\n" * 500)
    for source, said in (
        ("other.db", "not a database of Holdfast"),
        ("text", "is not a database"),
        ("none", "cannot be"),
    ):
        with pytest.raises(StoreError, match=said):
            back_up(tmp_path / source, tmp_path / "copy.db")
    assert {entry.name for entry in tmp_path.iterdir()} == {"state", "other.db", "text"}


def test_a_damaged_database_gives_no_backup(path: Path, tmp_path: Path):
    raw = bytearray(path.read_bytes())
    raw[4096 + 8 : 4096 + 200] = b"\xff" * 192
    path.write_bytes(raw)
    (tmp_path / "copy.db").write_text("the last good one")
    with pytest.raises(StoreError, match="damaged"):
        back_up(path, tmp_path / "copy.db", overwrite=True)
    assert (tmp_path / "copy.db").read_text() == "the last good one"


def test_a_folder_or_a_missing_one_is_a_sentence(path: Path, tmp_path: Path):
    with pytest.raises(StoreError, match="is a folder"):
        back_up(path, tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        back_up(path, tmp_path / "none" / "copy.db")
