"""The line of one process: who is tried when, who is answered, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, EventKind, Lock, LockScope
from holdfast.finding import Found
from holdfast.live.line import MOST_TRIES, GivenUpError, WaitingLine
from holdfast.registry import BreakOrder
from holdfast.service import Queued, Stay
from holdfast.store.protocol import StoreError
from holdfast.turns import GIVEN_UP, PARKED_LEASE
from holdfast.wire.exchange import Pending, Response
from tests.service.world import EXCLUSIVE, INFINITY, SHARED, ZERO, World


class Waiting:
    """One parked request: its tries and its answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tries = 0
        self.answers: list[Response] = []
        self.lock: Lock | None = None
        self.refused: Refused | None = None
        self.error: Exception | None = None
        self.errors: list[Exception] = []
        self.pending: Pending

    @property
    def status(self) -> int:
        """Of its only answer; 0 while it waits."""
        assert len(self.answers) <= 1
        return self.answers[0].status if self.answers else 0


class Room:
    """A world, the line of one process, and a pulse by hand: `beat` tells what was committed and what time it is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.line = WaitingLine(world.service, world.store.now)
        self.seen = 0

    def park(
        self,
        name: str,
        resource: str = "/a",
        *,
        scope: LockScope = EXCLUSIVE,
        depth: Depth = ZERO,
        wait_s: float = 60,
        keeps_place: bool = False,
        starts: bool = True,
    ) -> Waiting:
        """A request that must wait; it is tried again as often as the line wants."""
        found = self.world.wait(resource, name, scope=scope, depth=depth)
        assert isinstance(found, Queued)
        waiting = Waiting(name)
        place = found.waiter

        def attempt(stay: Stay) -> Response | Queued:
            nonlocal place
            waiting.tries += 1
            if waiting.error is not None:
                raise waiting.error
            again = self.world.wait(resource, name, scope=scope, depth=depth, stay=stay, place=place)
            if isinstance(again, Queued):
                place = again.waiter
                return again
            if isinstance(again, Lock):
                waiting.lock = again
                return Response(201, [])
            waiting.refused = again
            return Response(423, [])

        def failed(error: Exception) -> Response:
            waiting.errors.append(error)
            if isinstance(error, KeyError):
                raise error
            return Response(503, [])

        waiting.pending = self.line.park(
            place, attempt, failed=failed, wait=timedelta(seconds=wait_s), keeps_place=keeps_place
        )
        if starts:
            waiting.pending.start(waiting.answers.append)
        return waiting

    def beat(self) -> datetime | None:
        """Tell what has happened since the last beat, until nothing is due at once."""
        events = self.world.events(self.seen)
        self.seen = events[-1].seq if events else self.seen
        self.line.concern(events)
        for _ in range(100):
            now = self.world.store.now()
            due = self.line.due(now)
            if due is None or due > now:
                return due
        raise AssertionError("something stays due")

    def later(self, seconds: float) -> None:
        """Let time pass and beat, as the pulse does, so that places are renewed."""
        while seconds > 0:
            step = min(seconds, 1)
            self.world.pass_time(step)
            self.beat()
            seconds -= step


@pytest.fixture(params=["memory", "sqlite"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    world = World(request.param, tmp_path)
    yield Room(world)
    world.store.close()


def test_a_release_answers_the_first_and_nobody_else(room: Room) -> None:
    held = room.world.grant("/a")
    first, second = room.park("bob"), room.park("cyd")
    room.beat()
    room.world.release(held)
    room.beat()
    assert (first.status, second.status) == (201, 0)
    assert first.lock is not None
    room.world.release(first.lock)
    room.beat()
    assert second.status == 201
    assert room.line.is_empty


def test_nothing_is_due_while_nobody_waits(room: Room) -> None:
    assert room.line.is_empty
    assert room.beat() is None


def test_what_ended_before_the_request_was_parked_is_not_missed(room: Room) -> None:
    held = room.world.grant("/a")
    waiting = room.park("bob", starts=False)
    room.world.release(held)
    room.seen = room.world.events()[-1].seq  # told to a line in which it did not stand yet
    waiting.pending.start(waiting.answers.append)
    room.beat()
    assert waiting.status == 201


def test_shared_requests_are_answered_together_and_a_writer_behind_them_waits(room: Room) -> None:
    held = room.world.grant("/a")
    readers = [room.park(f"r{number}", scope=SHARED) for number in range(5)]
    writer = room.park("w")
    late = room.park("late", scope=SHARED)
    room.world.release(held)
    room.beat()
    assert {reader.status for reader in readers} == {201}
    assert (writer.status, late.status) == (0, 0)
    for reader in readers:
        assert reader.lock is not None
        room.world.release(reader.lock)
    room.beat()
    assert (writer.status, late.status) == (201, 0)


@pytest.mark.parametrize(("held_on", "depth", "waits_on"), [("/a", INFINITY, "/a/b/c"), ("/a/b/c", ZERO, "/a")])
def test_locks_above_and_below_are_heard_of(room: Room, held_on: str, depth: Depth, waits_on: str) -> None:
    held = room.world.grant(held_on, depth=depth)
    waiting = room.park("bob", waits_on, depth=INFINITY)
    other = room.world.grant("/other")
    stranger = room.park("cyd", "/other")
    room.beat()
    tries = stranger.tries
    room.world.release(held)
    room.beat()
    assert (waiting.status, stranger.status) == (201, 0)
    assert stranger.tries == tries
    room.world.release(other)


def test_a_lock_that_expires_hands_over_though_nothing_is_told(room: Room) -> None:
    room.world.grant("/a", seconds=30)
    waiting = room.park("bob")
    due = room.beat()
    assert due is not None
    room.later(29)
    assert waiting.status == 0
    room.later(1)
    assert waiting.status == 201


def test_an_end_that_is_moved_nearer_is_noticed(room: Room) -> None:
    held = room.world.grant("/a", seconds=600)
    waiting = room.park("bob")
    room.beat()
    room.world.refresh("/a", held.token, seconds=5)
    room.later(10)
    assert waiting.status == 201


def test_a_break_that_is_set_for_later_is_waited_for_to_the_instant(room: Room) -> None:
    held = room.world.grant("/a", seconds=600)
    waiting = room.park("bob")
    room.beat()
    order = BreakOrder(held.id, "root", "upgrade", timedelta(seconds=1.5))
    assert isinstance(room.world.registry.break_lock(order, lambda _lock: True), Found)
    due = room.beat()
    assert due is not None
    assert due <= room.world.store.now() + timedelta(seconds=1.5)
    room.world.pass_time(1.5)
    room.beat()
    assert waiting.status == 201


def test_the_wait_ends_with_the_place_it_had(room: Room) -> None:
    room.world.grant("/a", seconds=600)
    room.park("bob")
    waiting = room.park("cyd", wait_s=20)
    room.later(19)
    assert waiting.status == 0
    room.later(1)
    assert waiting.status == 423
    assert waiting.refused is not None
    assert waiting.refused.line is not None
    assert (waiting.refused.line.position, waiting.refused.line.length) == (2, 2)
    assert len(room.world.line()) == 1


def test_no_wait_is_longer_than_the_server_grants(room: Room) -> None:
    room.line = WaitingLine(room.world.service, room.world.store.now, longest=timedelta(seconds=5))
    room.world.grant("/a", seconds=600)
    waiting = room.park("bob", wait_s=1000)
    room.later(5)
    assert waiting.status == 423


def test_places_are_renewed_while_requests_wait(room: Room) -> None:
    held = room.world.grant("/a", seconds=600)
    waiting = room.park("bob", wait_s=300)
    room.later(10 * PARKED_LEASE.total_seconds())
    assert not isinstance(room.world.acquire("/a", "cyd"), Lock)
    room.world.release(held)
    room.beat()
    assert waiting.status == 201


def test_a_client_that_goes_leaves_the_line_at_once(room: Room) -> None:
    held = room.world.grant("/a")
    first, second = room.park("bob"), room.park("cyd")
    room.beat()
    first.pending.abandon()
    first.pending.abandon()
    assert len(room.world.line()) == 1
    room.world.release(held)
    room.beat()
    assert (first.status, second.status) == (0, 201)


def test_who_leaves_lets_the_next_one_by_though_nothing_was_released(room: Room) -> None:
    held = room.world.grant("/a", scope=SHARED)
    writer, reader = room.park("w"), room.park("r", scope=SHARED)
    room.beat()
    writer.pending.abandon()
    room.beat()
    assert reader.status == 201
    room.world.release(held)


def test_a_client_that_goes_before_it_was_parked_leaves_too(room: Room) -> None:
    room.world.grant("/a")
    room.park("bob", starts=False).pending.abandon()
    assert room.world.line() == []


def test_a_place_that_is_given_up_ends_the_wait_though_the_request_was_tried_before_that_was_heard(room: Room) -> None:
    """The try finds the place gone, and takes a new one; nobody is to wait there."""
    room.world.grant("/a", seconds=600)
    waiting = room.park("bob")
    room.beat()
    [place] = room.world.line()
    room.world.service.leave(place, GIVEN_UP)
    room.world.pass_time(0.01)
    room.line.look_again()
    room.line.due(room.world.store.now())
    assert len(room.world.line()) == 1
    room.beat()
    assert [type(error) for error in waiting.errors] == [GivenUpError]
    assert waiting.status == 503
    assert room.world.line() == []
    assert room.line.is_empty


def test_a_client_with_an_id_keeps_its_place_for_a_while(room: Room) -> None:
    room.world.grant("/a", seconds=600)
    waiting = room.park("bob", keeps_place=True)
    room.beat()
    room.world.pass_time(8)
    waiting.pending.abandon()
    assert room.line.is_empty
    room.world.pass_time(15)
    assert not room.world.service.sweep()
    room.world.pass_time(5)
    assert room.world.service.sweep() == 1


@pytest.mark.parametrize("keeps_place", [False, True])
def test_a_server_that_stops_answers_at_once(room: Room, keeps_place: bool) -> None:
    room.world.grant("/a")
    waiting = room.park("bob", keeps_place=keeps_place)
    waiting.pending.hasten()
    waiting.pending.hasten()
    waiting.pending.abandon()
    assert waiting.status == 423
    assert len(room.world.line()) == keeps_place
    assert room.line.is_empty


def test_a_place_that_was_lost_is_taken_anew_at_the_end(room: Room) -> None:
    held = room.world.grant("/a", seconds=600)
    stopped = room.park("bob")
    room.beat()
    room.world.pass_time(PARKED_LEASE.total_seconds())  # the process was stopped, and renewed nothing
    other = room.world.queued("/a", "cyd")
    assert isinstance(room.world.turn(other), Queued)
    room.world.service.sweep()
    room.beat()
    assert stopped.status == 0
    room.world.release(held)
    room.beat()
    assert stopped.status == 0
    granted = room.world.turn(other)
    assert isinstance(granted, Lock)
    room.world.release(granted)
    room.beat()
    assert stopped.status == 201


def test_a_waiter_of_a_dead_process_holds_up_the_line_no_longer_than_its_lease(room: Room) -> None:
    held = room.world.grant("/a", seconds=600)
    room.world.queued("/a", "of another process")
    waiting = room.park("bob")
    room.world.release(held)
    room.beat()
    assert waiting.status == 0
    room.later(PARKED_LEASE.total_seconds())
    assert waiting.status == 201


class TestFailures:
    """What a try raises is answered, and does not stay in the line."""

    def test_what_the_face_knows_becomes_its_answer(self, room: Room) -> None:
        room.world.grant("/a")
        waiting = room.park("bob")
        waiting.error = ValueError("no")
        room.beat()
        assert waiting.status == 503
        assert waiting.errors == [waiting.error]
        assert room.world.line() == []

    def test_a_fault_is_500_and_is_logged(self, room: Room, caplog: pytest.LogCaptureFixture) -> None:
        room.world.grant("/a")
        waiting = room.park("bob")
        waiting.error = KeyError("a fault")
        room.beat()
        assert waiting.status == 500
        assert "a fault" in caplog.text

    def test_a_store_in_trouble_is_tried_again_until_the_wait_is_over(self, room: Room) -> None:
        held = room.world.grant("/a")
        waiting = room.park("bob")
        waiting.error = StoreError("busy")
        room.beat()
        assert waiting.status == 0
        waiting.error = None
        room.world.release(held)
        room.later(2)
        assert waiting.status == 201

    def test_and_is_told_then(self, room: Room) -> None:
        room.world.grant("/a", seconds=600)
        waiting = room.park("bob", wait_s=3)
        waiting.error = StoreError("busy")
        room.later(3)
        assert waiting.status == 503
        assert room.world.line() == []


class TestCost:
    """Thousands of waiters cost little."""

    def test_a_release_tries_two_of_a_thousand(self, room: Room) -> None:
        held = room.world.grant("/a", seconds=600)
        crowd = self.crowd(room, 1000, lambda number: room.park(f"p{number}"))
        room.beat()
        before = sum(waiting.tries for waiting in crowd)
        room.world.release(held)
        room.beat()
        assert sum(waiting.tries for waiting in crowd) - before <= 2
        assert [waiting.status for waiting in crowd[:2]] == [201, 0]

    def test_a_thousand_who_wait_for_one_lock_are_looked_at_as_one(self, room: Room) -> None:
        room.world.grant("/a", seconds=600)
        crowd = self.crowd(room, 1000, lambda number: room.park(f"p{number}"))
        room.later(10)
        assert sum(waiting.tries for waiting in crowd) < 20

    def test_readers_who_cannot_be_granted_are_tried_as_one(self, room: Room) -> None:
        room.world.grant("/a", seconds=600)
        crowd = self.crowd(room, 100, lambda number: room.park(f"p{number}", scope=SHARED))
        room.later(10)
        assert sum(waiting.tries for waiting in crowd) < 20

    def test_one_beat_makes_a_bounded_number_of_tries(self, room: Room) -> None:
        held = room.world.grant("/a", seconds=600)
        crowd = self.crowd(room, 3 * MOST_TRIES, lambda number: room.park(f"p{number}", scope=SHARED))
        room.beat()
        room.world.release(held)
        room.line.concern(room.world.events(room.seen))
        assert sum(waiting.status == 201 for waiting in crowd) == MOST_TRIES
        room.beat()
        assert all(waiting.status == 201 for waiting in crowd)

    def test_who_was_answered_is_not_remembered(self, room: Room) -> None:
        for number in range(300):
            held = room.world.grant("/a")
            waiting = room.park(f"p{number}", wait_s=300)
            room.world.release(held)
            room.beat()
            assert waiting.lock is not None
            room.world.release(waiting.lock)
        room.world.grant("/a")
        room.park("last")
        assert len(room.line._deadlines) < 200
        assert len(room.line._looks) < 200

    @staticmethod
    def crowd(room: Room, size: int, park: Callable[[int], Waiting]) -> list[Waiting]:
        with room.world.store.hold():
            crowd = [park(number) for number in range(size)]
            room.world.store.commit_held()
        return crowd


def test_two_processes_hand_over_to_each_other_in_order(room: Room) -> None:
    """Two lines over one store stand for two processes: each hears of the events and decides by the store."""
    other = Room(room.world)
    held = room.world.grant("/a", seconds=600)
    places = [(room if number % 2 else other).park(f"p{number}") for number in range(6)]
    for waiting in places:
        room.world.release(held)
        for one in (other, room, other):
            one.beat()
        assert [item.status for item in places].count(201) == places.index(waiting) + 1
        assert waiting.lock is not None
        held = waiting.lock
    assert [event.kind for event in room.world.events()].count(EventKind.LEFT) == 0
