"""The promises about how locks ended: the end of a lock by its id, and who broke it by its token.

Owns: one test for each promise; part of `store_suite.StoreSuite`. Must not know: any particular store. Needs pytest.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.core.model import LOCK_ENDS, Break, EventKind
from holdfast.store.protocol import Store
from holdfast.testing.manual_time import ManualTime
from holdfast.testing.store_cases import StoreCases, event_about, lock_on

__all__ = ["RecordSuite"]


class _PlannedError(Exception):
    """Raised by a test to make a transaction fail."""


class RecordSuite(StoreCases):
    """What is known of locks that are no more."""

    def test_the_end_of_a_lock_is_found_by_its_id_as_long_as_the_feed_is_kept(
        self, store: Store, time: ManualTime
    ) -> None:
        with store.write() as tx:
            lock = lock_on(tx, "/a")
            for kind in set(EventKind) - LOCK_ENDS:
                tx.append(event_about(lock, tx.now, kind))
            assert tx.end_of_lock(lock.id) is None
            seq = tx.append(event_about(lock, tx.now, EventKind.BROKEN))
            tx.append(event_about(lock_on(tx, "/b"), tx.now, EventKind.EXPIRED))
            tx.append(event_about(lock, tx.now, EventKind.LEFT))
            end = tx.end_of_lock(lock.id)
        with store.read() as tx:
            assert tx.end_of_lock(lock.id) == end
            assert end is not None
            assert (end.seq, end.kind, end.actor, end.reason) == (seq, EventKind.BROKEN, "someone else", "because")
            assert tx.end_of_lock("none") is None
        time.pass_by(timedelta(days=2))
        with store.write() as tx:
            tx.trim_events(tx.now - timedelta(days=1))
            assert tx.end_of_lock(lock.id) is None

    def test_a_break_is_kept_under_the_token_as_long_as_the_feed(self, store: Store, time: ManualTime) -> None:
        with store.write() as tx:
            later = Break("i", tx.now + timedelta(minutes=5), "root", "too long")
            sooner = Break("i", tx.now + timedelta(minutes=1, microseconds=1), "ruth", "")
            tx.put_break("t", later)
            assert tx.break_with_token("t") == later
            tx.put_break("t", sooner)
            assert tx.break_with_token("t") == sooner

        def change_all_and_fail() -> None:
            with store.write() as tx:
                tx.put_break("t", later)
                tx.put_break("u", later)
                tx.trim_events(tx.now + timedelta(days=1))
                assert tx.break_with_token("t") is None
                raise _PlannedError

        with pytest.raises(_PlannedError):
            change_all_and_fail()
        time.pass_by(timedelta(hours=25))
        with store.write() as tx:
            tx.trim_events(tx.now - timedelta(hours=25))
            assert tx.break_with_token("t") == sooner
            assert tx.break_with_token("u") is None
            tx.trim_events(tx.now - timedelta(hours=24))
            assert tx.break_with_token("t") is None
