"""The checks of the server's feed find what is planted, and nothing where all is well."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.histories.feed import (
    FEED_CHECKS,
    LAPSED,
    feed_disagrees_with_clients,
    feed_has_overlaps,
    feed_is_slow,
    feed_is_sluggish,
    feed_is_unfair,
    feed_is_unordered,
)
from tests.histories.history import Ask, Entry, History, Operation, Span


class Feed:
    """Writes feeds: numbers and fencing tokens rise by themselves, as they must."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._seqs = itertools.count(1)
        self._tokens = itertools.count(1)

    def add(
        self, at: float, kind: str, lock_id: str, scope: str = "exclusive", reason: str = "", root: str = "/a"
    ) -> Feed:
        fencing = next(self._tokens) if kind == "granted" else 0
        self.entries.append(Entry(next(self._seqs), at, kind, lock_id, root, scope, "0", fencing, reason))
        return self

    def history(self, *operations: Operation, outages: tuple[Span, ...] = ()) -> History:
        return History(operations, outages, {}, tuple(self.entries))


def handed_over(delay: float) -> Feed:
    """A lock that goes from one to the next, so many seconds after each release."""
    feed = held()
    names = ["ann", "bob", "eve", "joe", "kim", "lea"]
    for second, (name, other) in enumerate(itertools.pairwise(names)):
        feed.add(10 * second + 1, "queued", other).add(10 * second + 2, "released", name)
        feed.add(10 * second + 2 + delay, "granted", other)
    return feed


def held() -> Feed:
    """One lock, of ann."""
    return Feed().add(0, "granted", "ann")


GOOD = {
    "a line": (
        held().add(1, "queued", "bob").add(2, "queued", "eve").add(3, "released", "ann").add(3, "granted", "bob")
        .add(4, "released", "bob").add(4, "granted", "eve")
    ),
    "quick hand-overs": handed_over(0.01),
    "another resource passes": held().add(1, "queued", "bob").add(2, "granted", "eve", root="/b"),
    "one who left is passed": (
        held().add(1, "queued", "bob").add(2, "queued", "eve").add(3, "left", "bob").add(4, "released", "ann")
        .add(4, "granted", "eve")
    ),
    "one whose lease lapsed is passed, whenever that is noticed": (
        held().add(1, "queued", "bob").add(2, "queued", "eve").add(30, "released", "ann").add(30, "granted", "eve")
        .add(40, "left", "bob", reason=LAPSED)
    ),
    "a lock that expired is followed, whenever that is noticed": (
        held().add(9, "granted", "bob").add(60, "expired", "ann").add(61, "released", "bob")
    ),
    "shared ones together, and the writer before the reader": (
        Feed().add(0, "granted", "ann", "shared").add(1, "granted", "bob", "shared").add(2, "queued", "eve")
        .add(3, "queued", "joe", "shared").add(4, "released", "ann").add(5, "released", "bob").add(5, "granted", "eve")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_found_where_all_is_well(name: str) -> None:
    assert [check(GOOD[name].history()) for check in FEED_CHECKS] == [[] for _ in FEED_CHECKS]


TOLD = Operation("ann", "acquire", 0, 1, 201, Ask("/a"), "ann", 7)
PLANTED: dict[str, tuple[Callable[[History], list[str]], History]] = {
    "a number that does not rise": (feed_is_unordered, History((), entries=(Entry(2, 0, "left", "x", "/a"),) * 2)),
    "a fencing token that does not rise": (
        feed_is_unordered,
        History((), entries=tuple(Entry(seq, seq, "granted", str(seq), f"/{seq}", fencing=9 - seq) for seq in (1, 2))),
    ),
    "a time that goes back": (feed_is_unordered, held().add(-1, "released", "ann").history()),
    "a grant that is not in the feed": (feed_disagrees_with_clients, Feed().add(0, "granted", "bob").history(TOLD)),
    "another fencing token than the client was told": (feed_disagrees_with_clients, held().history(TOLD)),
    "a grant while another lock is held": (
        feed_has_overlaps,
        held().add(1, "granted", "bob").add(2, "released", "ann").history(),
    ),
    "a reader beside a writer": (
        feed_has_overlaps,
        held().add(1, "granted", "bob", "shared").add(2, "released", "ann").history(),
    ),
    "a newcomer before the line": (
        feed_is_unfair,
        held().add(1, "queued", "bob").add(2, "released", "ann").add(2, "granted", "eve").add(3, "left", "bob").history(),
    ),
    "the second in line before the first": (
        feed_is_unfair,
        held().add(1, "queued", "bob").add(2, "queued", "eve").add(3, "released", "ann").add(3, "granted", "eve")
        .add(4, "released", "eve").add(4, "granted", "bob").history(),
    ),
    "a reader before a waiting writer": (
        feed_is_unfair,
        Feed().add(0, "granted", "ann", "shared").add(1, "queued", "bob").add(2, "granted", "eve", "shared")
        .add(3, "left", "bob").history(),
    ),
    "a release that wakes nobody": (
        feed_is_slow,
        held().add(1, "queued", "bob").add(2, "released", "ann").add(9, "granted", "bob").history(),
    ),
    "one who leaves and wakes nobody": (
        feed_is_slow,
        Feed().add(0, "granted", "ann", "shared").add(1, "queued", "bob").add(2, "queued", "eve", "shared")
        .add(3, "left", "bob").add(9, "granted", "eve", "shared").history(),
    ),
    "hand-overs that take as long as looking again": (feed_is_sluggish, handed_over(1.0).history()),
    "one who waits in vain until his time is over": (
        feed_is_slow,
        held().add(1, "queued", "bob").add(2, "released", "ann").add(9, "left", "bob", reason="the wait was over").history(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str) -> None:
    check, history = PLANTED[name]
    assert len(check(history)) == 1


def test_every_check_has_something_planted() -> None:
    assert {check for check, _ in PLANTED.values()} == set(FEED_CHECKS)


def test_nobody_is_served_while_the_server_is_down() -> None:
    feed = held().add(1, "queued", "bob").add(2, "released", "ann").add(9, "granted", "bob")
    assert feed_is_slow(feed.history(outages=(Span(2.5, 8.5),))) == []
