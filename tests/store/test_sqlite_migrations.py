"""A database that an earlier version of the schema left is brought to the newest, with all that it keeps."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.model import EventKind
from holdfast.core.paths import ROOT
from holdfast.store.sqlite import SqliteStore
from holdfast.store.sqlite.backup import back_up
from holdfast.store.sqlite.inspection import Level, inspect_database
from holdfast.store.sqlite.opening import connect, create_file, migrate, shipped_migrations
from holdfast.store.sqlite.rows import Row, event_row, lock_row
from holdfast.testing import ManualTime
from holdfast.testing.store_cases import event_about, lock_on, waiter_on

EARLIER = [version for version, _ in shipped_migrations()[:-1]]
LOCK = "id, token, root, scope, depth, principal, owner, owner_xml, reason, client, face, fencing_token, created_at, refreshed_at, expires_at"
EVENT = "seq, at, kind, lock_id, root, scope, depth, holder, actor, reason, fencing_token"


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


def samples(folder: Path, clock: Clock) -> tuple[Row, list[Row]]:
    """The columns of a lock, and those of the events of its grant and of another lock's grant and end."""
    with SqliteStore(folder / "samples.db", clock=clock, durability=Durability.CRASH) as store, store.write() as tx:
        held = lock_on(tx, "/dav/a", lock_id="held", fencing_token=7)
        gone = lock_on(tx, "/dav/b", lock_id="gone", fencing_token=6)
        events = [
            event_about(gone, tx.now),
            event_about(held, tx.now),
            event_about(gone, tx.now + timedelta(seconds=1), EventKind.BROKEN),
        ]
    # Without the instant of a break that is set for later and what the holder said, which the first versions did not keep.
    return lock_row(held), [(seq, *event_row(event)[:-2]) for seq, event in enumerate(events, start=1)]


def make_earlier(path: Path, version: int, clock: Clock) -> None:
    """A database of that version with a lock held, and one that has ended."""
    lock, events = samples(path.parent, clock)
    create_file(path)
    with closing(connect(path, busy_limit_s=1)) as connection:
        migrate(connection, path, shipped_migrations()[:version], busy_limit_s=1)
        places = ", ".join("?" * len(lock))
        connection.execute(f"INSERT INTO locks ({LOCK}) VALUES ({places})", lock)
        for event in events:
            connection.execute(f"INSERT INTO events ({EVENT}) VALUES ({', '.join('?' * len(event))})", event)
        connection.execute("INSERT INTO principals VALUES ('anna', 1)")
        connection.execute(
            "UPDATE counters SET locks = 1, next_fencing_token = 8, fencing_ceiling = 4097, next_seq = 4"
        )


def schema_of(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("version", EARLIER)
def test_what_an_earlier_version_kept_is_there_and_the_new_tables_are_of_use(
    tmp_path: Path, time: ManualTime, version: int
) -> None:
    path = tmp_path / "locks.db"
    make_earlier(path, version, time.clock())
    with SqliteStore(path, clock=time.clock(), durability=Durability.CRASH) as store:
        assert store.peek_waiters(["/dav/a"]) == []
        with store.write() as tx:
            assert [lock.id for lock in tx.locks_below(ROOT)] == ["held"]
            assert (tx.count_locks("anna"), tx.count_waiters(), tx.latest_seq()) == (1, 0, 3)
            end = tx.end_of_lock("gone")
            assert end is not None
            assert (end.seq, end.kind, end.owner) == (3, EventKind.BROKEN, "")
            assert tx.end_of_lock("held") is None
            waiter = tx.enqueue(waiter_on(tx, "/dav/a", lock_id="next"))
            assert tx.mint_fencing_token() >= 8
        assert store.peek_waiters(["/dav/a"]) == [waiter]
    assert [finding for finding in inspect_database(path, clock=time.clock()) if finding.level is Level.FAULT] == []


@pytest.mark.parametrize("version", EARLIER)
def test_the_schema_is_the_same_whichever_version_it_began_with(tmp_path: Path, time: ManualTime, version: int) -> None:
    make_earlier(tmp_path / "locks.db", version, time.clock())
    SqliteStore(tmp_path / "locks.db").close()
    assert schema_of(tmp_path / "locks.db") == schema_of(tmp_path / "samples.db")


@pytest.mark.parametrize("version", EARLIER)
def test_a_database_of_an_earlier_version_is_backed_up_as_it_is(tmp_path: Path, time: ManualTime, version: int) -> None:
    path = tmp_path / "locks.db"
    make_earlier(path, version, time.clock())
    assert back_up(path, tmp_path / "copy.db").locks == 1
    with SqliteStore(tmp_path / "copy.db", clock=time.clock()) as store, store.write() as tx:
        assert [lock.id for lock in tx.locks_below(ROOT)] == ["held"]
        assert tx.enqueue(waiter_on(tx, "/dav/a")).seq > 0
