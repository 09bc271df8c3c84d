"""What a connection of the SQLite store remembers of the locks is what it would read, whoever changes them meanwhile."""

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from holdfast.config import Durability
from holdfast.core.model import Lock, LockScope, Waiter
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.protocol import StoreError, WriteTransaction
from holdfast.store.sqlite import SqliteStore
from holdfast.testing.store_cases import event_about, lock_on, roots_of, waiter_on

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a0", "/b", "/b/c"]


class _UndoneError(Exception):
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks.sqlite"


def open_store(path: Path) -> SqliteStore:
    return SqliteStore(path, durability=Durability.CRASH)


def add(store: SqliteStore, root: str) -> Lock:
    with store.write() as tx:
        lock = lock_on(tx, root)
        tx.insert(lock)
    return lock


def count_statements(store: SqliteStore, work: Callable[[], object]) -> list[str]:
    ran: list[str] = []
    connection = store._session().connection
    connection.set_trace_callback(ran.append)
    work()
    connection.set_trace_callback(None)
    return [statement for statement in ran if "locks" in statement or "waiters" in statement]


def test_what_is_known_is_not_read_again(path: Path) -> None:
    with open_store(path) as store:
        lock = add(store, "/a/b")
        roots = ResourcePath("/a/b/c").lineage
        assert store.peek(roots) == [lock]
        assert count_statements(store, lambda: store.peek(roots)) == []
        assert store.peek(roots) == [lock]


def test_while_nobody_waits_the_line_is_not_read(path: Path) -> None:
    """Every acquire asks for it."""
    with open_store(path) as store:
        roots = ResourcePath("/a/b/c").lineage

        def ask() -> None:
            assert store.peek_waiters(roots) == []
            with store.read() as tx:
                assert tx.waiters_on(roots) == tx.waiters_on(roots, limit=1) == tx.waiters_below(ROOT) == []
                assert (tx.waiter_with_id("i"), tx.lapsed_waiters(9), tx.count_waiters()) == (None, [], 0)
            with store.write() as tx:
                assert tx.waiters_on(roots) == tx.waiters_below(ROOT, limit=1) == []
                assert tx.count_waiters() == 0
                tx.renew_waiters(["i"], tx.now)

        ask()
        assert count_statements(store, ask) == []
        add(store, "/b")
        assert count_statements(store, ask) == []


@pytest.mark.parametrize("known", [["/a"], ["/", "/a", "/a/b"]])
def test_another_process_s_grant_and_release_are_seen(path: Path, known: list[str]) -> None:
    with open_store(path) as store, open_store(path) as other:
        assert store.peek(known) == []
        with store.read() as tx:
            assert tx.locks_below(ROOT) == []
        lock = add(other, "/a")
        assert store.peek(known) == [lock]
        with store.read() as tx:
            assert tx.locks_on(["/a"]) == tx.locks_below(ROOT) == [lock]
        with store.write() as tx:
            tx.remove(lock)
        assert other.peek(["/a"]) == []


def test_another_thread_s_grant_is_seen(path: Path) -> None:
    with open_store(path) as store:
        assert store.peek(["/a"]) == []
        thread = threading.Thread(target=lambda: add(store, "/a"))
        thread.start()
        thread.join()
        assert roots_of(store.peek(["/a"])) == ["/a"]


def test_a_read_transaction_goes_on_with_its_own_snapshot(path: Path) -> None:
    with open_store(path) as store, open_store(path) as other:
        with store.read() as tx:
            assert tx.locks_on(["/b"]) == []
            add(other, "/a")
            assert tx.locks_on(["/a"]) == tx.locks_below(ROOT) == []
        assert roots_of(store.peek(["/a", "/b"])) == ["/a"]


def test_a_change_that_sqlite_undid_is_not_remembered(path: Path) -> None:
    with open_store(path) as store:
        assert store.peek(["/a"]) == []
        with store.hold():
            add(store, "/a")
        store._session().connection.execute("ROLLBACK").close()
        with pytest.raises(StoreError):
            store.commit_held()
        assert store.peek(["/a"]) == []


def change(chance: random.Random, tx: WriteTransaction, kept: dict[str, Lock]) -> None:
    for _ in range(chance.randrange(3)):
        root = chance.choice(PATHS)
        match chance.randrange(3):
            case 0:
                lock = lock_on(tx, root, lock_id=f"{chance.randrange(10**9):09}", scope=LockScope.SHARED)
                tx.insert(lock)
                kept[lock.id] = lock
                tx.append(event_about(lock, tx.now))
            case 1 if kept:
                lock = kept.pop(chance.choice(sorted(kept)))
                tx.remove(lock)
            case _ if kept:
                old = kept[chance.choice(sorted(kept))]
                kept[old.id] = structs.replace(old, expires_at=tx.now + timedelta(seconds=chance.randrange(99)))
                tx.replace(kept[old.id])
            case _:
                pass


def look(chance: random.Random, ask: Callable[[list[str]], list[Lock]], kept: dict[str, Lock]) -> None:
    roots = chance.sample(PATHS, chance.randrange(1, 4))
    expected = [lock for lock in kept.values() if lock.root.text in roots]
    assert sorted(ask(roots), key=lambda lock: lock.id) == sorted(expected, key=lambda lock: lock.id)


def test_another_process_s_waiters_are_seen_to_come_and_go(path: Path) -> None:
    with open_store(path) as store, open_store(path) as other:
        for _ in range(2):
            assert store.peek_waiters(["/a"]) == []
            with other.write() as tx:
                waiter = tx.enqueue(waiter_on(tx, "/a"))
            assert store.peek_waiters(["/a"]) == [waiter]
            with store.write() as tx:
                assert tx.waiters_below(ROOT, limit=1) == [waiter]
                tx.dequeue(waiter)
            assert other.peek_waiters(["/a"]) == []


def test_a_waiter_whose_transaction_sqlite_undid_is_not_remembered(path: Path) -> None:
    with open_store(path) as store:
        assert store.peek_waiters(["/a"]) == []
        with store.hold(), store.write() as tx:
            tx.enqueue(waiter_on(tx, "/a"))
        store._session().connection.execute("ROLLBACK").close()
        with pytest.raises(StoreError):
            store.commit_held()
        assert count_statements(store, lambda: store.peek_waiters(["/a"])) != []
        assert store.peek_waiters(["/a"]) == []


@pytest.mark.parametrize("seed", range(6))
def test_two_connections_that_take_turns_always_see_the_same_locks(path: Path, seed: int) -> None:
    """Against a plain dict: changes, changes undone alone or in a held commit, and questions, in any order."""
    chance = random.Random(seed)
    kept: dict[str, Lock] = {}
    with open_store(path) as one, open_store(path) as two:
        for _ in range(250):
            store = chance.choice([one, two])
            for _ in range(chance.randrange(1, 4)):
                attempt = dict(kept)
                fails = chance.random() < 0.3
                with suppress(_UndoneError), store.hold(), store.write() as tx:
                    look(chance, tx.locks_on, attempt)
                    change(chance, tx, attempt)
                    look(chance, tx.locks_on, attempt)
                    below = ResourcePath(chance.choice(PATHS))
                    assert {lock.id for lock in tx.locks_below(below)} == {
                        lock.id for lock in attempt.values() if lock.root.is_below(below)
                    }
                    if fails:
                        raise _UndoneError
                    kept = attempt
                look(chance, store.peek, kept)
            store.commit_held()
            look(chance, chance.choice([one, two]).peek, kept)
    with closing(sqlite3.connect(path)) as connection:
        counted = connection.execute("SELECT locks FROM counters").fetchone()[0]
        assert counted == len(kept) == connection.execute("SELECT count(*) FROM locks").fetchone()[0]


def move_in_line(chance: random.Random, tx: WriteTransaction, line: list[Waiter]) -> None:
    for _ in range(chance.randrange(3)):
        if line and chance.random() < 0.6:
            tx.dequeue(line.pop(chance.randrange(len(line))))
        else:
            line.append(tx.enqueue(waiter_on(tx, chance.choice(PATHS), lock_id=f"{chance.randrange(10**9):09}")))


@pytest.mark.parametrize("seed", range(4))
def test_two_connections_that_take_turns_always_see_the_same_line(path: Path, seed: int) -> None:
    """The line is empty now and then, which is what each remembers."""
    chance = random.Random(seed)
    line: list[Waiter] = []
    with open_store(path) as one, open_store(path) as two:
        for _ in range(150):
            store = chance.choice([one, two])
            for _ in range(chance.randrange(1, 4)):
                attempt = list(line)
                fails = chance.random() < 0.3
                with suppress(_UndoneError), store.hold(), store.write() as tx:
                    assert tx.waiters_on(PATHS) == attempt
                    move_in_line(chance, tx, attempt)
                    assert (tx.waiters_on(PATHS), tx.count_waiters()) == (attempt, len(attempt))
                    if fails:
                        raise _UndoneError
                    line = attempt
                assert store.peek_waiters(PATHS) == line
            store.commit_held()
            other = chance.choice([one, two])
            assert other.peek_waiters(PATHS) == line
            with other.read() as tx:
                assert tx.count_waiters() == len(line)
    assert line == sorted(line, key=lambda waiter: waiter.seq)
