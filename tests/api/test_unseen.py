"""A guessed id tells nothing of a lock that one may not see: not where it is, nor whose."""

from __future__ import annotations

import pytest

from tests.api.desk import Desk, Reply

NAME = "guessed-by-tom"


@pytest.fixture
def lock_id(resource: str) -> str:
    """An id that is easily guessed, of a lock outside of what tom may see."""
    return NAME + resource.replace("/", "-")


def tells_nothing(reply: Reply, resource: str) -> bool:
    return resource.encode() not in reply.answer.body and b"alice" not in reply.answer.body


def test_who_chooses_the_id_of_an_ended_lock_that_he_may_not_see_hears_only_that_it_is_used(
    desk: Desk, resource: str, lock_id: str
) -> None:
    lock = desk.granted("alice", resource, id=lock_id)
    desk.release("alice", lock)
    reply = desk.acquire("tom", "/team/a", id=lock_id)
    assert reply.status == 409
    assert "ended" not in reply.problem
    assert tells_nothing(reply, resource)
    assert desk.acquire("bob", resource, id=lock_id).problem["ended"]["holder"] == "alice"


def test_who_would_take_over_or_refresh_a_lock_that_he_may_not_see_does_not_hear_where_it_is(
    desk: Desk, resource: str, lock_id: str
) -> None:
    lock = desk.granted("alice", resource, id=lock_id)
    taken = desk.ask("tom", "POST", f"{lock['url']}/take-over", {})
    endless = desk.ask("tom", "POST", f"{lock['url']}/refresh", {"token": "urn:uuid:other", "ttl": None})
    assert (taken.status, endless.status) == (403, 403)
    assert tells_nothing(taken, resource)
    assert tells_nothing(endless, resource)
