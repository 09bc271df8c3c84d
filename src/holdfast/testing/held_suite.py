"""The part of the store suite about write transactions that share a commit, and the whole suite in that mode.

Owns: one test for each promise about `hold` in `holdfast.store.protocol`. Must not know: any particular store.
A store that passes StoreSuite passes this one by

    class TestMyStoreHolding(HeldStoreSuite, TestMyStore): ...
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from holdfast.core.paths import ROOT
from holdfast.store.protocol import Store, WriteTransaction
from holdfast.testing.manual_time import ManualTime
from holdfast.testing.store_cases import StoreCases, event_about, lock_on, needs, property_of, roots_of

__all__ = ["HeldStoreSuite"]


class _PlannedError(Exception):
    """Raised by a test to make a transaction fail."""


class _Holding:
    """A store whose every write transaction is held: by the test's own thread to the end, by others briefly."""

    def __init__(self, store: Store) -> None:
        self.plain = store
        self._thread = threading.get_ident()

    @contextmanager
    def write(self) -> Generator[WriteTransaction]:
        with self.plain.hold(), self.plain.write() as tx:
            yield tx
        if threading.get_ident() != self._thread:
            self.plain.commit_held()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            return getattr(self.plain, name)


class HeldStoreSuite(StoreCases):
    """Mix it in before a subclass of StoreSuite; every test of that one then runs with its writes held."""

    @pytest.fixture
    def store(self, tmp_path: Path, time: ManualTime) -> Iterator[Store]:
        with closing(self.open_store(tmp_path, time.clock())) as store:
            yield cast("Store", _Holding(store))
            store.commit_held()

    @needs("shared")
    def test_two_stores_at_one_place_are_one(self, store: Store, tmp_path: Path, time: ManualTime) -> None:
        """With what is held committed in between, since that is when others see it."""
        with closing(self.open_store(tmp_path, time.clock())) as second:
            with store.write() as tx:
                lock = lock_on(tx, "/a", fencing_token=tx.mint_fencing_token())
                tx.insert(lock)
                seq = tx.append(event_about(lock, tx.now))
            store.commit_held()
            with second.write() as tx:
                assert tx.locks_on(["/a"]) == [lock]
                assert tx.mint_fencing_token() > lock.fencing_token
                assert tx.append(event_about(lock, tx.now)) > seq
                tx.remove(lock)
            assert store.peek(["/a"]) == []

    def test_what_is_held_is_seen_by_the_thread_that_holds_it_and_by_all_once_committed(self, store: Store) -> None:
        seen: list[list[str]] = []

        def look() -> None:
            with store.read() as tx:
                seen.append(roots_of(tx.locks_below(ROOT)))

        with store.write() as tx:
            first = lock_on(tx, "/a")
            tx.insert(first)
        with store.write() as tx:
            assert tx.locks_on(["/a"]) == [first]
            tx.insert(lock_on(tx, "/b"))
        assert store.peek(["/a"]) == [first]
        look()
        store.commit_held()
        assert not store.has_held
        other = threading.Thread(target=look)
        other.start()
        other.join()
        assert seen == [["/a", "/b"]] * 2

    def test_a_transaction_that_raises_is_undone_alone_among_those_held(self, store: Store) -> None:
        with store.write() as tx:
            kept = lock_on(tx, "/kept", fencing_token=tx.mint_fencing_token())
            tx.insert(kept)
            seq = tx.append(event_about(kept, tx.now))

        def change_and_fail() -> None:
            with store.write() as tx:
                tx.insert(lock_on(tx, "/new", principal="ben", fencing_token=tx.mint_fencing_token()))
                tx.remove(kept)
                tx.append(event_about(kept, tx.now))
                assert len(tx.events_after(0, 10)) == 2
                tx.put_property(property_of("/kept", "p"))
                raise _PlannedError

        for _ in range(2):
            with pytest.raises(_PlannedError):
                change_and_fail()
        with store.write() as tx:
            assert tx.locks_below(ROOT) == [kept]
            assert (tx.count_locks("anna"), tx.count_locks("ben"), tx.count_locks()) == (1, 0, 1)
            assert tx.properties_on(kept.root) == []
            assert tx.mint_fencing_token() > kept.fencing_token
            assert tx.append(event_about(kept, tx.now)) > seq
        store.commit_held()
        with store.read() as tx:
            assert tx.locks_below(ROOT) == [kept]
            assert len(tx.events_after(0, 10)) == 2

    def test_a_first_transaction_that_raises_leaves_nothing_held(self, store: Store) -> None:
        def change_and_fail() -> None:
            with store.write() as tx:
                tx.insert(lock_on(tx, "/new"))
                raise _PlannedError

        with pytest.raises(_PlannedError):
            change_and_fail()
        assert not store.has_held
        store.commit_held()
        assert store.peek(["/new"]) == []

    def test_a_transaction_that_changes_nothing_holds_nothing(self, store: Store) -> None:
        with store.write() as tx:
            assert tx.count_locks() == 0
        assert not store.has_held

    def test_each_transaction_that_is_held_has_its_own_instant(self, store: Store, time: ManualTime) -> None:
        started = store.now()
        for number in range(3):
            with store.write() as tx:
                assert tx.now == started + timedelta(seconds=number)
                tx.insert(lock_on(tx, f"/{number}"))
                time.pass_by(timedelta(seconds=1))
                assert tx.now == started + timedelta(seconds=number)

    def test_fencing_tokens_and_seqs_rise_through_holds(self, store: Store) -> None:
        tokens: list[int] = []
        seqs: list[int] = []
        for _ in range(3):
            for _ in range(3):
                with store.write() as tx:
                    tokens += [tx.mint_fencing_token() for _ in range(1500)]
                    seqs.append(tx.append(event_about(lock_on(tx, "/a"), tx.now)))
            store.commit_held()
        assert tokens == sorted(set(tokens))
        assert seqs == sorted(set(seqs))

    def test_another_thread_writes_after_the_hold_has_ended(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            tx.insert(lock)
        found: list[object] = []

        def write() -> None:
            with store.write() as tx:
                found.append(tx.lock_with_id(lock.id))

        other = threading.Thread(target=write)
        other.start()
        store.commit_held()
        other.join()
        assert found == [lock]

    def test_a_write_outside_of_the_hold_commits_what_is_held_before(self, store: Store) -> None:
        with store.write() as tx:
            tx.insert(lock_on(tx, "/held"))

        def change_and_fail() -> None:
            with cast("_Holding", store).plain.write() as tx:
                assert roots_of(tx.locks_below(ROOT)) == ["/held"]
                tx.insert(lock_on(tx, "/undone"))
                raise _PlannedError

        with pytest.raises(_PlannedError):
            change_and_fail()
        assert not store.has_held
        store.commit_held()
        with store.read() as tx:
            assert roots_of(tx.locks_below(ROOT)) == ["/held"]

    def test_a_commit_of_nothing_is_harmless(self, store: Store) -> None:
        store.commit_held()
        with store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
        store.commit_held()
        store.commit_held()
        assert len(store.peek(["/a"])) == 1

    def test_what_is_held_is_not_called_unsynced_before_its_commit_nor_synced_after(self, store: Store) -> None:
        store.sync()
        with store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
        assert not (store.has_held and store.has_unsynced)
        store.commit_held()
        store.sync()
        assert not store.has_unsynced
