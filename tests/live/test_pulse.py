"""The pulse: what was committed anywhere gets to those who wait and listen, and time is looked at for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.model import Event
from holdfast.live.feed import PAGE, Feed
from holdfast.live.pulse import LOOK_S, LivePulse
from holdfast.store.protocol import Store, StoreError
from holdfast.store.sqlite import SqliteStore
from tests.live.desk import Ears, World, event_on, everything


class Waiting:
    """A line in which somebody always waits: it notes what it is told."""

    def __init__(self) -> None:
        self.is_empty = False
        self.told: list[int] = []
        self.looks = 0
        self.fails = False
        self.answers: list[Callable[[], None]] = []
        self.due_at: datetime | None = None
        self.is_asked_at: list[datetime] = []

    def concern(self, events: Sequence[Event]) -> None:
        if self.fails:
            self.fails = False
            raise StoreError
        self.told.extend(event.seq for event in events)
        if self.answers:
            self.answers.pop()()

    def look_again(self) -> None:
        self.looks += 1

    def due(self, now: datetime) -> datetime | None:
        self.is_asked_at.append(now)
        return self.due_at


class Heard:
    """A world with a pulse; nobody waits unless `is_waited`."""

    def __init__(self, *, is_waited: bool = False) -> None:
        self.world = World()
        self.line = Waiting()
        self.line.is_empty = not is_waited
        self.pulse = LivePulse(self.world.store, self.world.feed, self.line)


def test_it_is_wanted_while_somebody_waits_or_listens() -> None:
    heard = Heard()
    assert not heard.pulse.is_wanted
    heard.line.is_empty = False
    assert heard.pulse.is_wanted
    heard.line.is_empty = True
    heard.world.listen()
    assert heard.pulse.is_wanted


def test_what_was_committed_is_passed_on_to_readers_and_to_the_line_once() -> None:
    heard = Heard(is_waited=True)
    ears = heard.world.listen()
    heard.pulse.beat()
    heard.world.happen("/a", "/b")
    heard.pulse.beat()
    heard.pulse.beat()
    assert ears.seqs == heard.line.told == [1, 2]


def test_the_first_beat_looks_at_everybody_since_nobody_watched_before() -> None:
    heard = Heard(is_waited=True)
    heard.world.happen("/a")
    heard.pulse.beat()
    assert (heard.line.looks, heard.line.told) == (1, [])
    heard.pulse.beat()
    assert heard.line.looks == 1


def test_after_a_rest_it_does_not_read_what_nobody_waited_for() -> None:
    heard = Heard(is_waited=True)
    heard.pulse.beat()
    heard.line.is_empty = True
    heard.pulse.beat()
    heard.world.happen("/a", "/b")
    heard.line.is_empty = False
    heard.pulse.beat()
    assert (heard.line.looks, heard.line.told) == (2, [])


def test_a_reader_that_comes_after_a_rest_hears_what_has_happened_since_it_asked() -> None:
    heard = Heard()
    ears = Ears()
    reader = heard.world.feed.open(everything, None)
    assert reader is not None
    heard.world.happen("/a")
    reader.start(ears)
    heard.pulse.beat()
    assert ears.seqs == [1]


def test_one_beat_passes_on_no_more_than_it_can_and_readers_get_the_rest_in_turn() -> None:
    heard = Heard(is_waited=True)
    ears = heard.world.listen()
    heard.pulse.beat()
    heard.world.happen(*["/a"] * (6 * PAGE))
    assert heard.pulse.beat() == 0, "there is more to do at once"
    assert len(ears.seqs) == PAGE
    assert heard.line.looks == 2
    assert heard.line.told == []
    while heard.pulse.beat() == 0:
        pass
    assert ears.seqs == list(range(1, 6 * PAGE + 1))


def test_it_looks_at_the_store_every_25_ms_and_sooner_where_something_is_due() -> None:
    heard = Heard(is_waited=True)
    assert heard.pulse.beat() == LOOK_S == 0.025
    heard.line.due_at = heard.world.store.now() + timedelta(milliseconds=10)
    assert heard.pulse.beat() == 0.01
    heard.line.due_at = heard.world.store.now() - timedelta(seconds=1)
    assert heard.pulse.beat() == 0
    heard.line.due_at = heard.world.store.now() + timedelta(hours=1)
    assert heard.pulse.beat() == LOOK_S
    assert heard.line.is_asked_at == [heard.world.store.now()] * 4


def test_readers_are_sent_their_comment_by_the_clock_although_nothing_happens() -> None:
    heard = Heard()
    ears = heard.world.listen()
    heard.pulse.beat()
    heard.world.time.pass_by(timedelta(seconds=15))
    heard.pulse.beat()
    assert ears.heard[-1] == b":\n"


def opened(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "locks.db", durability=Durability.CRASH)


def append(store: Store, root: str) -> None:
    with store.write() as tx:
        tx.append(event_on(root, tx.now))


def test_what_another_process_commits_is_passed_on(tmp_path: Path) -> None:
    """Another process is another store on the same file, which says nothing to this one."""
    with closing(opened(tmp_path)) as ours, closing(opened(tmp_path)) as theirs:
        feed = Feed(ours, lambda event: event.root.text.encode())
        pulse = LivePulse(ours, feed, Waiting())
        ears = Ears()
        reader = feed.open(everything, None)
        assert reader is not None
        reader.start(ears)
        pulse.beat()
        append(theirs, "/a")
        append(ours, "/b")
        append(theirs, "/c")
        pulse.beat()
        assert [entry["data"] for entry in ears.entries] == ["/a", "/b", "/c"]


def test_nobody_is_told_of_what_is_not_committed_yet(tmp_path: Path) -> None:
    """A thread sees what it holds itself; were the commit to fail, a reader would have heard what never was."""
    with closing(opened(tmp_path)) as store:
        feed, line = Feed(store, lambda event: event.root.text.encode()), Waiting()
        pulse = LivePulse(store, feed, line)
        ears = Ears()
        reader = feed.open(everything, None)
        assert reader is not None
        reader.start(ears)
        pulse.beat()
        with store.hold():
            append(store, "/a")
            assert store.has_held
            pulse.beat()
            assert ears.seqs == line.told == []
        store.commit_held()
        pulse.beat()
        assert ears.seqs == line.told == [1]


def test_whose_turn_has_come_does_not_wait_for_all_who_listen(tmp_path: Path) -> None:
    """What the line changes is to be committed at once; readers hear of its cause at the next beat, and then of it."""
    with closing(opened(tmp_path)) as store:
        feed, line = Feed(store, lambda event: event.root.text.encode()), Waiting()
        pulse = LivePulse(store, feed, line)
        ears = Ears()
        reader = feed.open(everything, None)
        assert reader is not None
        reader.start(ears)
        pulse.beat()
        append(store, "/a")
        line.answers = [lambda: append(store, "/granted")]
        with store.hold():
            assert pulse.beat() == 0
        assert ears.seqs == []
        store.commit_held()
        with store.hold():
            assert pulse.beat() > 0
        assert ears.seqs == line.told == [1, 2]


def test_after_a_failure_everybody_is_looked_at_and_no_event_is_lost() -> None:
    heard = Heard(is_waited=True)
    ears = heard.world.listen()
    heard.pulse.beat()
    heard.world.happen("/a")
    heard.line.fails = True
    with pytest.raises(StoreError):
        heard.pulse.beat()
    heard.pulse.beat()
    assert heard.line.looks == 2
    assert ears.seqs == [1]
