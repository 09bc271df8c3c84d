"""Who may acquire, refresh, release and write (RFC 4918 sections 6, 7, 9.10, 9.11)."""

from __future__ import annotations

import time

import pytest

from holdfast.core.conditions import Submission
from holdfast.core.decisions import (
    MAX_CONTENTIONS,
    Contention,
    Effect,
    Reach,
    Refusal,
    Refused,
    decide_acquire,
    decide_holder,
    decide_write,
    protected_resources,
)
from holdfast.core.model import Lock
from tests.core.sample import EXCLUSIVE, INFINITY, SHARED, ZERO, lock, path, said

CONTENT, MEMBERSHIP, TREE = Reach.CONTENT, Reach.MEMBERSHIP, Reach.TREE


def write(
    effects: list[tuple[str, Reach]],
    held: list[Lock],
    submitted: list[Submission] | None = None,
    principal: str = "bob",
) -> set[tuple[str, str]] | None:
    """None where permitted, else the (resource, lock root) pairs in the way."""
    answer = decide_write([Effect(path(text), reach) for text, reach in effects], held, submitted or [], principal)
    if answer is None:
        return None
    assert answer.refusal is Refusal.LOCKED
    return {(item.resource.text, item.lock.root.text) for item in answer.contentions}


# RFC 4918 section 7.4: what a write lock on the collection /c protects. The lock is ann's; bob asks.
ACTIONS = {
    # action: (effects, refused by a depth-0 lock, refused by a depth-infinity lock)
    "DELETE a direct internal member": ([("/c/m", TREE)], True, True),
    "DELETE a member of a member": ([("/c/m/n", TREE)], False, True),
    "DELETE the collection": ([("/c", TREE)], True, True),
    "DELETE its parent": ([("/", TREE)], True, True),
    "MOVE a member out": ([("/c/m", TREE), ("/x", TREE)], True, True),
    "MOVE a member in": ([("/x", TREE), ("/c/m", TREE)], True, True),
    "MOVE to rename a member": ([("/c/m", TREE), ("/c/n", TREE)], True, True),
    "MOVE a member of a member to another": ([("/c/m/1", TREE), ("/c/m/2", TREE)], False, True),
    "COPY a member in": ([("/c/new", TREE)], True, True),
    "COPY over a member's content": ([("/c/m", CONTENT)], False, True),
    "COPY a member out": ([("/x", TREE)], False, False),
    "PUT of a new member": ([("/c/new", MEMBERSHIP)], True, True),
    "PUT of a new member of a member": ([("/c/m/new", MEMBERSHIP)], False, True),
    "PUT onto a member": ([("/c/m", CONTENT)], False, True),
    "PROPPATCH of the collection": ([("/c", CONTENT)], True, True),
    "PROPPATCH of a member": ([("/c/m", CONTENT)], False, True),
    "PUT beside it": ([("/d", MEMBERSHIP)], False, False),
    "PUT beside it, its name starting alike": ([("/cc", MEMBERSHIP)], False, False),
}
BY_ACTION = pytest.mark.parametrize(("effects", "by_zero", "by_infinity"), ACTIONS.values(), ids=ACTIONS)


@BY_ACTION
def test_a_collection_lock_protects_each_action_of_section_7_4(
    effects: list[tuple[str, Reach]], by_zero: bool, by_infinity: bool
):
    for depth, refused in ((ZERO, by_zero), (INFINITY, by_infinity)):
        held = lock("/c", "ann", depth=depth)
        assert (write(effects, [held]) is not None) is refused
        assert (write(effects, [held], principal="ann") is not None) is refused, "identity without the token"
        assert write(effects, [held], [said(held)], "ann") is None, "the creator with the token"
        assert (write(effects, [held], [said(held)], "bob") is not None) is refused, "the token without identity"


def test_a_member_that_is_locked_apart_needs_its_token_and_the_collections():
    collection, member = lock("/c", "ann", depth=ZERO), lock("/c/m", "ann", depth=ZERO)
    held = [collection, member]
    delete = [("/c/m", TREE)]
    assert write(delete, held, [said(member)], "ann") == {("/c", "/c")}
    assert write(delete, held, [said(collection)], "ann") == {("/c/m", "/c/m")}
    assert write(delete, held, [said(collection), said(member)], "ann") is None


def test_a_move_needs_the_tokens_of_source_and_destination():
    source, destination = lock("/s", "ann"), lock("/d", "ann")
    move = [("/s", TREE), ("/d", TREE)]
    assert write(move, [source, destination], [said(source)], "ann") == {("/d", "/d")}
    assert write(move, [source, destination], [said(source), said(destination)], "ann") is None


def test_deleting_a_tree_asks_every_lock_in_it():
    mine, theirs = lock("/t/a/b", "bob", depth=ZERO), lock("/t/c", "ann", depth=ZERO)
    assert write([("/t", TREE)], [mine, theirs], [said(mine)], "bob") == {("/t/c", "/t/c")}
    assert write([("/t", TREE)], [mine], [said(mine)], "bob") is None
    assert write([("/t", TREE)], [mine], [], "bob") == {("/t/a/b", "/t/a/b")}
    assert write([("/t", MEMBERSHIP)], [mine, theirs], [], "bob") is None


def test_any_one_of_several_shared_locks_suffices_for_its_holder():
    ann, bob = (lock("/d", name, scope=SHARED) for name in ("ann", "bob"))
    put = [("/d", CONTENT)]
    assert write(put, [ann, bob], [said(ann)], "ann") is None
    assert write(put, [ann, bob], [said(bob)], "bob") is None
    assert write(put, [ann, bob], [said(ann)], "bob") == {("/d", "/d")}
    assert write(put, [ann, bob], [said(ann), said(bob)], "cyd") == {("/d", "/d")}


def test_a_shared_lock_on_a_tree_suffices_for_a_member_that_another_shares_too():
    tree, member = lock("/t", "ann", scope=SHARED), lock("/t/m", "bob", scope=SHARED, depth=ZERO)
    assert write([("/t/m", CONTENT)], [tree, member], [said(tree)], "ann") is None
    assert write([("/t/m", CONTENT)], [tree, member], [said(member)], "bob") is None
    assert write([("/t", CONTENT)], [tree, member], [said(member)], "bob") == {("/t", "/t")}
    assert write([("/t", TREE)], [tree, member], [said(tree)], "ann") is None
    # Deleting the member changes the tree's membership, and whatever the member may hold itself.
    assert write([("/t/m", TREE)], [tree, member], [said(member)], "bob") == {("/t/m", "/t"), ("/t", "/t")}


def test_a_depth_0_lock_does_not_permit_what_a_depth_infinity_lock_of_another_protects_below():
    flat, tree = lock("/t", "bob", scope=SHARED, depth=ZERO), lock("/t", "ann", scope=SHARED)
    assert write([("/t", CONTENT)], [flat, tree], [said(flat)], "bob") is None
    assert write([("/t/m", CONTENT)], [flat, tree], [said(flat)], "bob") == {("/t/m", "/t")}


def test_a_depth_0_lock_does_not_permit_deleting_a_tree_that_another_shares_with_depth_infinity():
    flat, tree = lock("/t", "bob", scope=SHARED, depth=ZERO), lock("/t", "ann", scope=SHARED)
    assert write([("/t", TREE)], [flat, tree], [said(flat)], "bob") == {("/t", "/t")}
    assert write([("/t", TREE)], [flat, tree], [said(tree)], "ann") is None
    answer = decide_write([Effect(path("/t"), TREE)], [flat, tree], [said(flat)], "bob")
    assert answer is not None
    assert [item.lock for item in answer.contentions] == [tree]


def test_tokens_of_open_members_collected_by_macos_let_their_tree_move():
    first, second = lock("/t/1", "ann", depth=ZERO), lock("/t/x/2", "ann", depth=ZERO)
    move = [("/t", TREE), ("/u", TREE)]
    collected = [said(held, "/t", reaches_down=True) for held in (first, second)]
    assert write(move, [first, second], collected, "ann") is None
    assert write(move, [first, second], collected[:1], "ann") == {("/t/x/2", "/t/x/2")}
    assert write(move, [first, second], [said(held, "/t") for held in (first, second)], "ann") is not None


def test_a_token_said_about_another_resource_does_not_permit():
    held = lock("/d", "ann", depth=ZERO)
    assert write([("/d", CONTENT)], [held], [said(held, "/other")], "ann") == {("/d", "/d")}


def test_a_lock_on_everything_closes_everything():
    maintenance = lock("/", "admin", ttl_s=None)
    for effects in ([("/a", CONTENT)], [("/a/b", MEMBERSHIP)], [("/a", TREE)]):
        found = write(effects, [maintenance])
        assert found is not None
        assert {root for _, root in found} == {"/"}


def test_a_change_names_itself_and_its_parent_where_membership_changes():
    effects = [Effect(path("/a/b"), MEMBERSHIP), Effect(path("/a"), CONTENT), Effect(path("/"), TREE)]
    assert [item.text for item in protected_resources(effects)] == ["/a/b", "/a", "/"]
    assert [item.text for item in protected_resources([Effect(path("/a/b"), CONTENT)])] == ["/a/b"]


def test_nothing_held_permits_everything():
    assert write([("/a", TREE), ("/b", TREE)], []) is None
    assert write([], [lock("/a")]) is None


def many(count: int, parent: str) -> list[Lock]:
    return [lock(f"{parent}/{number}", "ann", scope=SHARED, depth=ZERO) for number in range(count)]


@pytest.mark.parametrize("permitted", [False, True])
def test_a_tree_with_very_many_locks_is_decided_quickly_and_refused_briefly(permitted: bool):
    below = many(10_000, "/t/x")
    everywhere = [lock("/t", "ann", scope=SHARED, token=f"urn:{number}") for number in range(10_000)]
    held = below + everywhere
    before = time.process_time()
    answer = decide_write([Effect(path("/t"), TREE)], held, [said(everywhere[-1])] if permitted else [], "ann")
    # A look at every lock for every locked resource would be 2 * 10^8 steps: minutes.
    assert time.process_time() - before < 5
    if permitted:
        assert answer is None
    else:
        assert answer is not None
        assert len(answer.contentions) == MAX_CONTENTIONS


def test_a_refused_lock_names_what_is_in_the_way_and_no_more_than_it_must():
    tree = lock("/t", "ann", scope=SHARED)
    member = lock("/t/m", "bob", scope=SHARED, depth=ZERO)
    answer = decide_acquire(path("/t"), EXCLUSIVE, INFINITY, [tree, member])
    assert answer == Refused(Refusal.CONFLICT, (Contention(path("/t"), tree), Contention(path("/t/m"), member)))
    answer = decide_acquire(path("/t/new"), EXCLUSIVE, ZERO, [tree, member])
    assert answer == Refused(Refusal.CONFLICT, (Contention(path("/t/new"), tree),))
    assert decide_acquire(path("/t"), SHARED, INFINITY, [tree, member]) is None
    crowd = decide_acquire(path("/t"), EXCLUSIVE, INFINITY, many(MAX_CONTENTIONS + 5, "/t"))
    assert crowd is not None
    assert len(crowd.contentions) == MAX_CONTENTIONS


def test_the_same_principal_may_not_take_the_same_lock_twice():
    held = lock("/d", "ann")
    answer = decide_acquire(path("/d"), EXCLUSIVE, ZERO, [held])
    assert answer == Refused(Refusal.CONFLICT, (Contention(path("/d"), held),))


@pytest.mark.parametrize(
    ("held", "resource", "principal", "refusal"),
    [
        (lock("/t", "ann"), "/t", "ann", None),
        (lock("/t", "ann"), "/t/deep/member", "ann", None),
        (lock("/t", "ann", depth=ZERO), "/t/member", "ann", Refusal.NOT_IN_SCOPE),
        (lock("/t", "ann"), "/", "ann", Refusal.NOT_IN_SCOPE),
        (lock("/t", "ann"), "/other", "ann", Refusal.NOT_IN_SCOPE),
        (lock("/t", "ann"), "/other", "bob", Refusal.NOT_IN_SCOPE),
        (lock("/t", "ann"), "/t", "bob", Refusal.NOT_HOLDER),
        (None, "/t", "ann", Refusal.NOT_IN_SCOPE),
    ],
)
def test_a_lock_is_refreshed_and_released_by_its_creator_by_way_of_any_resource_in_its_scope(
    held: Lock | None, resource: str, principal: str, refusal: Refusal | None
):
    answer = decide_holder(held, path(resource), principal)
    assert (answer and answer.refusal) == refusal
