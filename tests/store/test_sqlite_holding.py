"""What holding several transactions for one commit promises of the SQLite store alone: its one writer, its disk, its failures."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.paths import ROOT
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore
from holdfast.testing.store_cases import event_about, lock_on, roots_of
from tests.edge.tiny import PATIENCE_S, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, durability=Durability.CRASH, busy_limit_s=0.05) as store:
        yield store


def insert(store: SqliteStore, root: str) -> None:
    with store.write() as tx:
        lock = lock_on(tx, root, fencing_token=tx.mint_fencing_token())
        tx.insert(lock)
        tx.append(event_about(lock, tx.now))


def kept(path: Path) -> list[str]:
    """What another process sees."""
    with SqliteStore(path, durability=Durability.CRASH) as other, other.read() as tx:
        return roots_of(tx.locks_below(ROOT))


def in_thread(work: Callable[[], object]) -> list[Exception]:
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except StoreError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


def undo_all(store: SqliteStore) -> None:
    """What SQLite does by itself after some errors."""
    store._session().connection.execute("ROLLBACK").close()


def fill_the_disk(store: SqliteStore) -> None:
    """Let the database grow no further, as on a full disk."""
    store._session().connection.execute("PRAGMA max_page_count = 1").close()


def make_room(store: SqliteStore) -> None:
    store._session().connection.execute("PRAGMA max_page_count = 1000000").close()


def test_nobody_sees_what_is_held_before_it_is_committed(store: SqliteStore, path: Path) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        with store.read() as tx:
            seen.append(roots_of(tx.locks_below(ROOT)))

    with SqliteStore(path, durability=Durability.CRASH) as other:
        with store.hold():
            insert(store, "/a")
            insert(store, "/b")
        assert store.has_held
        assert other.peek(["/a", "/b"]) == []
        assert in_thread(look) == []
        store.commit_held()
        assert sorted(roots_of(other.peek(["/a", "/b"]))) == ["/a", "/b"]
        assert in_thread(look) == []
    assert seen == [[], ["/a", "/b"]]


def test_other_writers_wait_for_the_commit_and_no_longer_than_their_limit(store: SqliteStore, path: Path) -> None:
    with store.hold():
        insert(store, "/a")
    (error,) = in_thread(lambda: insert(store, "/b"))
    assert isinstance(error, StoreError)
    store.commit_held()
    assert in_thread(lambda: insert(store, "/b")) == []
    assert kept(path) == ["/a", "/b"]


def test_transactions_that_share_a_commit_write_each_page_once(store: SqliteStore, path: Path) -> None:
    log = path.with_name(path.name + "-wal")

    def growth(holds: bool) -> int:
        before = log.stat().st_size
        for number in range(8):
            if holds:
                with store.hold():
                    insert(store, f"/{holds}/{number}")
            else:
                insert(store, f"/{holds}/{number}")
        store.commit_held()
        return log.stat().st_size - before

    insert(store, "/first")
    assert growth(holds=True) * 3 < growth(holds=False)


def test_a_hold_that_is_dropped_with_its_store_leaves_no_trace(path: Path) -> None:
    with SqliteStore(path, durability=Durability.CRASH) as store:
        insert(store, "/kept")
        with store.hold():
            insert(store, "/held")
    assert kept(path) == ["/kept"]
    with pytest.raises(StoreError, match="closed"):
        store.commit_held()


def test_a_failed_commit_is_told_undoes_all_that_is_held_and_lets_others_write(store: SqliteStore, path: Path) -> None:
    insert(store, "/kept")
    with store.hold():
        insert(store, "/a")
        insert(store, "/b")
    undo_all(store)
    with pytest.raises(StoreError):
        store.commit_held()
    assert not store.has_held
    store.commit_held()
    assert in_thread(lambda: insert(store, "/after")) == []
    assert kept(path) == ["/after", "/kept"]
    with store.read() as tx:
        assert (tx.count_locks(), tx.count_locks("anna")) == (2, 2)
        assert [event.root.text for event in tx.events_after(0, 10)] == ["/kept", "/after"]


def test_once_a_hold_has_failed_no_transaction_joins_it_until_that_is_told(store: SqliteStore, path: Path) -> None:
    def insert_and_undo_all() -> None:
        with store.write() as tx:
            tx.insert(lock_on(tx, "/b"))
            undo_all(store)

    with store.hold():
        insert(store, "/a")
        with pytest.raises(StoreError):
            insert_and_undo_all()
        with pytest.raises(StoreError):
            insert(store, "/c")
    assert store.has_held
    # Whoever does not hold is not concerned, whichever thread it is in.
    insert(store, "/plain")
    assert in_thread(lambda: insert(store, "/other")) == []
    with pytest.raises(StoreError):
        store.commit_held()
    with store.hold():
        insert(store, "/again")
    store.commit_held()
    assert kept(path) == ["/again", "/other", "/plain"]


def test_a_full_disk_never_lets_a_hold_end_well_without_its_locks(store: SqliteStore, path: Path) -> None:
    """Whatever SQLite undoes by itself: what was not refused is there after a commit that did not fail, and only that."""
    told: list[str] = []
    fill_the_disk(store)
    with store.hold():
        for number in range(2000):
            try:
                insert(store, f"/{number}")
            except StoreError as error:
                assert "disk" in str(error)  # noqa: PT017 - whether there is an error at all is open
                break
            told.append(f"/{number}")
        else:
            pytest.fail("the disk was not full")
    try:
        store.commit_held()
    except StoreError:
        told = []
    make_room(store)
    assert sorted(kept(path)) == sorted(told)
    insert(store, "/after")
    assert "/after" in kept(path)


def test_a_commit_before_a_write_that_does_not_join_tells_its_failure_later(store: SqliteStore, path: Path) -> None:
    with store.hold():
        insert(store, "/a")
    undo_all(store)
    insert(store, "/plain")
    assert store.has_held
    with pytest.raises(StoreError):
        store.commit_held()
    assert kept(path) == ["/plain"]


def test_tokens_beyond_the_reserve_are_on_disk_before_the_commit_returns(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(os, "fdatasync", syncs.append)
    for _ in range(3):
        with store.hold():
            insert(store, "/a")
            with store.write() as tx:
                tx.remove(lock_on(tx, "/a"))
        store.commit_held()
    assert len(syncs) == 1


def test_a_disk_that_refuses_the_reserve_fails_the_commit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with store.hold():
        insert(store, "/a")
    with pytest.raises(StoreError, match="Input/output error"):
        store.commit_held()


def test_after_the_shared_commit_all_of_it_is_unsynced(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "power.sqlite", durability=Durability.POWER) as store:
        with store.hold():
            insert(store, "/a")
        assert not store.has_unsynced
        store.commit_held()
        assert store.has_unsynced
        store.sync()
        assert not store.has_unsynced


def change_much(store: SqliteStore) -> None:
    """More than is left in the log."""
    for _ in range(6):
        with store.hold():
            for _ in range(150):
                insert(store, "/a")
                with store.write() as tx:
                    tx.remove(lock_on(tx, "/a"))
        store.commit_held()


def test_held_work_is_counted_for_checkpoints(path: Path) -> None:
    with SqliteStore(path, durability=Durability.CRASH) as store:
        before = path.stat().st_size
        change_much(store)
        wait_until(lambda: path.stat().st_size > before)


def test_nobody_who_commits_waits_for_the_disk_of_a_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a disk that never answers; and closing the store waits for the checkpoint that has begun."""
    answers, asked = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow_sync(file: int) -> None:
        asked.set()
        assert answers.wait(PATIENCE_S)
        sync(file)

    with SqliteStore(path, durability=Durability.CRASH) as store:
        insert(store, "/first")  # which reserves fencing tokens on the disk
        monkeypatch.setattr(os, "fdatasync", slow_sync)
        before = path.stat().st_size
        change_much(store)
        assert asked.wait(PATIENCE_S)
        change_much(store)
        assert path.stat().st_size == before
        answers.set()
    assert path.stat().st_size > before
    assert kept(path) == ["/first"]
