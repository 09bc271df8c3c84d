"""Which locks can stand beside one another (RFC 4918 sections 6.1, 9.10.5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.core.conflicts import COMPATIBLE, conflicting_locks, covering_locks, unexpired
from holdfast.core.model import Depth, LockScope
from tests.core.sample import EXCLUSIVE, INFINITY, SHARED, START, ZERO, lock, path

COLLECTION_PAIRS = [
    # held root, depth; asked root, depth; do they meet?
    ("/a", ZERO, "/a", ZERO, True),
    ("/a", ZERO, "/a", INFINITY, True),
    ("/a", INFINITY, "/a", ZERO, True),
    ("/a", ZERO, "/a/b", ZERO, False),
    ("/a", ZERO, "/a/b", INFINITY, False),
    ("/a", INFINITY, "/a/b", ZERO, True),
    ("/a", INFINITY, "/a/b/c", INFINITY, True),
    ("/a/b", ZERO, "/a", ZERO, False),
    ("/a/b", ZERO, "/a", INFINITY, True),
    ("/a/b/c", INFINITY, "/", INFINITY, True),
    ("/a/b", INFINITY, "/a", ZERO, False),
    ("/a", INFINITY, "/ab", INFINITY, False),
    ("/", INFINITY, "/a", ZERO, True),
    ("/", ZERO, "/a", INFINITY, False),
]


def test_the_table_is_that_of_the_rfc():
    assert COMPATIBLE == {
        (SHARED, SHARED): True,
        (SHARED, EXCLUSIVE): False,
        (EXCLUSIVE, SHARED): False,
        (EXCLUSIVE, EXCLUSIVE): False,
    }


@pytest.mark.parametrize(("held_root", "held_depth", "asked_root", "asked_depth", "meet"), COLLECTION_PAIRS)
@pytest.mark.parametrize("held_scope", LockScope)
@pytest.mark.parametrize("asked_scope", LockScope)
def test_locks_conflict_where_their_scopes_meet_and_are_not_both_shared(
    held_scope: LockScope,
    asked_scope: LockScope,
    held_root: str,
    held_depth: Depth,
    asked_root: str,
    asked_depth: Depth,
    meet: bool,
):
    held = lock(held_root, scope=held_scope, depth=held_depth)
    found = conflicting_locks([held], path(asked_root), asked_scope, asked_depth)
    assert bool(found) is (meet and not (held_scope is asked_scope is SHARED))


def test_nothing_held_nothing_in_the_way():
    assert conflicting_locks([], path("/a"), EXCLUSIVE, INFINITY) == []


def test_only_the_locks_in_the_way_are_named():
    here, below, beside = lock("/a"), lock("/a/b", depth=ZERO), lock("/x")
    assert conflicting_locks([here, below, beside], path("/a"), EXCLUSIVE, INFINITY) == [here, below]
    assert covering_locks([here, below, beside], path("/a/b")) == [here, below]


def test_a_lock_whose_time_ran_out_is_not_among_the_unexpired():
    short, long, endless = lock("/a", ttl_s=1), lock("/b", ttl_s=2), lock("/c", ttl_s=None)
    assert unexpired([short, long, endless], START + timedelta(seconds=1)) == [long, endless]
