"""The waiting line is fair: first come, first served among requests that conflict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.conflicts import conflicting_locks
from holdfast.core.model import Depth, Face, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.core.queueing import (
    ahead_of,
    asks_conflict,
    decide_turns,
    first_ahead_of,
    lengths_of,
    standing_of,
    waiting,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
X, S = LockScope.EXCLUSIVE, LockScope.SHARED
PATHS = ["/a", "/a/b", "/a/b/c", "/ab", "/"]


def waiter(seq: int, root: str = "/a", scope: LockScope = X, depth: Depth = Depth.ZERO, lease_s: int = 10) -> Waiter:
    return Waiter(
        f"w{seq}", seq, ResourcePath(root), scope, depth, "ada", "", None, "", "", Face.API, None, False, NOW,
        NOW + timedelta(seconds=lease_s),
    )  # fmt: skip


def lock(root: str = "/a", scope: LockScope = X, depth: Depth = Depth.ZERO) -> Lock:
    return Lock(
        "l", "urn:uuid:l", ResourcePath(root), scope, depth, "bob", "", None, "", "", Face.API, 1, NOW, NOW,
        NOW + timedelta(hours=1),
    )  # fmt: skip


def turns(held: list[Lock], *line: Waiter) -> list[int]:
    return [item.seq for item in decide_turns(held, list(line))]


def test_the_first_of_two_writers_has_the_turn():
    assert turns([], waiter(1), waiter(2)) == [1]


def test_nobody_has_a_turn_while_the_lock_is_held():
    assert turns([lock()], waiter(1), waiter(2)) == []


def test_readers_go_together():
    assert turns([], waiter(1, scope=S), waiter(2, scope=S), waiter(3, scope=X)) == [1, 2]


def test_no_reader_passes_a_waiting_writer():
    assert turns([lock(scope=S)], waiter(1, scope=X), waiter(2, scope=S)) == []


def test_a_request_elsewhere_passes_freely():
    assert turns([lock("/a")], waiter(1, "/a"), waiter(2, "/ab")) == [2]


def test_a_tree_waits_for_all_within_it_and_holds_them_up():
    assert turns([lock("/a/b")], waiter(1, "/a", depth=Depth.INFINITY), waiter(2, "/a/b/c")) == []
    assert turns([], waiter(1, "/a", depth=Depth.INFINITY), waiter(2, "/a/b/c")) == [1]


def test_a_waiter_that_died_is_passed_over():
    line = waiting([waiter(1, lease_s=0), waiter(2)], NOW)
    assert [item.seq for item in decide_turns([], line)] == [2]


def test_a_newcomer_sees_who_is_ahead():
    line = [waiter(1), waiter(2, "/ab"), waiter(3, scope=S)]
    assert [item.seq for item in ahead_of(line, ResourcePath("/a"), X, Depth.ZERO)] == [1, 3]


def test_who_is_first_ahead_is_found_without_going_on_through_the_line():
    """In a line of thousands the first one decides, and in none does anybody behind."""

    def line() -> Iterator[Waiter]:
        yield waiter(1, "/ab")
        yield waiter(2, "/a")
        raise AssertionError

    found = first_ahead_of(line(), ResourcePath("/a"), X, Depth.ZERO)
    assert found is not None
    assert found.seq == 2
    assert first_ahead_of(line(), ResourcePath("/a"), X, Depth.ZERO, before_seq=2) is None
    assert first_ahead_of([waiter(1, "/ab"), waiter(2, scope=S)], ResourcePath("/a"), S, Depth.ZERO) is None


asked = st.tuples(st.sampled_from(PATHS), st.sampled_from([X, S]), st.sampled_from([Depth.ZERO, Depth.INFINITY]))


@given(st.lists(asked, max_size=8))
def test_those_who_have_a_turn_together_never_conflict_and_the_first_always_has_one(asks):
    line = [waiter(seq, *ask) for seq, ask in enumerate(asks)]
    chosen = decide_turns([], line)
    for one in chosen:
        for other in chosen:
            assert one is other or not asks_conflict(one, other.root, other.scope, other.depth)
    assert not line or chosen[0] is line[0]


@given(st.lists(asked, max_size=4), st.lists(asked, max_size=8))
def test_turns_are_those_of_whoever_conflicts_with_no_lock_and_nobody_before(holds, asks):
    """Against the definition, pair by pair."""
    held = [lock(*hold) for hold in holds]
    line = [waiter(seq, *ask) for seq, ask in enumerate(asks)]
    expected = [
        item
        for item in line
        if not conflicting_locks(held, item.root, item.scope, item.depth)
        and not ahead_of(line, item.root, item.scope, item.depth, before_seq=item.seq)
    ]
    assert decide_turns(held, line) == expected


@given(st.lists(asked, max_size=8), asked, st.none() | st.integers(0, 8))
def test_the_first_ahead_is_the_first_of_all_who_are(asks, ask, before_seq):
    line = [waiter(seq, *each) for seq, each in enumerate(asks)]
    root, scope, depth = ResourcePath(ask[0]), ask[1], ask[2]
    ahead = ahead_of(line, root, scope, depth, before_seq=before_seq)
    assert first_ahead_of(line, root, scope, depth, before_seq=before_seq) == (ahead[0] if ahead else None)


@given(asked, asked)
def test_conflict_is_mutual(one, other):
    first, second = waiter(1, *one), waiter(2, *other)
    assert asks_conflict(first, second.root, second.scope, second.depth) == asks_conflict(
        second, first.root, first.scope, first.depth
    )


def test_a_standing_counts_those_with_whom_a_request_conflicts_and_its_own_place_among_them():
    line = [waiter(1), waiter(2, "/ab"), waiter(3, scope=S), waiter(4), waiter(5)]
    found = standing_of(line, ResourcePath("/a"), X, Depth.ZERO, place=line[3], lengths={"l": 4})
    assert (found.first, found.length, found.position, found.lengths) == (line[0], 4, 3, {"l": 4})
    reader = standing_of(line, ResourcePath("/a"), S, Depth.ZERO, place=None, lengths={})
    assert (reader.first, reader.length, reader.position) == (line[0], 3, None)
    nobody = standing_of(line, ResourcePath("/"), X, Depth.ZERO, place=None, lengths={})
    assert (nobody.first, nobody.length) == (None, 0)


def test_the_line_for_locks_of_one_root_and_depth_is_read_once():
    read: list[tuple[str, Depth]] = []

    def line_of(root: ResourcePath, depth: Depth) -> list[Waiter]:
        read.append((root.text, depth))
        return [waiter(1), waiter(2, scope=S), waiter(3, "/ab")]

    locks = [msgspec.structs.replace(lock(scope=S), id="one"), msgspec.structs.replace(lock(), id="two"), lock("/")]
    assert lengths_of(locks, line_of) == {"one": 1, "two": 2}
    assert read == [("/a", Depth.ZERO), ("/", Depth.ZERO)]
