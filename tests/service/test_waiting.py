"""The waiting line: first come, first served among requests that conflict, and everything checked again at the turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.decisions import Effect, Reach, Refusal, Refused
from holdfast.core.model import Event, EventKind, Lock, Waiter
from holdfast.finding import Found
from holdfast.registry import BreakOrder, Granted, IdTaken
from holdfast.service import AcquireRequest, Claim, Limits, Queued, Stay
from holdfast.turns import MAX_COUNTED, PARKED_LEASE, LineLimits
from tests.service.world import EXCLUSIVE, INFINITY, SHARED, ZERO, World, holding_out, path

LEASE_S = PARKED_LEASE.total_seconds()
KEPT_S = LineLimits().place_kept.total_seconds()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Limits], World]]:
    made: list[World] = []

    def build(limits: Limits) -> World:
        made.append(World(request.param, tmp_path, limits))
        return made[-1]

    yield build
    for world in made:
        world.store.close()


@pytest.fixture
def world(make: Callable[[Limits], World]) -> World:
    return make(Limits())


def refused(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def kinds(world: World) -> list[str]:
    return [event.kind.value for event in world.events()]


class TestOrder:
    """Who comes first, is served first."""

    def test_the_first_in_line_gets_the_lock_under_the_id_of_its_place(self, world: World) -> None:
        held = world.grant("/a")
        first, second = world.queued("/a", "bob"), world.queued("/a", "cyd")
        world.release(held)
        assert isinstance(world.turn(second), Queued)
        lock = world.turn(first)
        assert isinstance(lock, Lock)
        assert (lock.id, lock.principal) == (first.id, "bob")
        assert world.line() == [second.id]

    def test_a_place_and_its_grant_are_in_the_feed(self, world: World) -> None:
        held = world.grant("/a")
        place = world.queued("/a", "bob")
        world.release(held)
        world.turn(place)
        assert kinds(world) == ["granted", "queued", "released", "granted"]
        assert world.events()[1].lock_id == place.id == world.events()[3].lock_id

    @pytest.mark.parametrize("scope", [SHARED, EXCLUSIVE])
    def test_a_newcomer_does_not_pass_who_waits_though_nothing_is_held(self, world: World, scope) -> None:
        held = world.grant("/a")
        place = world.queued("/a", "bob")
        world.release(held)
        answer = refused(world.acquire("/a", "cyd", scope=scope))
        assert (answer.refusal, answer.contentions) == (Refusal.CONFLICT, ())
        assert answer.line is not None
        assert answer.line.first == place
        assert (answer.line.length, answer.line.position) == (1, None)

    def test_shared_requests_are_granted_together(self, world: World) -> None:
        held = world.grant("/a")
        places = [world.queued("/a", name, scope=SHARED) for name in ("bob", "cyd", "dee")]
        world.release(held)
        assert all(isinstance(world.turn(place), Lock) for place in reversed(places))

    def test_no_reader_passes_a_waiting_writer(self, world: World) -> None:
        held = world.grant("/a", scope=SHARED)
        writer = world.queued("/a", "bob")
        reader = world.queued("/a", "cyd", scope=SHARED)
        assert refused(world.acquire("/a", "dee", scope=SHARED)).line is not None
        world.release(held)
        assert isinstance(world.turn(reader), Queued)
        assert isinstance(world.turn(writer), Lock)

    def test_requests_that_do_not_conflict_pass_each_other(self, world: World) -> None:
        held = world.grant("/a", depth=INFINITY)
        world.queued("/a/b")
        other = world.queued("/a/c", "bob")
        world.release(held)
        assert isinstance(world.turn(other), Lock)
        assert isinstance(world.acquire("/a/d", "cyd"), Lock)

    @pytest.mark.parametrize(("first", "second"), [("/a", "/a/b/c"), ("/a/b/c", "/a"), ("/", "/a")])
    def test_a_request_for_a_tree_and_one_within_keep_their_order(self, world: World, first: str, second: str) -> None:
        held = world.grant("/", scope=SHARED, depth=INFINITY)
        before = world.queued(first, "bob", depth=INFINITY)
        behind = world.queued(second, "cyd", depth=INFINITY)
        world.release(held)
        assert isinstance(world.turn(behind), Queued)
        assert isinstance(world.turn(before), Lock)

    def test_a_lock_of_depth_zero_above_is_in_nobodys_way(self, world: World) -> None:
        held = world.grant("/a", depth=ZERO)
        world.queued("/a", "bob", depth=ZERO)
        assert isinstance(world.acquire("/a/b", "cyd"), Lock)
        world.release(held)

    def test_a_break_hands_over(self, world: World) -> None:
        held = world.grant("/a")
        place = world.queued("/a", "bob")
        world.registry.break_lock(BreakOrder(held.id, "root", "stale"), lambda _: True)
        assert isinstance(world.turn(place), Lock)

    def test_what_expires_hands_over_without_an_event(self, world: World) -> None:
        held = world.grant("/a", seconds=5)
        answer = world.wait("/a", "bob")
        assert isinstance(answer, Queued)
        assert answer.look_at == held.expires_at
        world.pass_time(5)
        assert isinstance(world.turn(answer.waiter), Lock)

    def test_it_is_looked_again_when_the_last_of_many_locks_expires(self, world: World) -> None:
        world.grant("/a", scope=SHARED, seconds=20)
        last = world.grant("/a", scope=SHARED, seconds=40)
        answer = world.wait("/a", "bob")
        assert isinstance(answer, Queued)
        assert answer.look_at == last.expires_at

    def test_behind_others_it_is_looked_again_when_they_would_lapse(self, world: World) -> None:
        held = world.grant("/a")
        first, second = world.queued("/a", "bob"), world.queued("/a", "cyd")
        world.release(held)
        answer = world.turn(second)
        assert isinstance(answer, Queued)
        assert answer.look_at == first.lease_until


class TestAgain:
    """At the turn all is checked as if the request came then."""

    def test_an_if_header_that_is_false_by_then_is_412_and_the_place_is_given_up(self, world: World) -> None:
        held = world.grant("/a")
        mine = world.grant("/b", "bob", seconds=30)
        condition = holding_out("/b", mine.token)
        answer = world.wait("/a", "bob", condition=condition)
        assert isinstance(answer, Queued)
        world.pass_time(2)
        world.release(mine)
        world.release(held)
        again = refused(world.wait("/a", "bob", condition=condition, place=answer.waiter))
        assert again.refusal is Refusal.CONDITION_FAILED
        assert world.line() == []
        assert kinds(world)[-1] == "left"

    def test_a_precondition_that_is_false_at_first_takes_no_place(self, world: World) -> None:
        world.grant("/a")
        answer = refused(world.wait("/a", "bob", precondition=lambda: False))
        assert answer.refusal is Refusal.CONDITION_FAILED
        assert world.line() == []

    def test_the_parents_lock_is_waited_for_too(self, world: World) -> None:
        held = world.grant("/a")
        answer = world.wait("/a/new", "bob", mapped=False)
        assert isinstance(answer, Queued)
        assert answer.refused.refusal is Refusal.LOCKED
        world.release(held)
        assert isinstance(world.wait("/a/new", "bob", mapped=False, place=answer.waiter), Lock)

    def test_a_creation_that_fails_grants_nothing_and_keeps_the_place(self, world: World) -> None:
        held = world.grant("/a/new")
        place = world.queued("/a/new", "bob")
        world.release(held)

        def fail() -> None:
            raise OSError

        with pytest.raises(OSError):
            world.service.acquire(
                _request(place), is_mapped=lambda: False, create=fail, stay=Stay.PARKED, place_id=place.id
            )
        assert world.line() == [place.id]
        assert [lock.principal for lock in world.locks()] == []

    def test_too_many_locks_at_the_turn_is_507_and_the_place_is_given_up(self, make) -> None:
        world = make(Limits(locks_per_principal=1))
        held = world.grant("/a")
        place = world.queued("/a", "bob")
        world.grant("/b", "bob")
        world.release(held)
        assert refused(world.turn(place)).refusal is Refusal.TOO_MANY_LOCKS
        assert world.line() == []


def _request(place: Waiter) -> AcquireRequest:
    return AcquireRequest(Claim(place.root, place.principal), place.scope, place.depth, timedelta(seconds=60))


class TestLease:
    """A waiter lives as long as somebody renews its place."""

    def test_one_that_lapsed_is_passed_over_and_leaves(self, world: World) -> None:
        held = world.grant("/a")
        dead = world.queued("/a", "bob")
        world.pass_time(1)
        place = world.queued("/a", "cyd")
        world.pass_time(LEASE_S - 1)
        world.release(held)
        assert isinstance(world.turn(place), Lock)
        assert [event.lock_id for event in world.events() if event.kind is EventKind.LEFT] == [dead.id]

    def test_a_renewed_one_keeps_its_place(self, world: World) -> None:
        held = world.grant("/a")
        place = world.queued("/a", "bob")
        for _ in range(5):
            world.pass_time(LEASE_S / 2)
            world.service.renew([place.id])
        world.release(held)
        assert refused(world.acquire("/a", "cyd")).line is not None
        assert isinstance(world.turn(place), Lock)

    def test_one_that_comes_back_too_late_stands_at_the_end(self, world: World) -> None:
        world.grant("/a", seconds=600)
        late = world.queued("/a", "bob")
        world.pass_time(LEASE_S)
        place = world.queued("/a", "cyd")
        answer = world.turn(late)
        assert isinstance(answer, Queued)
        assert answer.waiter.seq > place.seq
        assert world.line() == [place.id, answer.waiter.id]

    def test_leaving_lets_the_next_one_by(self, world: World) -> None:
        held = world.grant("/a")
        first, second = world.queued("/a", "bob"), world.queued("/a", "cyd")
        world.release(held)
        world.service.leave(first.id, "gone")
        world.service.leave(first.id, "gone")  # twice is no harm
        assert isinstance(world.turn(second), Lock)
        assert [event.reason for event in world.events() if event.kind is EventKind.LEFT] == ["gone"]

    def test_after_a_crash_those_are_gone_whose_connections_are_and_who_comes_back_is_not(self, world: World) -> None:
        world.grant("/a")
        world.grant("/b/c")
        gone = [world.queued("/a", "bob").id, world.queued("/b/c", "cyd").id]
        assert isinstance(world.named("/a", "mine", "dan", stay=Stay.PARKED), Queued)
        assert isinstance(world.named("/b/c", "polled", "eve"), Refused)
        assert world.service.give_up_parked() == 2
        assert world.line() == ["mine", "polled"]
        assert [event.lock_id for event in world.events() if event.kind is EventKind.LEFT] == gone
        assert world.service.give_up_parked() == 0

    def test_the_sweeper_tidies_who_lapsed(self, world: World) -> None:
        world.grant("/a", seconds=600)
        world.queued("/a", "bob")
        world.queued("/a", "cyd")
        assert world.service.sweep() == 0
        world.pass_time(LEASE_S)
        assert world.service.sweep() == 2
        assert world.line() == []

    def test_the_last_try_tells_the_place_and_gives_it_up(self, world: World) -> None:
        held = world.grant("/a")
        world.queued("/a", "bob")
        place = world.queued("/a", "cyd")
        line = refused(world.turn(place, stay=Stay.LAST)).line
        assert line is not None
        assert (line.position, line.length, line.lengths) == (2, 2, {held.id: 2})
        assert len(world.line()) == 1


class TestPolling:
    """A client with an id of its own comes back for its place."""

    def test_it_keeps_its_place_while_it_comes_back_in_time(self, world: World) -> None:
        held = world.grant("/a", seconds=600)
        for _ in range(4):
            answer = refused(world.named("/a", "mine", "bob"))
            assert answer.line is not None
            assert answer.line.position == 1
            world.pass_time(KEPT_S - 1)
        world.release(held)
        assert refused(world.acquire("/a", "cyd")).line is not None
        granted = world.named("/a", "mine", "bob")
        assert isinstance(granted, Granted)
        assert granted.lock.id == "mine"

    def test_it_loses_its_place_when_it_comes_too_late(self, world: World) -> None:
        held = world.grant("/a", seconds=600)
        world.named("/a", "mine", "bob")
        world.pass_time(KEPT_S)
        world.release(held)
        assert isinstance(world.acquire("/a", "cyd"), Lock)
        answer = refused(world.named("/a", "mine", "bob"))
        assert answer.line is not None
        assert answer.line.position == 1

    def test_without_a_wish_to_wait_it_takes_no_place(self, world: World) -> None:
        world.grant("/a")
        assert refused(world.named("/a", "mine", "bob", stay=None)).line is None
        assert world.line() == []

    def test_without_a_wish_to_wait_it_uses_the_place_it_has(self, world: World) -> None:
        held = world.grant("/a")
        world.named("/a", "mine", "bob")
        world.release(held)
        assert isinstance(world.named("/a", "mine", "bob", stay=None), Granted)

    def test_an_id_that_waits_is_taken_for_everybody_else(self, world: World) -> None:
        world.grant("/a")
        world.named("/a", "mine", "bob")
        assert world.named("/b", "mine", "cyd") == IdTaken(by_other=True)
        assert world.named("/b", "mine", "bob") == IdTaken(by_other=False)
        assert world.named("/a", "mine", "bob", reason="other") == IdTaken(by_other=False)
        assert world.line() == ["mine"]

    def test_the_same_request_joins_the_one_that_waits(self, world: World) -> None:
        held = world.grant("/a")
        first = world.named("/a", "mine", "bob", stay=Stay.PARKED)
        second = world.named("/a", "mine", "bob", stay=Stay.PARKED)
        assert isinstance(first, Queued)
        assert isinstance(second, Queued)
        assert first.waiter.seq == second.waiter.seq
        world.release(held)
        one, other = (world.named("/a", "mine", "bob", stay=Stay.PARKED) for _ in range(2))
        assert isinstance(one, Granted)
        assert isinstance(other, Granted)
        assert (one.is_new, other.is_new) == (True, False)
        assert one.lock.token == other.lock.token

    def test_a_lock_without_end_may_be_waited_for(self, world: World) -> None:
        held = world.grant("/a")
        world.named("/a", "mine", "root", endless=True)
        world.release(held)
        granted = world.named("/a", "mine", "root", endless=True)
        assert isinstance(granted, Granted)
        assert granted.lock.expires_at is None


class TestPassing:
    """What may pass the line."""

    def test_refreshing_does(self, world: World) -> None:
        held = world.grant("/a")
        world.queued("/a", "bob")
        assert isinstance(world.refresh("/a", held.token), Lock)

    def test_taking_over_ones_own_lock_does(self, world: World) -> None:
        held = world.grant("/a")
        world.queued("/a", "bob")
        assert isinstance(world.registry.take_over(held.id, "ann", None, client=""), Granted)

    def test_breaking_and_acquiring_does_and_takes_no_place(self, world: World) -> None:
        world.grant("/a")
        place = world.queued("/a", "bob")
        order = BreakOrder("", "root", "maintenance")
        assert isinstance(world.named("/a", "closed", "root", first=order, stay=Stay.KEPT), Granted)
        assert world.line() == [place.id]

    def test_breaking_and_acquiring_ends_ones_own_wait(self, world: World) -> None:
        world.grant("/a")
        world.named("/a", "mine", "root")
        assert isinstance(world.named("/a", "mine", "root", first=BreakOrder("", "root", "now")), Granted)
        assert world.line() == []


class TestNumbers:
    """What is told of the line, and how long it may become."""

    def test_a_full_line_refuses_at_once_and_says_so(self, make) -> None:
        world = make(Limits(line=LineLimits(waiters=2)))
        world.grant("/a", seconds=600)
        world.queued("/a", "bob")
        world.queued("/a", "cyd")
        line = refused(world.wait("/a", "dee")).line
        assert line is not None
        assert line.is_full
        assert (line.length, line.position) == (2, None)
        world.pass_time(LEASE_S)
        assert isinstance(world.wait("/a", "dee"), Queued)

    def test_a_refusal_counts_who_waits_for_each_lock(self, world: World) -> None:
        tree = world.grant("/a", scope=SHARED, depth=INFINITY)
        leaf = world.grant("/a/b", scope=SHARED)
        world.queued("/a/b", "bob")
        world.queued("/a/c", "bob")
        line = refused(world.acquire("/a/b", "cyd")).line
        assert line is not None
        assert line.lengths == {tree.id: 2, leaf.id: 1}
        assert line.length == 1

    def test_a_refused_write_counts_them_too(self, world: World) -> None:
        held = world.grant("/a")
        assert refused(world.write("/a", "bob")).line is None
        world.queued("/a", "bob")
        for reach in (Reach.CONTENT, Reach.TREE):
            line = refused(world.write("/a", "bob", reach=reach)).line
            assert line is not None
            assert line.lengths == {held.id: 1}
        effects = [Effect(path("/a"), Reach.CONTENT), Effect(path("/b"), Reach.CONTENT)]
        assert refused(world.registry.check(effects, [], "bob")).line is not None

    def test_a_lock_tells_how_many_wait_for_it(self, world: World) -> None:
        held = world.grant("/a")
        found = world.registry.describe(held.id)
        assert isinstance(found, Found)
        assert found.queue_length == 0
        world.queued("/a", "bob")
        world.queued("/a", "cyd", scope=SHARED)
        found = world.registry.describe(held.id)
        assert isinstance(found, Found)
        assert found.queue_length == 2

    def test_who_has_lapsed_is_counted_by_nobody(self, world: World) -> None:
        held = world.grant("/a", seconds=600)
        world.queued("/a", "bob")
        world.pass_time(LEASE_S)
        line = refused(world.acquire("/a", "cyd")).line
        assert line is None or (line.length, line.lengths) == (0, {})
        assert isinstance(found := world.registry.describe(held.id), Found)
        assert found.queue_length == 0

    def test_many_are_counted_up_to_a_bound(self, world: World) -> None:
        world.grant("/a", seconds=600)
        with world.store.hold():
            for _ in range(MAX_COUNTED + 10):
                world.queued("/a", "bob")
            world.store.commit_held()
        line = refused(world.acquire("/a", "cyd")).line
        assert line is not None
        assert line.length == MAX_COUNTED


def test_an_event_of_a_place_is_no_end_of_a_lock(world: World) -> None:
    world.grant("/a", seconds=600)
    world.named("/a", "mine", "bob")
    world.service.leave("mine", "gone")
    assert not isinstance(world.named("/a", "mine", "bob"), Event)
