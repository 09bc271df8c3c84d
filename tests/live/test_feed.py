"""The feed: what each reader is sent, in which order, and when it ends."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.model import EventKind
from holdfast.core.paths import ResourcePath
from holdfast.live.feed import PAGE, EventFilter
from tests.live.desk import Ears, World

HOUR = timedelta(hours=1)


def test_an_entry_has_its_seq_its_kind_and_its_data() -> None:
    world = World()
    ears = world.listen()
    world.tell("/a")
    world.tell("/b", kind=EventKind.RELEASED)
    assert ears.heard == [
        b"retry: 2000\nid: 0\n\n",
        b"id: 1\nevent: granted\ndata: on-a\n\n",
        b"id: 2\nevent: released\ndata: on-b\n\n",
    ]


def test_an_event_is_written_once_for_all_readers_and_not_at_all_for_nobody() -> None:
    world = World()
    crowd = [world.listen() for _ in range(5)]
    world.listen(admits=lambda event: False)
    world.tell("/a", "/b")
    assert world.written == [1, 2]
    assert [ears.seqs for ears in crowd] == [[1, 2]] * 5
    alone = World()
    alone.listen(admits=lambda event: False)
    alone.tell("/a")
    assert alone.written == []


def test_what_is_not_for_a_reader_is_not_sent_to_it() -> None:
    world = World()
    some = world.listen(admits=EventFilter(under=ResourcePath("/a")).admits)
    world.tell("/a", "/ab", "/a/b", "/")
    assert some.seqs == [1, 3]


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        (EventFilter(), [1, 2, 3]),
        (EventFilter(kinds=frozenset({EventKind.GRANTED, EventKind.LEFT})), [1, 2]),
        (EventFilter(lock_id="on-b"), [2]),
        (EventFilter(kinds=frozenset({EventKind.RELEASED}), under=ResourcePath("/b")), []),
    ],
)
def test_filters_are_combined_with_and(wanted: EventFilter, seqs: list[int]) -> None:
    world = World()
    ears = world.listen(admits=wanted.admits)
    world.tell("/a", "/b")
    world.tell("/c", kind=EventKind.RELEASED)
    assert ears.seqs == seqs


def test_who_comes_back_gets_what_it_missed_and_then_what_is_new() -> None:
    world = World()
    world.tell("/a", "/b", "/c")
    ears = world.listen(after=1)
    world.tell("/d")
    world.catch_up()
    world.tell("/e")
    assert ears.seqs == [2, 3, 4, 5]


def test_who_does_not_say_where_it_was_hears_from_now_on() -> None:
    world = World()
    world.tell("/a")
    ears = world.listen()
    world.catch_up()
    world.tell("/b")
    assert ears.seqs == [2]


def test_what_happens_between_the_opening_and_the_start_of_a_stream_is_heard() -> None:
    world = World()
    ears = Ears()
    reader = world.feed.open(lambda event: True, None)
    assert reader is not None
    world.tell("/a")
    reader.start(ears)
    world.tell("/b")
    world.catch_up()
    assert ears.seqs == [1, 2]


def test_an_event_that_a_reader_has_read_from_the_store_is_not_told_again_when_it_is_published() -> None:
    world = World()
    world.tell("/a")
    unpublished = world.happen("/b")
    ears = world.listen(after=0)
    world.catch_up()
    world.feed.publish(unpublished)
    assert ears.seqs == [1, 2]


def test_a_reader_that_hears_nothing_still_knows_where_to_go_on() -> None:
    world = World()
    world.tell("/a", "/b")
    ears = world.listen()
    assert ears.last_event_id == 2
    world.tell("/c")
    assert world.listen(after=2).seqs == []
    world.catch_up()


def test_after_much_that_was_not_for_it_a_reader_is_told_how_far_it_has_got() -> None:
    world = World()
    ears = world.listen(admits=lambda event: False)
    world.tell(*["/a"] * 1000)
    world.time.pass_by(timedelta(seconds=15))
    world.feed.due(world.store.now())
    assert ears.last_event_id == 1000
    assert ears.seqs == []


def test_a_long_past_is_read_in_pages_and_nobody_waits_for_it_to_end() -> None:
    world = World()
    for _ in range(5):
        world.tell(*["/a"] * PAGE)
    far, near = world.listen(after=0), world.listen(after=5 * PAGE - 1)
    world.feed.catch_up()
    world.feed.catch_up()
    assert near.seqs == [5 * PAGE]
    assert len(far.seqs) == PAGE
    world.tell("/b")
    assert near.seqs == [5 * PAGE, 5 * PAGE + 1]
    world.catch_up()
    assert far.seqs == list(range(1, 5 * PAGE + 2))


def test_many_who_come_back_at_once_share_the_pages() -> None:
    """As after a restart of the server: reading once is enough for all that stand within a page, as far as a beat allows."""
    world = World()
    world.tell(*["/a"] * 400)
    crowd = [world.listen(after=after) for after in range(300)]
    assert world.catch_up() == 8
    assert [ears.seqs for ears in crowd] == [list(range(after + 1, 401)) for after in range(300)]


def test_a_burst_for_many_is_not_all_sent_in_one_beat() -> None:
    world = World()
    crowd = [world.listen() for _ in range(90)]
    world.tell(*["/a"] * PAGE)
    assert [ears.seqs for ears in crowd] == [[]] * 90
    assert world.feed.catch_up()
    assert sum(1 for ears in crowd if ears.seqs) == 40
    world.catch_up()
    assert [ears.seqs for ears in crowd] == [list(range(1, PAGE + 1))] * 90


def test_a_page_of_long_events_is_sent_in_pieces_as_there_is_room() -> None:
    """A page may hold more than a client can be sent before it is cut off."""
    world = World(tell=lambda event: b"x" * 10_000)
    world.tell(*["/a"] * 100)

    class Small(Ears):
        def send(self, data: bytes) -> bool:
            self.has_room = False
            assert len(data) < 64 * 1024
            return super().send(data)

    ears = Small()
    world.listen(after=0, ears=ears)
    for _ in range(100):
        ears.has_room = True
        world.catch_up()
    assert ears.seqs == list(range(1, 101))


def test_a_slow_reader_is_not_cut_off_but_reads_on_when_it_has_room() -> None:
    world = World()
    slow, quick = world.listen(), world.listen()
    slow.has_room = False
    for number in range(20):
        world.tell(f"/a/{number}")
        assert not world.feed.catch_up(), "nothing can be done until there is room"
    assert slow.seqs == []
    assert quick.seqs == list(range(1, 21))
    slow.has_room = True
    world.catch_up()
    world.tell("/b")
    assert slow.seqs == list(range(1, 22))


def test_a_jump_of_the_cursor_loses_nothing() -> None:
    world = World()
    world.tell("/a")
    ears = world.listen()
    passed_over = world.happen("/b", "/c")
    world.feed.reach(passed_over[-1].seq)
    world.catch_up()
    world.tell("/d")
    assert ears.seqs == [2, 3, 4]


# -- gaps -------------------------------------------------------------------------------------------


def gaps(ears: Ears) -> list[object]:
    return [json.loads(entry["data"]) for entry in ears.entries if entry["event"] == "gap"]


def test_who_missed_what_is_not_kept_any_more_is_told_so_and_goes_on_with_what_is() -> None:
    world = World()
    world.tell("/a", "/b", "/c")
    world.trim()
    world.time.pass_by(timedelta(seconds=1))
    world.tell("/d", "/e")
    ears = world.listen(after=1)
    world.catch_up()
    assert gaps(ears) == [{"after": 1, "first": 4}]
    assert [entry["event"] for entry in ears.entries] == ["gap", "granted", "granted"]
    assert ears.seqs == [3, 4, 5], "who loses the stream right behind the gap is not told of it again"


def test_where_nothing_is_kept_the_gap_ends_at_the_next_event() -> None:
    world = World()
    world.tell("/a", "/b")
    world.trim()
    ears = world.listen(after=0)
    world.catch_up()
    world.tell("/c")
    assert gaps(ears) == [{"after": 0, "first": 3}]
    assert ears.seqs == [2, 3]


def test_who_has_the_last_event_has_no_gap_although_it_is_kept_no_more() -> None:
    world = World()
    world.tell("/a", "/b")
    world.trim()
    ears = world.listen(after=2)
    world.catch_up()
    world.tell("/c")
    assert ears.seqs == [3]
    assert gaps(ears) == []


def test_an_id_that_has_not_been_given_yet_is_of_another_record_which_is_a_gap() -> None:
    """A backup was put back: waiting until its seq comes round would be waiting in silence."""
    world = World()
    world.tell("/a")
    ears = world.listen(after=900)
    world.tell("/b")
    assert gaps(ears) == [{"after": 900, "first": 2}]
    assert ears.seqs == [1, 2]


def test_what_is_trimmed_away_under_a_reader_that_is_behind_is_a_gap_too() -> None:
    world = World()
    world.tell(*["/a"] * (2 * PAGE))
    ears = world.listen(after=0)
    world.feed.catch_up()
    world.trim()
    world.time.pass_by(timedelta(seconds=1))
    world.tell("/b")
    world.catch_up()
    assert gaps(ears) == [{"after": PAGE, "first": 2 * PAGE + 1}]
    assert ears.seqs == [*range(1, PAGE + 1), 2 * PAGE, 2 * PAGE + 1]


def test_the_same_where_nothing_is_left_for_it_to_read() -> None:
    world = World()
    world.tell(*["/a"] * (2 * PAGE))
    ears = world.listen(after=0)
    world.feed.catch_up()
    world.trim()
    world.catch_up()
    world.tell("/b")
    assert gaps(ears) == [{"after": PAGE, "first": 2 * PAGE + 1}]
    assert ears.seqs == [*range(1, PAGE + 1), 2 * PAGE, 2 * PAGE + 1]


# -- ends -------------------------------------------------------------------------------------------


def test_every_reader_is_sent_a_comment_each_15_seconds_that_no_client_takes_for_an_event() -> None:
    world = World()
    ears = world.listen()
    opening = len(ears.heard)
    due = world.feed.due(world.store.now())
    assert due == world.store.now() + timedelta(seconds=15)
    world.time.pass_by(timedelta(seconds=14))
    world.feed.due(world.store.now())
    assert ears.heard[opening:] == []
    world.time.pass_by(timedelta(seconds=1))
    world.feed.due(world.store.now())
    world.feed.due(world.store.now())
    assert ears.heard[opening:] == [b":\n"]


def test_a_stream_ends_after_an_hour_so_that_its_client_shows_again_who_it_is() -> None:
    world = World(longest=HOUR)
    first = world.listen()
    world.time.pass_by(timedelta(minutes=1))
    second = world.listen()
    world.time.pass_by(timedelta(minutes=59))
    due = world.feed.due(world.store.now())
    assert (first.is_over, second.is_over) == (True, False)
    assert due is not None
    assert due <= world.store.now() + timedelta(minutes=1)
    world.tell("/a")
    assert (first.seqs, second.seqs) == ([], [1])


def test_a_reader_that_stopped_is_sent_nothing_and_forgotten() -> None:
    world = World()
    ears = Ears()
    reader = world.feed.open(lambda event: True, None)
    assert reader is not None
    reader.start(ears)
    assert not world.feed.is_empty
    reader.stop()
    world.tell("/a")
    assert ears.seqs == []
    assert world.feed.is_empty
    assert world.feed.due(world.store.now()) is None


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_a_reader_that_was_cut_off_is_forgotten_and_the_others_go_on(patience: int) -> None:
    world = World()
    cut, other = world.listen(ears=Ears(patience)), world.listen()
    world.tell("/a")
    world.tell("/b")
    world.time.pass_by(timedelta(seconds=15))
    world.feed.due(world.store.now())
    assert len(cut.heard) == patience
    assert len(world.feed) == 1
    assert other.seqs == [1, 2]


def test_one_who_is_not_welcome_any_more_hears_the_end_at_the_next_heartbeat() -> None:
    world = World()
    welcome = {"is": True}
    ears, other = Ears(), world.listen()
    reader = world.feed.open(lambda event: True, None, lambda: welcome["is"])
    assert reader is not None
    reader.start(ears)
    for still in (True, False):
        welcome["is"] = still
        world.time.pass_by(timedelta(seconds=15))
        world.feed.due(world.store.now())
        assert ears.is_over is not still
    world.tell("/a")
    assert (ears.seqs, other.seqs, len(world.feed)) == ([], [1], 1)


def test_no_more_may_listen_than_there_is_room_for() -> None:
    world = World(most_readers=2)
    reader = world.feed.open(lambda event: True, None)
    assert reader is not None
    reader.start(Ears())
    world.listen()
    assert world.feed.open(lambda event: True, None) is None
    reader.stop()
    world.listen()


# -- without loss or repeat -------------------------------------------------------------------------


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("happen"), st.integers(1, 700)),
            st.tuples(st.sampled_from(["publish", "jump", "catch up", "lose", "slow", "quick"]), st.just(0)),
        ),
        max_size=30,
    )
)
def test_whatever_comes_in_between_every_event_is_heard_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    """One client that loses its stream now and then, and comes back with the last id that it had."""
    world = World()
    published = 0
    heard: list[int] = []
    ears = Ears()
    reader = world.feed.open(lambda event: event.seq % 3 > 0, None)
    assert reader is not None
    reader.start(ears)

    def newest() -> int:
        with world.store.read() as tx:
            return tx.latest_seq()

    def publish() -> None:
        with world.store.read() as tx:
            world.feed.publish(tx.events_after(published, 1_000_000))

    for step, count in [*steps, ("quick", 0), ("publish", 0), ("catch up", 0)]:
        if step == "happen":
            world.happen(*["/a"] * count)
        elif step == "publish":
            publish()
            published = newest()
        elif step == "jump":
            published = newest()
            world.feed.reach(published)
        elif step == "catch up":
            world.catch_up()
        elif step == "lose":
            reader.stop()
            heard.extend(ears.seqs)
            after = ears.last_event_id
            ears = Ears()
            reader = world.feed.open(lambda event: event.seq % 3 > 0, after)
            assert reader is not None
            reader.start(ears)
        else:
            ears.has_room = step == "quick"
    assert heard + ears.seqs == [seq for seq in range(1, newest() + 1) if seq % 3 > 0]
