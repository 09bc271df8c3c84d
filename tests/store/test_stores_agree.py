"""The memory store and the SQLite store give the same answers to the same work, whatever it is."""

import tempfile
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from holdfast.config import Durability
from holdfast.core.model import DeadProperty, Event, Lock, LockScope
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.memory import MemoryStore
from holdfast.store.protocol import ReadTransaction, StoreError, WriteTransaction
from holdfast.store.sqlite import SqliteStore
from holdfast.testing import ManualTime
from holdfast.testing.store_cases import event_about, lock_on, waiter_on

PATHS = ["/", "/a", "/a!", "/a/b", "/a/b/c", "/a/b!", "/a0", "/b", "/b/😀", "/%"]
paths = st.sampled_from(PATHS)
ids = st.sampled_from(["1", "2", "3", "4"])
principals = st.sampled_from(["anna", "ben"])
names = st.sampled_from(["p", "q"])

steps = st.one_of(
    st.tuples(st.just("insert"), ids, paths, principals, st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("replace"), ids, st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("remove"), ids),
    st.tuples(st.just("append"), ids),
    st.tuples(st.just("enqueue"), ids, paths, st.integers(0, 3)),
    st.tuples(st.just("renew"), st.lists(ids, max_size=3), st.integers(0, 3)),
    st.tuples(st.just("dequeue"), ids),
    st.tuples(st.just("trim"), st.integers(0, 3)),
    st.tuples(st.just("put"), paths, names, names),
    st.tuples(st.just("unput"), paths, names),
    st.tuples(st.just("remove all"), paths),
    st.tuples(st.just("copy"), paths, paths, st.booleans()),
    st.tuples(st.just("move"), paths, paths),
)
transactions = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.lists(steps, max_size=6)), max_size=8)


class _UndoneError(Exception):
    pass


def undo_if(fails: bool) -> None:
    if fails:
        raise _UndoneError


def take(tx: WriteTransaction, step: tuple[Any, ...]) -> object:
    try:
        match step:
            case "insert", lock_id, root, principal, minutes:
                ttl = None if minutes is None else timedelta(minutes=minutes)
                return tx.insert(
                    lock_on(tx, root, lock_id=lock_id, principal=principal, ttl=ttl, scope=LockScope.SHARED)
                )
            case "replace", lock_id, minutes:
                expires_at = None if minutes is None else tx.now + timedelta(minutes=minutes)
                kept = tx.lock_with_id(lock_id)
                return kept and tx.replace(structs.replace(kept, refreshed_at=tx.now, expires_at=expires_at))
            case "remove", lock_id:
                kept = tx.lock_with_id(lock_id)
                return kept and tx.remove(kept)
            case "append", lock_id:
                return tx.append(event_about(lock_on(tx, "/", lock_id=lock_id), tx.now))
            case "enqueue", lock_id, root, minutes:
                return tx.enqueue(waiter_on(tx, root, lock_id=lock_id, lease=timedelta(minutes=minutes)))
            case "renew", lock_ids, minutes:
                return tx.renew_waiters(lock_ids, tx.now + timedelta(minutes=minutes))
            case "dequeue", lock_id:
                waiter = tx.waiter_with_id(lock_id)
                return waiter and tx.dequeue(waiter)
            case "trim", minutes:
                return tx.trim_events(tx.now - timedelta(minutes=minutes))
            case "put", path, name, value:
                return tx.put_property(DeadProperty(ResourcePath(path), "urn:x", name, value))
            case "unput", path, name:
                return tx.remove_property(ResourcePath(path), "urn:x", name)
            case "remove all", path:
                return tx.remove_properties(ResourcePath(path))
            case "copy", source, destination, tree:
                return tx.copy_properties(ResourcePath(source), ResourcePath(destination), tree=tree)
            case "move", source, destination:
                return tx.move_properties(ResourcePath(source), ResourcePath(destination))
    except (StoreError, ValueError) as error:
        return type(error)
    raise AssertionError(step)


def view(tx: ReadTransaction) -> list[object]:
    """All that can be asked; ties of order are broken by id."""

    def ordered(locks: list[Lock]) -> list[Lock]:
        return sorted(locks, key=lambda lock: (lock.root.text, lock.id))

    events: list[Event] = tx.events_after(0, 100)
    seen: list[object] = [tx.now, events, tx.events_after(2, 1), tx.count_locks()]
    seen += [tx.count_locks(principal) for principal in ("anna", "ben", "eve")]
    seen += [ordered(tx.expired_locks(100)), len(tx.expired_locks(1)), ordered(tx.locks_on(PATHS))]
    seen += [tx.lock_with_id(lock_id) for lock_id in "1234"]
    seen += [tx.count_waiters(), tx.latest_seq(), tx.lapsed_waiters(100)]
    seen += [tx.waiters_on(PATHS), tx.waiters_on(PATHS, before=3, limit=2)]
    for text in PATHS:
        path = ResourcePath(text)
        seen += [tx.waiters_below(path), tx.waiters_below(path, before=3, limit=1)]
        seen += [tx.locks_below(path), tx.locks_below(path, 1), tx.locks_on_members(path)]
        seen += [tx.properties_on(path), tx.properties_on_members(path)]
    seen.append(tx.locks_below(ROOT))
    return seen


def run(
    store: MemoryStore | SqliteStore,
    work: list[tuple[bool, int, list[tuple[Any, ...]]]],
    time: ManualTime,
    *,
    hold: bool = False,
) -> list[object]:
    """With `hold` the transactions share commits, each up to one before which an odd number of minutes passes."""
    answers: list[object] = []
    for fails, minutes, todo in work:
        time.pass_by(timedelta(minutes=minutes))
        if minutes % 2:
            store.commit_held()
        try:
            with store.hold() if hold else nullcontext(), store.write() as tx:
                answers += [take(tx, step) for step in todo]
                answers.append(view(tx))
                undo_if(fails)
        except _UndoneError:
            pass
        with store.read() as tx:
            answers.append(view(tx))
    store.commit_held()
    with store.read() as tx:
        answers.append(view(tx))
    return answers


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(transactions, st.booleans())
def test_both_stores_answer_alike(work: list[tuple[bool, int, list[tuple[Any, ...]]]], hold: bool) -> None:
    memory_time, sqlite_time = ManualTime(), ManualTime()
    expected = run(MemoryStore(memory_time.clock()), work, memory_time)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "locks.sqlite"
        with SqliteStore(place, clock=sqlite_time.clock(), durability=Durability.CRASH) as store:
            assert run(store, work, sqlite_time, hold=hold) == expected
