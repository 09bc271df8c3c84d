"""What every backend promises, whatever keeps the locks."""

from __future__ import annotations

import threading

import pytest

from holdfast.core.conditions import ConditionList, IfHeader, TokenCondition
from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import Depth, LockScope
from holdfast.faces.api.bodies import EndedLock, GrantedLock, ShownLock
from holdfast.integrations import LockedError, RefusalError, Wanted
from holdfast.integrations.backends import resource_of
from holdfast.wire.locked import LockedAnswer, locked_detail, retry_after
from tests.integrations.conftest import Kept

ORDER = resource_of("/orders/42")


def taken(kept: Kept, who: str, **more: object) -> GrantedLock:
    return kept.locks.acquire(Wanted(**({"resource": ORDER, "principal": who} | more)))


def asked(kept: Kept, who: str, *tokens: str, reach: Reach = Reach.CONTENT) -> LockedAnswer | None:
    return kept.locks.check([Effect(ORDER, reach)], tokens, who)


def refused(status: int):
    return pytest.raises(RefusalError, check=lambda error: error.status == status)


class TestChecking:
    """May a change be made?"""

    def test_what_nobody_has_locked_may_be_changed(self, kept: Kept) -> None:
        assert asked(kept, "bob") is None

    def test_a_lock_is_in_the_way_of_all_but_its_holder_with_its_token(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        assert asked(kept, "alice", lock.token) is None
        for who, tokens in (("alice", ()), ("bob", ()), ("bob", (lock.token,)), ("alice", (lock.token + "0",))):
            assert asked(kept, who, *tokens) is not None, (who, tokens)

    def test_the_answer_names_the_holder_since_when_and_until_when(self, kept: Kept) -> None:
        lock = taken(kept, "alice", ttl=30, reason="rename")
        answer = asked(kept, "bob")
        assert answer is not None
        [contending] = answer.locks
        assert (contending.id, contending.holder.name, contending.reason) == (lock.id, "alice", "rename")
        assert contending.root == ORDER
        assert 28 <= retry_after(answer) <= 31
        assert "alice has locked /orders/42" in locked_detail(answer)
        assert "until" in locked_detail(answer)

    def test_who_has_left_out_its_own_token_is_told_so(self, kept: Kept) -> None:
        taken(kept, "alice")
        mine, others = asked(kept, "alice"), asked(kept, "bob")
        assert mine is not None
        assert others is not None
        assert "yourself" in locked_detail(mine)
        assert "yourself" not in locked_detail(others)

    def test_a_tree_is_not_removed_over_a_lock_in_it(self, kept: Kept) -> None:
        lock = taken(kept, "alice", resource=resource_of("/orders/42/lines/1"))
        assert asked(kept, "bob") is None
        assert asked(kept, "bob", reach=Reach.TREE) is not None
        assert asked(kept, "alice", lock.token, reach=Reach.TREE) is None

    def test_what_is_in_a_locked_collection_neither_comes_nor_goes(self, kept: Kept) -> None:
        lock = taken(kept, "alice", resource=resource_of("/orders"))
        assert asked(kept, "bob") is None
        assert asked(kept, "bob", reach=Reach.MEMBERSHIP) is not None
        assert asked(kept, "bob", reach=Reach.TREE) is not None
        assert asked(kept, "alice", lock.token, reach=Reach.MEMBERSHIP) is None

    def test_an_if_header_is_false_once_its_lock_has_ended(self, kept: Kept) -> None:
        lock = taken(kept, "alice", ttl=60)
        condition = IfHeader((ConditionList(ORDER, (TokenCondition(lock.token),)),))
        effects = [Effect(ORDER, Reach.CONTENT)]
        assert kept.locks.check(effects, [], "alice", condition) is None
        kept.advance(61)
        with refused(412):
            kept.locks.check(effects, [], "alice", condition)

    def test_require_raises_what_becomes_the_423(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        kept.locks.require("/orders/42", "alice", [lock.token])
        with pytest.raises(LockedError, match="alice has locked /orders/42"):
            kept.locks.require("/orders/42", "bob")


class TestAcquiring:
    """Who gets it."""

    def test_one_of_many_gets_it_and_the_others_learn_who(self, kept: Kept) -> None:
        begin = threading.Barrier(6)
        won: list[str] = []
        told: list[str] = []

        def compete(name: str) -> None:
            begin.wait()
            try:
                won.append(taken(kept, name).holder.name)
            except LockedError as error:
                told.append(error.answer.locks[0].holder.name)

        threads = [threading.Thread(target=compete, args=(f"user-{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert told == won * 5

    def test_fencing_tokens_rise(self, kept: Kept) -> None:
        first = taken(kept, "alice")
        kept.locks.release(first.id, first.token, "alice")
        assert taken(kept, "bob").fencing_token > first.fencing_token

    def test_shared_locks_stand_beside_each_other(self, kept: Kept) -> None:
        one = taken(kept, "alice", scope=LockScope.SHARED)
        taken(kept, "bob", scope=LockScope.SHARED)
        assert asked(kept, "alice", one.token) is None
        with pytest.raises(LockedError):
            taken(kept, "carol")

    def test_a_lock_of_depth_infinity_covers_what_is_below(self, kept: Kept) -> None:
        taken(kept, "alice", resource=resource_of("/orders"), depth=Depth.INFINITY)
        assert asked(kept, "bob") is not None
        assert [lock.holder.name for lock in kept.locks.find("/orders/42")] == ["alice"]

    def test_the_same_id_is_the_same_lock(self, kept: Kept) -> None:
        first = taken(kept, "alice", lock_id="edit-42")
        assert taken(kept, "alice", lock_id="edit-42").token == first.token
        with refused(409):
            taken(kept, "bob", lock_id="edit-42")

    def test_it_ends_by_itself(self, kept: Kept) -> None:
        taken(kept, "alice", ttl=60)
        kept.advance(61)
        assert asked(kept, "bob") is None
        assert taken(kept, "bob").holder.name == "bob"

    def test_whoever_waits_gets_it_when_it_is_released(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        got: list[str] = []
        waiting = threading.Thread(target=lambda: got.append(taken(kept, "bob", wait=20).holder.name))
        waiting.start()
        while not kept.locks.describe(lock.id).queue_length:  # type: ignore[union-attr]
            assert waiting.is_alive()
        kept.locks.release(lock.id, lock.token, "alice")
        waiting.join()
        assert got == ["bob"]

    def test_who_waits_is_served_in_order_and_passed_by_nobody(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        got: list[str] = []

        def wait(name: str) -> None:
            mine = taken(kept, name, wait=60)
            got.append(name)
            with pytest.raises(LockedError):
                taken(kept, "carol")
            kept.locks.release(mine.id, mine.token, name)

        names = ["bob", "dora", "erin"]
        threads = [threading.Thread(target=wait, args=(name,)) for name in names]
        for number, thread in enumerate(threads):
            thread.start()
            while kept.locks.describe(lock.id).queue_length != number + 1:  # type: ignore[union-attr]
                assert thread.is_alive()
        assert [one.queue_length for one in kept.locks.find(lock.root)] == [3]
        with pytest.raises(LockedError) as caught:
            taken(kept, "carol")
        assert caught.value.answer.line is not None
        assert caught.value.answer.line.length == 3
        assert caught.value.answer.locks[0].queue_length == 3
        kept.locks.release(lock.id, lock.token, "alice")
        for thread in threads:
            thread.join()
        assert got == names
        assert taken(kept, "carol").holder.name == "carol"

    def test_a_wait_that_is_over_is_refused_and_leaves_nobody_in_line(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        with pytest.raises(LockedError):
            taken(kept, "bob", wait=0.3)
        kept.locks.release(lock.id, lock.token, "alice")
        assert taken(kept, "carol").holder.name == "carol"

    def test_breaking_first_is_for_the_holder_and_whom_the_application_lets(self, kept: Kept) -> None:
        taken(kept, "alice")
        with refused(403):
            taken(kept, "bob", break_first="I need it")
        assert taken(kept, "alice", break_first="new tab").holder.name == "alice"


class TestHolding:
    """What the holder does with it, and others may not."""

    def test_a_refresh_begins_its_time_anew(self, kept: Kept) -> None:
        lock = taken(kept, "alice", ttl=60)
        kept.advance(50)
        renewed = kept.locks.refresh(lock.id, lock.token, "alice", 60)
        assert (renewed.id, renewed.token) == (lock.id, lock.token)
        kept.advance(50)
        assert asked(kept, "bob") is not None
        assert asked(kept, "alice", renewed.token) is None

    def test_a_release_ends_it_and_may_be_repeated(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        for _ in range(2):
            kept.locks.release(lock.id, lock.token, "alice")
        assert asked(kept, "bob") is None

    def test_nobody_else_refreshes_or_releases_it_even_with_its_token(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        with refused(403):
            kept.locks.refresh(lock.id, lock.token, "bob")
        with refused(403):
            kept.locks.release(lock.id, lock.token, "bob")
        with refused(403):
            kept.locks.release(lock.id, "urn:uuid:00000000-0000-4000-8000-000000000000", "alice")
        with refused(404):
            kept.locks.release("unknown", lock.token, "alice")

    def test_what_has_expired_is_gone_and_the_holder_hears_how(self, kept: Kept) -> None:
        lock = taken(kept, "alice", ttl=60)
        kept.advance(61)
        with pytest.raises(RefusalError, match="that alice held expired") as caught:
            kept.locks.refresh(lock.id, lock.token, "alice")
        assert caught.value.status == 410
        assert caught.value.ended is not None

    def test_take_over_is_a_new_token_for_the_same_person(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        with refused(403):
            kept.locks.take_over(lock.id, "bob")
        newer = kept.locks.take_over(lock.id, "alice")
        assert newer.holder.name == "alice"
        assert asked(kept, "alice", newer.token) is None
        assert asked(kept, "alice", lock.token) is not None


class TestBreaking:
    """Ending somebody's lock."""

    def test_it_takes_the_holder_or_the_applications_leave(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        with refused(403):
            kept.locks.break_(lock.id, "bob", "left open")
        ended = kept.locks.break_(lock.id, "bob", "left open", may_break=True)
        assert isinstance(ended, EndedLock)
        assert (ended.how, ended.holder, ended.by, ended.reason) == ("broken", "alice", "bob", "left open")
        assert asked(kept, "bob") is None
        with pytest.raises(RefusalError, match="left open"):
            kept.locks.refresh(lock.id, lock.token, "alice")

    def test_with_a_grace_it_ends_then(self, kept: Kept) -> None:
        lock = taken(kept, "alice", ttl=600)
        shown = kept.locks.break_(lock.id, "alice", "moving", after=60)
        assert isinstance(shown, ShownLock)
        assert asked(kept, "bob") is not None
        kept.advance(61)
        assert asked(kept, "bob") is None


class TestLooking:
    """Who has it?"""

    def test_a_lock_is_described_without_its_token(self, kept: Kept) -> None:
        lock = taken(kept, "alice", owner="Alice at her desk", reason="rename")
        shown = kept.locks.describe(lock.id)
        assert type(shown) is ShownLock
        assert (shown.holder.name, shown.holder.owner, shown.reason) == ("alice", "Alice at her desk", "rename")
        assert [found.id for found in kept.locks.find("/orders/42")] == [lock.id]
        assert kept.locks.find("/orders/43") == []
        assert kept.locks.describe("unknown") is None

    def test_how_one_ended_is_known_afterwards(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        kept.locks.release(lock.id, lock.token, "alice")
        ended = kept.locks.describe(lock.id)
        assert isinstance(ended, EndedLock)
        assert (ended.how, ended.holder, ended.by) == ("released", "alice", "alice")

    def test_where_the_application_shows_locks_their_addresses_lead_there(self, kept: Kept) -> None:
        lock = taken(kept, "alice")
        assert lock.url == lock.id
        kept.locks.address = "/locks"
        assert kept.locks.find("/orders/42")[0].url == f"/locks/{lock.id}"
