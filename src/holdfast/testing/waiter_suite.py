"""The promises about the waiting line: who is in it, in which order, how long, and how others learn of a change.

Owns: one test for each promise; part of `store_suite.StoreSuite`. Must not know: any particular store. Needs pytest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from holdfast.core.model import Depth, Face, LockScope, Waiter
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.protocol import Store, StoreError
from holdfast.testing.manual_time import ManualTime
from holdfast.testing.store_cases import TRICKY_NAMES, StoreCases, event_about, lock_on, needs, waiter_on

__all__ = ["WaiterSuite"]


class _PlannedError(Exception):
    """Raised by a test to make a transaction fail."""


def _enqueue(store: Store, *roots: str) -> list[Waiter]:
    """Let one waiter for each of these roots stand in line, in this order; committed."""
    with store.write() as tx:
        placed = [tx.enqueue(waiter_on(tx, root, lock_id=f"{number} {root}")) for number, root in enumerate(roots)]
    store.commit_held()
    return placed


def _in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


class WaiterSuite(StoreCases):
    """Who waits for a lock."""

    def test_a_waiter_comes_back_as_it_was_with_its_place(self, store: Store) -> None:
        with store.write() as tx:
            asked = waiter_on(tx, "/a/b")
            full = tx.enqueue(asked)
            bare = tx.enqueue(
                Waiter(
                    "i", 0, ROOT, LockScope.SHARED, Depth.ZERO, "", "", None, "", "", Face.API, None, True, tx.now,
                    tx.now + timedelta(days=300_000, microseconds=1), True,
                )
            )  # fmt: skip
            assert full == structs.replace(asked, seq=full.seq)
            assert 0 < full.seq < bare.seq
        with store.read() as tx:
            assert tx.waiter_with_id(full.id) == full
            assert tx.waiter_with_id("i") == bare
            assert tx.waiter_with_id("none") is None
            assert tx.waiters_on(["/"]) == [bare]

    def test_a_place_is_never_given_again(self, store: Store) -> None:
        given: list[int] = []
        for _ in range(3):
            with store.write() as tx:
                given += [tx.enqueue(waiter_on(tx, f"/{number}")).seq for number in range(3)]
            with store.write() as tx:
                for waiter in tx.waiters_below(ROOT):
                    tx.dequeue(waiter)
        assert given == sorted(set(given))

    def test_places_given_to_many_threads_differ(self, store: Store) -> None:
        given: list[int] = []

        def enqueue(name: str) -> None:
            for number in range(25):
                with store.write() as tx:
                    seq = tx.enqueue(waiter_on(tx, "/a", lock_id=f"{name}{number}")).seq
                given.append(seq)

        running = [threading.Thread(target=enqueue, args=(name,)) for name in "abcd"]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len(set(given)) == 100
        assert [waiter.seq for waiter in store.peek_waiters(["/a"])] == sorted(given)

    def test_waiters_on_are_those_of_the_named_roots_in_the_order_of_the_line(self, store: Store) -> None:
        roots = [f"/{name}" for name in TRICKY_NAMES]
        line = _enqueue(store, *roots, *reversed(roots), "/")
        with store.read() as tx:
            for root in roots:
                here = [waiter for waiter in line if waiter.root.text == root]
                assert tx.waiters_on([root]) == here
                assert tx.waiters_on([root], limit=1) == here[:1]
                assert tx.waiters_on([root], before=here[1].seq) == here[:1]
            wanted = ["/none", "/aa", "/", "/a/b", "/a", "/a"]
            here = [waiter for waiter in line if waiter.root.text in wanted]
            assert tx.waiters_on(wanted) == here
            for limit in range(len(here) + 2):
                assert tx.waiters_on(wanted, limit=limit) == here[:limit]
                for before in (here[0].seq, here[2].seq, here[-1].seq, here[-1].seq + 1):
                    earlier = [waiter for waiter in here if waiter.seq < before]
                    assert tx.waiters_on(wanted, before=before) == earlier
                    assert tx.waiters_on(wanted, before=before, limit=limit) == earlier[:limit]
            assert tx.waiters_on(roots) == line[:-1]
            assert tx.waiters_on([]) == tx.waiters_on([], limit=3) == []
            assert tx.waiters_on([f"/none/{number}" for number in range(2000)]) == []

    @pytest.mark.parametrize("prefix", ["", "/top", "/t op/50%/_"])
    def test_waiters_below_are_those_of_the_strict_descendants_in_the_order_of_the_line(
        self, store: Store, prefix: str
    ) -> None:
        roots = [f"{prefix}/{name}" for name in TRICKY_NAMES]
        line = _enqueue(store, "/", *reversed(roots), *roots)
        with store.read() as tx:
            for text in ["/", *roots, *([prefix] if prefix else [])]:
                path = ResourcePath(text)
                below = [waiter for waiter in line if waiter.root.is_below(path)]
                assert tx.waiters_below(path) == below
                for limit in (0, 1, 3):
                    assert tx.waiters_below(path, limit=limit) == below[:limit]
                    for before in (1, line[len(line) // 2].seq):
                        earlier = [waiter for waiter in below if waiter.seq < before]
                        assert tx.waiters_below(path, before=before) == earlier
                        assert tx.waiters_below(path, before=before, limit=limit) == earlier[:limit]

    def test_an_id_stands_in_line_once_and_may_come_again_at_its_end(self, store: Store) -> None:
        first, second = _enqueue(store, "/a", "/b")
        with pytest.raises(StoreError), store.write() as tx:
            tx.enqueue(waiter_on(tx, "/c", lock_id=first.id))
        with store.write() as tx:
            assert tx.waiters_below(ROOT) == [first, second]
            assert tx.count_waiters() == 2
            tx.dequeue(first)
            again = tx.enqueue(waiter_on(tx, "/a", lock_id=first.id))
            assert tx.waiters_below(ROOT) == [second, again]

    def test_a_lock_and_the_waiter_for_it_are_kept_apart(self, store: Store) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            waiter = tx.enqueue(waiter_on(tx, "/a", lock_id=lock.id))
            tx.insert(lock)
            assert (tx.lock_with_id(lock.id), tx.waiter_with_id(lock.id)) == (lock, waiter)
            assert (tx.count_locks(), tx.count_waiters()) == (1, 1)
            tx.remove(lock)
            assert tx.waiters_on(["/a"]) == [waiter]
            assert tx.locks_on(["/a"]) == []

    def test_dequeuing_forgets_a_waiter_and_is_harmless_when_it_is_gone(self, store: Store) -> None:
        first, second = _enqueue(store, "/a", "/a")
        with store.write() as tx:
            tx.dequeue(first)
            tx.dequeue(first)
            tx.dequeue(structs.replace(second, id="never was", seq=second.seq + 1))
            assert tx.waiters_on(["/a"]) == [second]
            assert tx.count_waiters() == 1
        with store.write() as tx:
            tx.dequeue(second)
        with store.read() as tx:
            assert tx.waiters_on(["/a"]) == tx.waiters_below(ROOT) == []
            assert tx.waiter_with_id(second.id) is None
            assert tx.count_waiters() == 0

    def test_whoever_lost_a_place_does_not_take_the_later_one_of_the_same_id(self, store: Store) -> None:
        (lost,) = _enqueue(store, "/a")
        with store.write() as tx:
            tx.dequeue(lost)
            again = tx.enqueue(waiter_on(tx, "/a", lock_id=lost.id))
            tx.dequeue(lost)
            assert tx.waiters_on(["/a"]) == [again]

    def test_waiters_are_counted(self, store: Store) -> None:
        with store.read() as tx:
            assert tx.count_waiters() == 0
        with store.write() as tx:
            line = [tx.enqueue(waiter_on(tx, f"/{number}", lease=timedelta())) for number in range(5)]
            assert tx.count_waiters() == 5
            tx.dequeue(line[2])
            assert tx.count_waiters() == 4
        with store.read() as tx:
            assert tx.count_waiters() == 4

    # Leases

    def test_a_lapsed_waiter_is_returned_by_every_question(self, store: Store, time: ManualTime) -> None:
        (waiter,) = _enqueue(store, "/a/b")
        time.pass_by(timedelta(days=2))
        with store.read() as tx:
            assert waiter.has_lapsed_at(tx.now)
            assert tx.waiters_on(["/a/b"]) == tx.waiters_below(ROOT) == tx.waiters_below(ROOT, limit=1) == [waiter]
            assert tx.waiter_with_id(waiter.id) == waiter
            assert tx.count_waiters() == 1
        assert store.peek_waiters(["/a/b"]) == [waiter]

    def test_lapsed_waiters_come_earliest_first_and_only_those(self, store: Store, time: ManualTime) -> None:
        with store.write() as tx:
            for name, seconds in {"c": 3, "a": 1, "e": 5, "b": 2}.items():
                tx.enqueue(waiter_on(tx, "/", lock_id=name, lease=timedelta(seconds=seconds)))
            assert tx.lapsed_waiters(10) == []
        time.pass_by(timedelta(seconds=3))
        with store.read() as tx:
            assert [waiter.id for waiter in tx.lapsed_waiters(10)] == ["a", "b", "c"]
            assert [waiter.id for waiter in tx.lapsed_waiters(2)] == ["a", "b"]
            assert tx.lapsed_waiters(0) == []

    def test_renewing_gives_the_named_waiters_a_new_lease_and_nothing_else(
        self, store: Store, time: ManualTime
    ) -> None:
        line = _enqueue(store, "/a", "/b", "/a", "/c")
        time.pass_by(timedelta(seconds=20))
        with store.write() as tx:
            later = tx.now + timedelta(seconds=30, microseconds=1)
            tx.renew_waiters([line[2].id, "never was", line[0].id, line[0].id], later)
            tx.renew_waiters([], tx.now)
            renewed = [structs.replace(w, lease_until=later) if w.root.text == "/a" else w for w in line]
            assert tx.waiters_below(ROOT) == renewed
            assert tx.waiter_with_id(line[0].id) == renewed[0]
        time.pass_by(timedelta(seconds=10))
        with store.read() as tx:
            assert tx.waiters_on(["/a"]) == [renewed[0], renewed[2]]
            assert tx.lapsed_waiters(10) == [line[1], line[3]]

    def test_thousands_are_renewed_at_once(self, store: Store) -> None:
        with store.write() as tx:
            ids = [tx.enqueue(waiter_on(tx, f"/{n % 7}", lock_id=f"waiter-{n}")).id for n in range(2000)]
            tx.renew_waiters(ids[:-1], tx.now + timedelta(hours=1))
        with store.read() as tx:
            living = [waiter for waiter in tx.waiters_below(ROOT) if waiter.lease_until == tx.now + timedelta(hours=1)]
            assert [waiter.id for waiter in living] == ids[:-1]

    # Transactions

    def test_a_transaction_sees_its_own_changes_of_the_line(self, store: Store) -> None:
        with store.write() as tx:
            assert (tx.waiters_on(["/a"]), tx.waiters_below(ROOT), tx.count_waiters()) == ([], [], 0)
            waiter = tx.enqueue(waiter_on(tx, "/a"))
            assert (tx.waiters_on(["/a"]), tx.waiters_below(ROOT), tx.count_waiters()) == ([waiter], [waiter], 1)
            tx.dequeue(waiter)
            assert (tx.waiters_on(["/a"]), tx.waiters_below(ROOT), tx.count_waiters()) == ([], [], 0)

    def test_a_write_transaction_that_raises_leaves_no_trace_in_the_line(self, store: Store) -> None:
        with store.write() as tx:
            line = [tx.enqueue(waiter_on(tx, root, lock_id=f"id-{n}")) for n, root in enumerate(["/a", "/b", "/a"])]

        def change_all_and_fail() -> None:
            with store.write() as tx:
                tx.renew_waiters([waiter.id for waiter in line], tx.now + timedelta(hours=1))
                tx.dequeue(line[0])
                tx.dequeue(line[1])
                tx.enqueue(waiter_on(tx, "/a", lock_id=line[1].id))
                tx.enqueue(waiter_on(tx, "/c"))
                assert tx.count_waiters() == 3
                raise _PlannedError

        for _ in range(2):
            with pytest.raises(_PlannedError):
                change_all_and_fail()
        store.commit_held()
        with store.write() as tx:
            assert tx.waiters_below(ROOT) == line
            assert tx.waiters_on(["/a"]) == [line[0], line[2]]
            assert tx.waiter_with_id("id-/c") is None
            assert tx.count_waiters() == 3
            assert tx.enqueue(waiter_on(tx, "/c")).seq > line[-1].seq

    def test_a_first_waiter_that_is_undone_was_never_there(self, store: Store) -> None:
        def enqueue_and_fail() -> None:
            with store.write() as tx:
                tx.enqueue(waiter_on(tx, "/a"))
                raise _PlannedError

        assert store.peek_waiters(["/a"]) == []
        with pytest.raises(_PlannedError):
            enqueue_and_fail()
        assert store.peek_waiters(["/a"]) == []
        with store.read() as tx:
            assert tx.count_waiters() == 0

    def test_a_transaction_that_has_ended_cannot_change_the_line(self, store: Store) -> None:
        with store.write() as tx:
            waiter = tx.enqueue(waiter_on(tx, "/a"))
        for use in (
            lambda: tx.enqueue(structs.replace(waiter, id="other")),
            lambda: tx.dequeue(waiter),
            lambda: tx.renew_waiters([waiter.id], waiter.lease_until),
            lambda: tx.waiters_on(["/a"]),
            tx.count_waiters,
        ):
            with pytest.raises(StoreError):
                use()

    def test_peek_waiters_answers_as_waiters_on_does_whoever_changed_the_line(self, store: Store) -> None:
        assert store.peek_waiters(["/a"]) == store.peek_waiters([]) == []

        def work() -> None:
            line.extend(_enqueue(store, "/a", "/b", "/a/b", "/a"))

        line: list[Waiter] = []
        _in_thread(work)
        assert store.peek_waiters(["/none"]) == []
        assert store.peek_waiters(ResourcePath("/a/b/c").lineage) == [line[0], line[2], line[3]]
        with store.write() as tx:
            for waiter in line[:3]:
                tx.dequeue(waiter)
            assert tx.waiters_below(ROOT) == line[3:]
        assert store.peek_waiters(["/a", "/b", "/a/b"]) == line[3:]

    # What tells others of a change

    def test_the_version_differs_after_every_commit_whichever_thread_asks_or_commits(self, store: Store) -> None:
        seen: list[int] = [store.version()]

        def enqueue() -> None:
            with store.write() as tx:
                tx.enqueue(waiter_on(tx, "/a", lock_id=f"waiter-{len(seen)}"))
            store.commit_held()

        def look() -> None:
            seen.append(store.version())

        for work in (enqueue, lambda: _in_thread(enqueue)):
            for ask in (look, lambda: _in_thread(look)):
                work()
                ask()
                assert seen[-1] != seen[-2]
        with store.read() as tx:
            assert tx.count_waiters() == 4
            store.version()

    def test_the_latest_seq_is_that_of_the_newest_event_trimmed_or_not(self, store: Store, time: ManualTime) -> None:
        with store.read() as tx:
            assert tx.latest_seq() == 0
        seq = 0
        for _ in range(2):
            with store.write() as tx:
                for _ in range(2):
                    seq = tx.append(event_about(lock_on(tx, "/a"), tx.now))
                    assert tx.latest_seq() == seq
            with store.read() as tx:
                assert tx.latest_seq() == seq
                assert tx.events_after(seq, 1) == []
        time.pass_by(timedelta(days=1))
        with store.write() as tx:
            tx.trim_events(tx.now)
            assert tx.latest_seq() == seq
        with store.read() as tx:
            assert tx.events_after(0, 10) == []
            assert tx.latest_seq() == seq

    @needs("shared")
    def test_two_stores_at_one_place_have_one_line(self, store: Store, tmp_path: Path, time: ManualTime) -> None:
        with closing(self.open_store(tmp_path, time.clock())) as second:
            assert second.peek_waiters(["/a"]) == []
            before = second.version()
            (first,) = _enqueue(store, "/a")
            assert second.version() != before
            assert second.peek_waiters(["/a"]) == [first]
            mine = store.version()
            with second.write() as tx:
                assert tx.count_waiters() == 1
                tx.dequeue(first)
                later = tx.enqueue(waiter_on(tx, "/a", lock_id=first.id))
                assert later.seq > first.seq
            assert store.version() != mine
            assert store.peek_waiters(["/a"]) == [later]
            with second.write() as tx:
                tx.dequeue(later)
            assert store.peek_waiters(["/a"]) == []

    @needs("shared")
    def test_a_shared_line_is_there_again_after_the_store_was_closed(self, tmp_path: Path, time: ManualTime) -> None:
        with closing(self.open_store(tmp_path, time.clock())) as store:
            gone, kept, last = _enqueue(store, "/a", "/b", "/c")
            with store.write() as tx:
                tx.dequeue(gone)
                tx.dequeue(last)
        with closing(self.open_store(tmp_path, time.clock())) as store, store.write() as tx:
            assert tx.waiters_below(ROOT) == [kept]
            assert tx.count_waiters() == 1
            assert tx.enqueue(waiter_on(tx, "/d")).seq > last.seq
