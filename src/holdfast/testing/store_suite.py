"""The public suite of the store protocol: a store that passes it can be used by Holdfast.

    class TestMyStore(StoreSuite):
        def open_store(self, place: Path, clock: Clock) -> Store:
            return MyStore(place / "locks", clock)

Owns: one test for each promise in `holdfast.store.protocol`. Must not know: any particular store. Needs pytest.
"""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from holdfast.clock import Clock
from holdfast.core.model import Depth, EventKind, Face, Lock, LockScope
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.protocol import Store, StoreError
from holdfast.testing.manual_time import ManualTime
from holdfast.testing.property_suite import PropertySuite
from holdfast.testing.record_suite import RecordSuite
from holdfast.testing.store_cases import TRICKY_NAMES, event_about, lock_on, needs, property_of, roots_of
from holdfast.testing.waiter_suite import WaiterSuite

__all__ = ["StoreSuite"]


class _PlannedError(Exception):
    """Raised by a test to make a transaction fail."""


class StoreSuite(PropertySuite, RecordSuite, WaiterSuite):
    """Subclass it, say how a store is opened and what it can do, and run pytest."""

    # Locks

    def test_a_lock_comes_back_as_it_was(self, store: Store) -> None:
        with store.write() as tx:
            full = lock_on(tx, "/a/b", fencing_token=2**40)
            bare = Lock(
                "i", "t", ROOT, LockScope.SHARED, Depth.ZERO, "", "", None, "", "", Face.API, 0, tx.now, tx.now, None
            )
            tx.insert(full)
            tx.insert(bare)
        with store.read() as tx:
            assert tx.lock_with_id(full.id) == full
            assert tx.lock_with_id("i") == bare
            assert tx.locks_on(["/"]) == [bare]
            assert tx.lock_with_id("none") is None

    def test_instants_keep_their_microseconds_also_far_from_now(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a", ttl=timedelta(days=300_000, microseconds=1))
            tx.insert(lock)
        with store.read() as tx:
            assert tx.lock_with_id(lock.id) == lock

    def test_locks_on_finds_all_locks_of_the_named_roots_and_no_others(self, store: Store) -> None:
        with store.write() as tx:
            for name in TRICKY_NAMES:
                tx.insert(lock_on(tx, f"/{name}", scope=LockScope.SHARED))
                tx.insert(lock_on(tx, f"/{name}", lock_id=f"second {name}", scope=LockScope.SHARED))
        with store.read() as tx:
            for name in TRICKY_NAMES:
                assert sorted(lock.id for lock in tx.locks_on([f"/{name}"])) == sorted(
                    [f"id-/{name}", f"second {name}"]
                )
            assert sorted(roots_of(tx.locks_on(["/", "/a", "/a/b", "/a/x", "/a"]))) == ["/a", "/a", "/a/b", "/a/b"]
            assert len(tx.locks_on([f"/{name}" for name in TRICKY_NAMES])) == 2 * len(TRICKY_NAMES)
            assert tx.locks_on([]) == []
            assert tx.locks_on([f"/none/{number}" for number in range(2000)]) == []

    def test_peek_answers_as_locks_on_does(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a/b")
            tx.insert(lock)
        assert store.peek(ResourcePath("/a/b/c").lineage) == [lock]
        assert store.peek(["/a"]) == []
        assert store.peek([]) == []

    @pytest.mark.parametrize("prefix", ["", "/top", "/t op/50%/_"])
    def test_locks_below_are_the_strict_descendants_in_path_order(self, store: Store, prefix: str) -> None:
        roots = [f"{prefix}/{name}" for name in TRICKY_NAMES]
        with store.write() as tx:
            for root in reversed(["/", *roots]):
                tx.insert(lock_on(tx, root))
        with store.read() as tx:
            for text in ["/", *roots]:
                path = ResourcePath(text)
                below = sorted(root for root in roots if ResourcePath(root).is_below(path))
                assert roots_of(tx.locks_below(path)) == below
                assert roots_of(tx.locks_below(path, 2)) == below[:2]
                assert tx.locks_below(path, 0) == []

    @pytest.mark.parametrize("prefix", ["", "/top", "/t op/50%/_"])
    def test_locks_on_members_are_those_one_step_below_in_path_order(self, store: Store, prefix: str) -> None:
        roots = [f"{prefix}/{name}" for name in [*TRICKY_NAMES, "z/1/2/3", "z0", "z"]]
        with store.write() as tx:
            for root in ["/", *roots]:
                for number in range(3):
                    tx.insert(lock_on(tx, root, lock_id=f"{number} {root}", scope=LockScope.SHARED))
        with store.read() as tx:
            for text in ["/", *roots, *([prefix] if prefix else [])]:
                path = ResourcePath(text)
                members = sorted(root for root in roots if root != "/" and ResourcePath(root).parent == path)
                assert roots_of(tx.locks_on_members(path)) == [root for root in members for _ in range(3)]

    @pytest.mark.parametrize("prefix", ["", "/top", "/t op/50%/_"])
    def test_pages_of_locks_at_or_below_a_path_come_in_the_order_of_root_and_id(
        self, store: Store, prefix: str
    ) -> None:
        roots = ["/", *[f"{prefix}/{name}" for name in TRICKY_NAMES], *([prefix] if prefix else [])]
        with store.write() as tx:
            for root in reversed(roots):
                for number in range(3):
                    tx.insert(lock_on(tx, root, lock_id=f"{number} {root}", scope=LockScope.SHARED))
        with store.read() as tx:
            for text in roots:
                path = ResourcePath(text)
                keys = sorted(
                    (root, f"{number} {root}")
                    for root in roots
                    for number in range(3)
                    if ResourcePath(root).is_at_or_below(path)
                )
                for size in (1, 2, 5, 1000):
                    after: tuple[str, str] | None = None
                    seen: list[tuple[str, str]] = []
                    while page := tx.locks_at_or_below(path, after, size):
                        assert len(page) <= size
                        seen.extend((lock.root.text, lock.id) for lock in page)
                        after = seen[-1]
                    assert seen == keys
                assert tx.locks_at_or_below(path, ("\uffff\uffff", "x"), 5) == []
                assert tx.locks_at_or_below(path, (text, "0 "), 1) == tx.locks_at_or_below(path, None, 1)

    def test_replace_keeps_new_values_under_the_id(self, store: Store, time: ManualTime) -> None:
        with store.write() as tx:
            first = lock_on(tx, "/a")
            tx.insert(first)
        time.pass_by(timedelta(minutes=5))
        with store.write() as tx:
            second = lock_on(tx, "/a", scope=LockScope.SHARED, ttl=None, fencing_token=7)
            tx.replace(second)
            tx.replace(lock_on(tx, "/never was"))
        with store.read() as tx:
            assert tx.lock_with_id(first.id) == second
            assert tx.locks_below(ROOT) == [second]
            assert (tx.count_locks("anna"), tx.count_locks()) == (1, 1)

    def test_removing_a_lock_forgets_it_and_removing_it_again_is_harmless(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            tx.insert(lock)
        with store.write() as tx:
            tx.remove(lock)
            tx.remove(lock)
            tx.remove(lock_on(tx, "/never was"))
            assert tx.count_locks() == 0
        with store.read() as tx:
            assert tx.locks_on(["/a"]) == []
            assert tx.lock_with_id(lock.id) is None

    def test_an_id_is_not_kept_twice(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            tx.insert(lock)
        with pytest.raises(StoreError), store.write() as tx:
            tx.insert(lock_on(tx, "/b", lock_id=lock.id))
        with store.read() as tx:
            assert tx.locks_below(ROOT) == [lock]

    def test_locks_are_counted_for_each_principal_and_in_all(self, store: Store) -> None:
        with store.write() as tx:
            assert tx.count_locks() == tx.count_locks("anna") == 0
            for number in range(5):
                tx.insert(lock_on(tx, f"/{number}", principal="anna" if number < 3 else "ben", ttl=timedelta()))
            assert (tx.count_locks("anna"), tx.count_locks("ben"), tx.count_locks("eve"), tx.count_locks()) == (
                3,
                2,
                0,
                5,
            )
            tx.remove(lock_on(tx, "/0"))
            assert (tx.count_locks("anna"), tx.count_locks()) == (2, 4)
        with store.read() as tx:
            assert (tx.count_locks("anna"), tx.count_locks("ben"), tx.count_locks()) == (2, 2, 4)

    # Time

    def test_an_expired_lock_is_returned_by_every_question(self, store: Store, time: ManualTime) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a/b")
            tx.insert(lock)
        time.pass_by(timedelta(days=2))
        with store.read() as tx:
            assert lock.is_expired_at(tx.now)
            answers = [tx.locks_on(["/a/b"]), tx.locks_below(ROOT), tx.locks_on_members(ResourcePath("/a"))]
            assert answers == [[lock], [lock], [lock]]
            assert tx.lock_with_id(lock.id) == lock
            assert tx.count_locks() == 1

    def test_expired_locks_come_earliest_first_and_only_those(self, store: Store, time: ManualTime) -> None:
        with store.write() as tx:
            for name, minutes in {"c": 3, "a": 1, "e": 5, "b": 2}.items():
                tx.insert(lock_on(tx, f"/{name}", ttl=timedelta(minutes=minutes)))
            tx.insert(lock_on(tx, "/endless", ttl=None))
        time.pass_by(timedelta(minutes=3))
        with store.read() as tx:
            assert roots_of(tx.expired_locks(10)) == ["/a", "/b", "/c"]
            assert roots_of(tx.expired_locks(2)) == ["/a", "/b"]

    def test_now_follows_the_clock_and_stands_still_inside_a_transaction(self, store: Store, time: ManualTime) -> None:
        started = store.now()
        time.pass_by(timedelta(seconds=1))
        with store.write() as tx:
            assert tx.now == started + timedelta(seconds=1)
            time.pass_by(timedelta(seconds=1))
            assert tx.now == started + timedelta(seconds=1)
        with store.read() as tx:
            assert tx.now == started + timedelta(seconds=2)
            assert tx.now.utcoffset() == timedelta()

    def test_now_does_not_jump_with_the_wall_clock(self, store: Store, time: ManualTime) -> None:
        started = store.now()
        time.set_wall_clock(timedelta(hours=-1))
        assert store.now() == started
        time.set_wall_clock(timedelta(hours=2))
        assert store.now() == started

    # Transactions

    def test_a_write_transaction_that_raises_leaves_no_trace(self, store: Store) -> None:
        with store.write() as tx:
            kept = lock_on(tx, "/kept")
            tx.insert(kept)
            tx.append(event_about(kept, tx.now))
            tx.put_property(property_of("/kept", "p"))

        def change_all_and_fail() -> None:
            with store.write() as tx:
                tx.insert(lock_on(tx, "/new"))
                tx.replace(lock_on(tx, "/kept", ttl=None))
                tx.remove(kept)
                tx.append(event_about(kept, tx.now))
                tx.trim_events(tx.now + timedelta(days=1))
                tx.put_property(property_of("/kept", "p", "changed"))
                tx.put_property(property_of("/kept", "q"))
                tx.move_properties(ResourcePath("/kept"), ResourcePath("/moved"))
                raise _PlannedError

        with pytest.raises(_PlannedError):
            change_all_and_fail()
        with store.write() as tx:
            assert tx.locks_below(ROOT) == [kept]
            assert (tx.count_locks("anna"), tx.count_locks("ben"), tx.count_locks()) == (1, 0, 1)
            assert [event.seq for event in tx.events_after(0, 10)] == [1]
            assert tx.properties_on(ResourcePath("/kept")) == [property_of("/kept", "p")]
            assert tx.properties_on_members(ROOT) == [property_of("/kept", "p")]

    def test_a_transaction_sees_its_own_changes(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            tx.insert(lock)
            assert tx.locks_on(["/a"]) == [lock]
            tx.remove(lock)
            assert tx.locks_on(["/a"]) == []

    def test_transactions_do_not_nest(self, store: Store) -> None:
        with store.read(), pytest.raises(StoreError), store.write():
            pass
        with store.write(), pytest.raises(StoreError), store.read():
            pass
        with store.write() as tx:
            assert tx.count_locks() == 0

    def test_a_transaction_that_has_ended_cannot_be_used(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
        with pytest.raises(StoreError):
            tx.insert(lock)
        with store.read() as view:
            pass
        with pytest.raises(StoreError):
            view.locks_on(["/a"])

    def test_write_transactions_of_many_threads_are_serial(self, store: Store) -> None:
        threads, rounds = 4, 25
        wrong: list[str] = []

        def count_up() -> None:
            for _ in range(rounds):
                with store.write() as tx:
                    held = tx.lock_with_id("counter")
                    reached = int(held.reason) if held else 0
                    fresh = lock_on(tx, "/counter", lock_id="counter")
                    changed = structs.replace(fresh, reason=str(reached + 1))
                    if held:
                        tx.replace(changed)
                    else:
                        tx.insert(changed)
                    if tx.count_locks() != 1:
                        wrong.append(f"two at {reached}")

        running = [threading.Thread(target=count_up) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert not wrong
        with store.read() as tx:
            held = tx.lock_with_id("counter")
            assert held is not None
            assert held.reason == str(threads * rounds)

    def test_instants_never_run_backwards_in_the_order_of_commits(self, tmp_path: Path) -> None:
        with closing(self.open_store(tmp_path, Clock())) as store:

            def append() -> None:
                for _ in range(25):
                    with store.write() as tx:
                        tx.append(event_about(lock_on(tx, "/a"), tx.now))

            running = [threading.Thread(target=append) for _ in range(4)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            with store.read() as tx:
                events = tx.events_after(0, 1000)
        assert len(events) == 100
        assert [event.at for event in events] == sorted(event.at for event in events)

    @needs("reads_during_writes")
    def test_a_reader_sees_the_last_commit_while_a_writer_is_at_work(self, store: Store) -> None:
        seen: list[int] = []

        def look() -> None:
            with store.read() as tx:
                seen.append(tx.count_locks())

        with store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
            reader = threading.Thread(target=look)
            reader.start()
            reader.join(10)
        assert seen == [0]

    # Fencing tokens and events

    def test_fencing_tokens_rise_and_are_never_given_twice(self, store: Store) -> None:
        minted: list[int] = []
        for _ in range(3):
            with store.write() as tx:
                minted += [tx.mint_fencing_token() for _ in range(3000)]
        assert minted[0] >= 1
        assert minted == sorted(set(minted))

    def test_fencing_tokens_minted_by_many_threads_differ(self, store: Store) -> None:
        minted: list[int] = []

        def mint() -> None:
            for _ in range(25):
                with store.write() as tx:
                    token = tx.mint_fencing_token()
                minted.append(token)

        running = [threading.Thread(target=mint) for _ in range(4)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len(set(minted)) == 100

    def test_events_come_back_in_order_with_rising_seqs(self, store: Store, time: ManualTime) -> None:
        given: list[int] = []
        for kind in EventKind:
            with store.write() as tx:
                given.append(tx.append(event_about(lock_on(tx, "/a", fencing_token=7), tx.now, kind)))
            time.pass_by(timedelta(microseconds=1))
        assert given == sorted(set(given))
        with store.read() as tx:
            events = tx.events_after(0, 100)
            assert [event.kind for event in events] == list(EventKind)
            assert [event.seq for event in events] == given
            assert [event.ends_at for event in events if event.ends_at] == [
                event.at + timedelta(seconds=30) for event in events if event.kind is EventKind.BREAKING
            ]
            assert tx.events_after(given[1], 2) == events[2:4]
            assert tx.events_after(given[-1], 2) == []
        first = events[0]
        assert (first.root.text, first.holder, first.actor, first.reason, first.fencing_token) == (
            "/a",
            "anna",
            "someone else",
            "because",
            7,
        )

    def test_trimming_drops_the_old_and_never_gives_a_seq_again(self, store: Store, time: ManualTime) -> None:
        last = 0
        for _ in range(3):
            with store.write() as tx:
                last = tx.append(event_about(lock_on(tx, "/a"), tx.now))
            time.pass_by(timedelta(minutes=1))
        with store.write() as tx:
            assert tx.trim_events(tx.now - timedelta(minutes=2)) == 1
            assert [event.seq for event in tx.events_after(0, 10)] == [last - 1, last]
            assert tx.trim_events(tx.now) == 2
            assert tx.trim_events(tx.now) == 0
        with store.write() as tx:
            assert tx.append(event_about(lock_on(tx, "/a"), tx.now)) > last

    # The store as a whole

    def test_after_sync_nothing_is_unsynced(self, store: Store) -> None:
        with store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
        store.sync()
        assert not store.has_unsynced
        with store.read() as tx:
            tx.count_locks()
        assert not store.has_unsynced

    def test_closing_twice_is_harmless(self, store: Store) -> None:
        store.close()
        store.close()

    @needs("shared")
    def test_two_stores_at_one_place_are_one(self, store: Store, tmp_path: Path, time: ManualTime) -> None:
        with closing(self.open_store(tmp_path, time.clock())) as second:
            with store.write() as tx:
                lock = lock_on(tx, "/a", fencing_token=tx.mint_fencing_token())
                tx.insert(lock)
                seq = tx.append(event_about(lock, tx.now))
            assert second.peek(["/a"]) == [lock]
            with second.write() as tx:
                assert tx.count_locks("anna") == 1
                assert tx.mint_fencing_token() > lock.fencing_token
                assert tx.append(event_about(lock, tx.now)) > seq
                tx.remove(lock)
            assert store.peek(["/a"]) == []
            assert store.now() == second.now()

    @needs("shared")
    def test_a_shared_store_is_there_again_after_it_was_closed(self, tmp_path: Path, time: ManualTime) -> None:
        with closing(self.open_store(tmp_path, time.clock())) as store, store.write() as tx:
            lock = lock_on(tx, "/a", fencing_token=tx.mint_fencing_token())
            tx.insert(lock)
            tx.append(event_about(lock, tx.now))
            tx.put_property(property_of("/a", "p"))
        with closing(self.open_store(tmp_path, time.clock())) as store, store.write() as tx:
            assert tx.locks_below(ROOT) == [lock]
            assert tx.count_locks() == 1
            assert tx.mint_fencing_token() > lock.fencing_token
            assert len(tx.events_after(0, 10)) == 1
            assert tx.properties_on(ResourcePath("/a")) == [property_of("/a", "p")]
