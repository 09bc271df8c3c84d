"""LockService, over each store: every operation is one transaction, decided at its own instant."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.conditions import EtagCondition, TokenCondition
from holdfast.core.decisions import Reach, Refusal, Refused
from holdfast.core.model import Lock, LockScope
from holdfast.service import Claim, Limits
from holdfast.store.protocol import WriteTransaction
from tests.service.world import EXCLUSIVE, INFINITY, SHARED, ZERO, World, always, condition, holding_out, path

KINDS = ["memory", "sqlite"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    world = World(kind, tmp_path)
    with world.store:
        yield world


def refusal(answer: object) -> Refusal:
    assert isinstance(answer, Refused), answer
    return answer.refusal


# -- acquire ----------------------------------------------------------------------------------------


def test_a_grant_is_what_was_asked_and_is_found_from_then_on(world: World):
    lock = world.grant("/dav/a", seconds=90, depth=INFINITY, scope=SHARED)
    assert (lock.root, lock.scope, lock.depth, lock.principal) == (path("/dav/a"), SHARED, INFINITY, "ann")
    assert lock.created_at == lock.refreshed_at == world.clock.now()
    assert lock.expires_at == world.clock.now() + timedelta(seconds=90)
    assert world.service.discover(path("/dav/a/b/c")) == [lock]
    assert world.service.discover(path("/dav")) == []


def test_a_token_is_a_random_urn_and_never_the_public_id(world: World):
    locks = [world.grant("/dav/a", scope=SHARED) for _ in range(50)]
    assert len({lock.token for lock in locks} | {lock.id for lock in locks}) == 100
    for lock in locks:
        assert uuid.UUID(lock.token.removeprefix("urn:uuid:")).version == 4
        assert lock.token.startswith("urn:uuid:")
        assert set(lock.id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    ("held", "asked", "granted"),
    [
        (None, SHARED, True),
        (None, EXCLUSIVE, True),
        (SHARED, SHARED, True),
        (SHARED, EXCLUSIVE, False),
        (EXCLUSIVE, SHARED, False),
        (EXCLUSIVE, EXCLUSIVE, False),
    ],
)
@pytest.mark.parametrize("asker", ["ann", "bob"])
def test_the_compatibility_table_of_9_10_5_holds_for_oneself_and_for_others(
    world: World, held: LockScope | None, asked: LockScope, granted: bool, asker: str
):
    in_the_way = None if held is None else world.grant("/dav/a", scope=held)
    answer = world.acquire("/dav/a", asker, scope=asked)
    if granted:
        assert isinstance(answer, Lock)
        return
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.CONFLICT
    assert [item.lock for item in answer.contentions] == [in_the_way]


def test_a_lock_on_a_tree_meets_locks_above_and_below(world: World):
    below = world.grant("/dav/a/b/c", "bob")
    answer = world.acquire("/dav/a", depth=INFINITY)
    assert isinstance(answer, Refused)
    assert [(item.resource.text, item.lock) for item in answer.contentions] == [("/dav/a/b/c", below)]
    assert world.locks() == [below]
    world.grant("/dav/a")  # depth 0 does not meet it
    world.grant("/dav/ab", depth=INFINITY)
    assert refusal(world.acquire("/", depth=INFINITY)) is Refusal.CONFLICT


def test_a_conflicting_lock_behind_a_thousand_compatible_ones_is_found(world: World):
    for number in range(1000):
        world.grant(f"/dav/t/{number:04}", scope=SHARED)
    hidden = world.grant("/dav/t/9999", "bob")
    answer = world.acquire("/dav/t", scope=SHARED, depth=INFINITY)
    assert isinstance(answer, Refused)
    assert [item.lock for item in answer.contentions] == [hidden]


def test_a_conflicting_lock_behind_a_thousand_expired_ones_is_found(world: World):
    for number in range(1000):
        world.grant(f"/dav/t/{number:04}", seconds=1)
    hidden = world.grant("/dav/t/9999", "bob")
    world.pass_time(2)
    answer = world.acquire("/dav/t", depth=INFINITY)
    assert isinstance(answer, Refused)
    assert [item.lock for item in answer.contentions] == [hidden]


def test_the_timeout_is_clamped_and_has_a_default(world: World):
    for root, seconds, granted_s in (("/1", None, 1800), ("/2", 0.2, 1), ("/3", 4_294_967_295, 86_400)):
        assert world.grant(root, seconds=seconds).expires_at == world.clock.now() + timedelta(seconds=granted_s)


def test_a_false_condition_comes_before_a_lock_in_the_way(world: World):
    world.grant("/dav/a", "bob")
    never = condition(("/dav/a", [TokenCondition("DAV:no-lock")]))
    assert refusal(world.acquire("/dav/a", condition=never)) is Refusal.CONDITION_FAILED
    assert refusal(world.acquire("/dav/a", precondition=lambda: False)) is Refusal.CONDITION_FAILED
    assert refusal(world.acquire("/dav/a", precondition=lambda: True)) is Refusal.CONFLICT


# -- unmapped URLs ----------------------------------------------------------------------------------


def test_a_lock_on_an_unmapped_url_creates_the_resource_after_the_decision(world: World):
    created: list[str] = []
    assert isinstance(world.acquire("/dav/new", mapped=False, create=lambda: created.append("new")), Lock)
    assert created == ["new"]
    assert refusal(world.acquire("/dav/new", "bob", mapped=False, create=lambda: created.append("bob's"))) is (
        Refusal.CONFLICT
    )
    assert created == ["new"]


def test_a_lock_on_a_mapped_url_creates_nothing(world: World):
    created: list[str] = []
    assert isinstance(world.acquire("/dav/old", mapped=True, create=lambda: created.append("old")), Lock)
    assert created == []


def test_a_create_that_fails_leaves_no_lock_and_no_event(world: World):
    def fail() -> None:
        raise OSError(28, "disk full")

    with pytest.raises(OSError, match="disk full"):
        world.acquire("/dav/new", mapped=False, create=fail)
    assert world.locks() == []
    assert world.events() == []
    assert isinstance(world.acquire("/dav/new", "bob"), Lock)


def test_a_lock_on_an_unmapped_url_needs_the_token_of_its_parents_lock(world: World):
    parent = world.grant("/dav", "ann", depth=ZERO)
    for principal, header in (
        ("bob", None),
        ("bob", holding_out("/dav", parent.token)),
        ("ann", None),
        ("ann", always("/dav/new", parent.token)),
    ):
        answer = world.acquire("/dav/new", principal, mapped=False, condition=header)
        assert isinstance(answer, Refused)
        assert answer.refusal is Refusal.LOCKED
        assert [item.lock for item in answer.contentions] == [parent]
        assert [item.resource.text for item in answer.contentions] == ["/dav"]
    assert isinstance(world.acquire("/dav/old", "bob", mapped=True), Lock)
    assert isinstance(world.acquire("/dav/new", mapped=False, condition=holding_out("/dav", parent.token)), Lock)


def test_a_shared_lock_on_an_unmapped_url_needs_a_token_of_a_shared_lock_on_the_tree(world: World):
    world.grant("/dav", "ann", depth=INFINITY, scope=SHARED)
    assert refusal(world.acquire("/dav/new", "bob", scope=SHARED, mapped=False)) is Refusal.LOCKED
    mine = world.grant("/dav", "bob", depth=INFINITY, scope=SHARED)
    header = holding_out("/dav", mine.token)
    assert isinstance(world.acquire("/dav/new", "bob", scope=SHARED, mapped=False, condition=header), Lock)


# -- refresh ----------------------------------------------------------------------------------------


def test_a_refresh_keeps_the_lock_and_restarts_its_timer(world: World):
    lock = world.grant("/dav/a", seconds=60, depth=INFINITY)
    world.pass_time(50)
    renewed = world.refresh("/dav/a", lock.token, seconds=120)
    assert isinstance(renewed, Lock)
    assert (renewed.token, renewed.id, renewed.fencing_token, renewed.created_at) == (
        lock.token,
        lock.id,
        lock.fencing_token,
        lock.created_at,
    )
    assert renewed.refreshed_at == world.clock.now()
    assert renewed.expires_at == world.clock.now() + timedelta(seconds=120)
    world.pass_time(119)
    assert world.service.discover(path("/dav/a/member")) == [renewed]
    assert refusal(world.write("/dav/a/member", "bob")) is Refusal.LOCKED
    world.pass_time(1)
    assert world.service.discover(path("/dav/a")) == []


def test_a_refresh_by_way_of_a_member_renews_the_whole_lock(world: World):
    lock = world.grant("/dav/a", depth=INFINITY)
    assert isinstance(world.refresh("/dav/a/b/c", lock.token), Lock)
    assert refusal(world.refresh("/dav", lock.token, about="/dav/a")) is Refusal.NOT_IN_SCOPE


def test_a_refresh_is_refused_to_others_and_for_what_is_not_there(world: World):
    lock = world.grant("/dav/a", seconds=10)
    assert refusal(world.refresh("/dav/a", lock.token, "bob")) is Refusal.NOT_HOLDER
    assert refusal(world.refresh("/dav/a", "urn:uuid:nobody")) is Refusal.NOT_IN_SCOPE
    assert refusal(world.refresh("/dav/other", lock.token)) is Refusal.NOT_IN_SCOPE
    world.pass_time(10)
    assert refusal(world.refresh("/dav/a", lock.token)) is Refusal.NOT_IN_SCOPE


def test_a_refresh_names_exactly_one_lock(world: World):
    first, second = (world.grant("/dav/a", scope=SHARED) for _ in range(2))
    for header in (None, always("/dav/a"), always("/dav/a", first.token, second.token)):
        claim = Claim(path("/dav/a"), "ann", header)
        assert refusal(world.service.refresh(claim, None)) is Refusal.NOT_IN_SCOPE
    assert isinstance(world.refresh("/dav/a", first.token), Lock)


def test_a_refresh_needs_its_token_said_about_a_resource_in_the_locks_scope(world: World):
    lock = world.grant("/dav/a")
    claim = Claim(path("/dav/a"), "ann", always("/dav/other", lock.token))
    assert refusal(world.service.refresh(claim, None)) is Refusal.NOT_IN_SCOPE


def test_a_refresh_under_a_false_condition_changes_nothing(world: World):
    lock = world.grant("/dav/a")
    header = condition(("/dav/a", [TokenCondition(lock.token), EtagCondition('"gone"')]))
    assert refusal(world.service.refresh(Claim(path("/dav/a"), "ann", header), None)) is Refusal.CONDITION_FAILED
    assert world.locks() == [lock]


def test_nothing_but_a_refresh_restarts_the_timer(world: World):
    lock = world.grant("/dav/a", seconds=10)
    world.pass_time(9)
    world.write("/dav/a", tokens=(lock.token,))
    world.service.discover(path("/dav/a"))
    world.acquire("/dav/a")
    world.pass_time(1)
    assert world.service.discover(path("/dav/a")) == []


# -- release ----------------------------------------------------------------------------------------


def test_a_release_ends_the_lock_for_its_creator_only(world: World):
    lock = world.grant("/dav/a", depth=INFINITY)
    assert refusal(world.service.release(path("/dav/a"), lock.token, "bob")) is Refusal.NOT_HOLDER
    assert refusal(world.service.release(path("/dav/x"), lock.token, "ann")) is Refusal.NOT_IN_SCOPE
    assert refusal(world.service.release(path("/dav/a"), "urn:uuid:x", "ann")) is Refusal.NOT_IN_SCOPE
    assert world.locks() == [lock]
    assert world.service.release(path("/dav/a/b"), lock.token, "ann") == lock
    assert world.locks() == []
    assert refusal(world.service.release(path("/dav/a"), lock.token, "ann")) is Refusal.NOT_IN_SCOPE


def test_an_expired_lock_cannot_be_released(world: World):
    lock = world.grant("/dav/a", seconds=1)
    world.pass_time(1)
    assert refusal(world.service.release(path("/dav/a"), lock.token, "ann")) is Refusal.NOT_IN_SCOPE


def test_a_token_is_not_used_again_after_its_release(world: World):
    first = world.grant("/dav/a")
    world.service.release(path("/dav/a"), first.token, "ann")
    second = world.grant("/dav/a")
    assert second.token != first.token
    assert second.fencing_token > first.fencing_token
    assert refusal(world.write("/dav/a", tokens=(first.token,))) is Refusal.LOCKED


# -- expiry -----------------------------------------------------------------------------------------


def test_a_lock_ends_at_its_instant_without_any_sweep(world: World):
    lock = world.grant("/dav/a", seconds=10)
    world.pass_time(9.999999)
    assert world.service.discover(path("/dav/a")) == [lock]
    assert refusal(world.write("/dav/a", "bob")) is Refusal.LOCKED
    world.pass_time(0.000001)
    assert world.service.discover(path("/dav/a")) == []
    assert world.service.discover_members(path("/dav")) == ([], {})
    assert world.write("/dav/a", "bob") == "done"
    held_out = holding_out("/dav/a", lock.token)
    assert refusal(world.write("/dav/a", condition=held_out)) is Refusal.CONDITION_FAILED


def test_an_expired_lock_in_the_way_ends_with_an_event_before_the_new_grant(world: World):
    old = world.grant("/dav/a", seconds=1)
    below = world.grant("/dav/t/x", "bob", seconds=1)
    world.pass_time(1)
    new = world.grant("/dav/a", "bob")
    tree = world.grant("/dav/t", depth=INFINITY)
    assert world.locks() == [new, tree]
    assert [(event.kind.value, event.lock_id) for event in world.events()][2:] == [
        ("expired", old.id),
        ("granted", new.id),
        ("expired", below.id),
        ("granted", tree.id),
    ]


def test_a_sweep_tidies_expired_locks_in_batches_and_decides_nothing(world: World):
    for number in range(3):
        world.grant(f"/dav/{number}", seconds=1 + number)
    kept = world.grant("/dav/kept")
    assert world.service.sweep() == 0
    world.pass_time(5)
    assert world.service.sweep(2) == 2
    assert world.service.sweep(2) == 1
    assert world.service.sweep(2) == 0
    assert world.locks() == [kept]
    assert world.story()[4:] == [("expired", f"/dav/{number}", "") for number in range(3)]


# -- caps -------------------------------------------------------------------------------------------


def test_a_principal_and_the_server_hold_so_many_locks_and_no_more(kind: str, tmp_path: Path):
    world = World(kind, tmp_path, Limits(locks_per_principal=2, locks_in_all=3))
    with world.store:
        first = world.grant("/1")
        world.grant("/2")
        assert refusal(world.acquire("/3")) is Refusal.TOO_MANY_LOCKS
        world.grant("/3", "bob")
        assert refusal(world.acquire("/4", "cyd")) is Refusal.TOO_MANY_LOCKS
        world.service.release(path("/1"), first.token, "ann")
        world.grant("/4", "cyd")
        assert refusal(world.acquire("/5", "dan")) is Refusal.TOO_MANY_LOCKS


def test_expired_locks_do_not_count_even_where_no_sweeper_has_been(kind: str, tmp_path: Path):
    world = World(kind, tmp_path, Limits(locks_per_principal=2, locks_in_all=3))
    with world.store:
        for number, principal in enumerate(["ann", "ann", "bob"]):
            world.grant(f"/{number}", principal, seconds=1)
        world.pass_time(1)
        world.grant("/new")
        assert len(world.locks()) == 1


def test_a_lock_over_the_cap_creates_nothing(kind: str, tmp_path: Path):
    world = World(kind, tmp_path, Limits(locks_per_principal=0))
    with world.store:
        created: list[str] = []
        answer = world.acquire("/new", mapped=False, create=lambda: created.append("new"))
        assert refusal(answer) is Refusal.TOO_MANY_LOCKS
        assert created == []


# -- write ------------------------------------------------------------------------------------------


def test_a_write_needs_the_token_and_the_principal(world: World):
    lock = world.grant("/dav/a")
    assert refusal(world.write("/dav/a", "ann")) is Refusal.LOCKED
    assert refusal(world.write("/dav/a", "bob", tokens=(lock.token,))) is Refusal.LOCKED
    assert refusal(world.write("/dav/a", "bob", condition=holding_out("/dav/a", lock.token))) is Refusal.LOCKED
    assert world.write("/dav/a", "ann", tokens=(lock.token,)) == "done"
    assert world.write("/dav/a", "ann", condition=holding_out("/dav/a", lock.token)) == "done"


def test_apaches_two_ways_around_a_lock_are_closed(world: World):
    lock = world.grant("/dav/a", "ann")
    no_lock = TokenCondition("DAV:no-lock", negated=True)
    inside_not = condition(("/dav/a", [TokenCondition(lock.token, negated=True)]), ("/dav/a", [no_lock]))
    about_another = condition(("/dav/other", [TokenCondition(lock.token)]), ("/dav/other", [no_lock]))
    for header in (inside_not, about_another):
        for principal in ("ann", "bob"):
            assert refusal(world.write("/dav/a", principal, condition=header)) is Refusal.LOCKED
    only_another = holding_out("/dav/other", lock.token)
    assert refusal(world.write("/dav/a", "bob", condition=only_another)) is Refusal.CONDITION_FAILED


def test_conditions_are_about_the_state_inside_the_transaction(world: World):
    lock = world.grant("/dav/a")
    world.etags["/dav/a"] = '"v1"'
    header = condition(("/dav/a", [TokenCondition(lock.token), EtagCondition('"v1"')]))
    assert world.write("/dav/a", condition=header) == "done"
    world.etags["/dav/a"] = '"v2"'
    assert refusal(world.write("/dav/a", condition=header)) is Refusal.CONDITION_FAILED


def test_a_false_condition_comes_before_a_missing_token(world: World):
    world.grant("/dav/a", "bob")
    assert refusal(world.write("/dav/a", precondition=lambda: False)) is Refusal.CONDITION_FAILED
    assert refusal(world.write("/dav/a", precondition=lambda: True)) is Refusal.LOCKED
    never = condition(("/dav/a", [TokenCondition("DAV:no-lock")]))
    assert refusal(world.write("/dav/a", condition=never)) is Refusal.CONDITION_FAILED


def test_what_a_refused_write_would_have_applied_is_not_applied(world: World):
    world.grant("/dav/a", "bob")
    applied: list[str] = []

    def apply(_: WriteTransaction) -> str:
        applied.append("applied")
        return ""

    assert refusal(world.write("/dav/a", apply=apply)) is Refusal.LOCKED
    assert applied == []


def test_a_change_that_fails_undoes_its_whole_transaction(world: World):
    lock = world.grant("/dav/a")

    def fail(tx: WriteTransaction) -> str:
        tx.remove(lock)
        raise OSError(28, "disk full")

    with pytest.raises(OSError, match="disk full"):
        world.write("/dav/a", reach=Reach.TREE, tokens=(lock.token,), destroys=("/dav/a",), apply=fail)
    assert world.locks() == [lock]
    assert world.story() == [("granted", "/dav/a", "ann")]


def test_what_is_destroyed_takes_its_locks_with_it_and_no_others(world: World):
    roots = ["/dav/a", "/dav/a/b", "/dav/a/b/c"]
    locks = [world.grant(root) for root in roots]
    beside, above = world.grant("/dav/ab"), world.grant("/dav", scope=SHARED)
    tokens = tuple(lock.token for lock in locks)
    answer = world.write(
        "/dav/a",
        reach=Reach.TREE,
        tokens=tokens,
        reaches_down=True,
        condition=holding_out("/dav", above.token),
        destroys=("/dav/a",),
    )
    assert answer == "done"
    assert world.locks() == [above, beside]
    assert sorted(world.story()[5:]) == [("destroyed", root, "ann") for root in roots]


def test_an_expired_lock_on_what_is_destroyed_is_told_as_expired(world: World):
    world.grant("/dav/a", "bob", seconds=1)
    world.pass_time(1)
    assert world.write("/dav/a", reach=Reach.TREE, destroys=("/dav/a",)) == "done"
    assert world.story()[1:] == [("expired", "/dav/a", "")]


def test_a_tree_with_anothers_lock_in_it_stays_whole(world: World):
    theirs = world.grant("/dav/a/b/c", "bob")
    answer = world.write("/dav/a", reach=Reach.TREE, destroys=("/dav/a",))
    assert isinstance(answer, Refused)
    assert [item.lock for item in answer.contentions] == [theirs]
    assert world.locks() == [theirs]


@pytest.mark.parametrize("reach", [Reach.MEMBERSHIP, Reach.TREE])
def test_a_depth_0_lock_on_a_collection_protects_its_membership_and_not_its_members(world: World, reach: Reach):
    lock = world.grant("/dav/a", depth=ZERO)
    assert refusal(world.write("/dav/a/new", "bob", reach=reach)) is Refusal.LOCKED
    assert refusal(world.write("/dav/a/new", "ann", reach=reach)) is Refusal.LOCKED
    assert world.write("/dav/a/old", "bob", reach=Reach.CONTENT) == "done"
    assert world.write("/dav/a/new", reach=reach, condition=holding_out("/dav/a", lock.token)) == "done"


def test_either_of_two_shared_holders_may_write_with_its_own_token(world: World):
    ann, bob = world.grant("/dav/a", "ann", scope=SHARED), world.grant("/dav/a", "bob", scope=SHARED)
    assert world.write("/dav/a", "ann", tokens=(ann.token,)) == "done"
    assert world.write("/dav/a", "bob", tokens=(bob.token,)) == "done"
    assert refusal(world.write("/dav/a", "bob", tokens=(ann.token,))) is Refusal.LOCKED
    assert refusal(world.write("/dav/a", "cyd")) is Refusal.LOCKED


# -- discover, feed ---------------------------------------------------------------------------------


def test_discovery_names_the_locks_from_the_top_down(world: World):
    deep = world.grant("/dav/a/b", scope=SHARED)
    root = world.grant("/", scope=SHARED, depth=INFINITY)
    middle = world.grant("/dav/a", scope=SHARED, depth=INFINITY)
    world.grant("/dav", scope=SHARED, depth=ZERO)
    assert world.service.discover(path("/dav/a/b")) == [root, middle, deep]


def test_a_collections_members_are_discovered_in_one_go(world: World):
    tree = world.grant("/dav", scope=SHARED, depth=INFINITY)
    world.grant("/dav", scope=SHARED, depth=ZERO)
    first, second = (world.grant("/dav/a", scope=SHARED) for _ in range(2))
    world.grant("/dav/a/deeper", scope=SHARED)
    other = world.grant("/dav/b", scope=SHARED)
    above, direct = world.service.discover_members(path("/dav"))
    assert above == [tree]
    assert {root: {lock.id for lock in locks} for root, locks in direct.items()} == {
        "/dav/a": {first.id, second.id},
        "/dav/b": {other.id},
    }


def test_a_lock_on_the_root_is_not_below_itself_nor_among_its_own_members(world: World):
    root, member = world.grant("/", depth=ZERO), world.grant("/a")
    assert world.service.discover_members(path("/")) == ([], {"/a": [member]})
    with world.store.read() as tx:
        assert tx.locks_below(path("/")) == [member]
        assert tx.locks_on(["/"]) == [root]
    answer = world.acquire("/", "bob", depth=INFINITY)
    assert isinstance(answer, Refused)
    assert [item.lock for item in answer.contentions] == [root, member]
    assert (
        world.write("/", reach=Reach.TREE, tokens=(root.token, member.token), reaches_down=True, destroys=("/",))
        == "done"
    )
    assert world.story()[2:] == [("destroyed", "/", "ann"), ("destroyed", "/a", "ann")]


def test_every_change_is_told_in_the_feed_with_who_and_what_but_never_a_token(world: World):
    lock = world.grant("/dav/a", "ann", depth=INFINITY)
    world.pass_time(3)
    world.service.release(path("/dav/a"), lock.token, "ann")
    granted, released = world.events()
    assert (granted.kind.value, released.kind.value) == ("granted", "released")
    assert released.seq > granted.seq > 0
    assert released.at - granted.at == timedelta(seconds=3)
    for event in (granted, released):
        assert (event.lock_id, event.root, event.scope, event.depth) == (lock.id, lock.root, lock.scope, lock.depth)
        assert (event.holder, event.actor, event.reason) == ("ann", "ann", "to edit")
        assert event.fencing_token == lock.fencing_token
        assert lock.token not in repr(event)


def test_a_refused_request_leaves_no_trace(world: World):
    world.grant("/dav/a")
    before = (world.locks(), world.events())
    world.acquire("/dav/a", "bob")
    world.write("/dav/a", "bob")
    world.refresh("/dav/a", "urn:uuid:x", "bob")
    world.service.release(path("/dav/a"), "urn:uuid:x", "bob")
    assert (world.locks(), world.events()) == before


def test_fencing_tokens_rise_with_every_grant_and_only_with_a_grant(world: World):
    seen = []
    for number in range(20):
        lock = world.grant(f"/dav/{number % 3}", scope=SHARED)
        world.refresh(f"/dav/{number % 3}", lock.token)
        seen.append(lock.fencing_token)
    assert seen == sorted(set(seen))


def test_old_rows_of_the_feed_can_be_dropped_and_no_seq_comes_again(world: World):
    world.grant("/dav/a")
    world.pass_time(3600)
    world.grant("/dav/b")
    before = world.events()
    assert world.service.trim(timedelta(seconds=1800)) == 1
    assert world.events() == before[1:]
    world.grant("/dav/c")
    assert [event.seq for event in world.events()] == sorted({event.seq for event in world.events()})
    assert world.events()[-1].seq > before[-1].seq
