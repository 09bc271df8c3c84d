"""Refresh and release by id, one lock or many."""

from __future__ import annotations

import pytest

from tests.api.desk import Desk


def test_a_refresh_restarts_the_timer_and_keeps_the_tokens(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource, ttl=60)
    desk.later(50)
    reply = desk.refresh("alice", lock, ttl=120)
    assert reply.status == 200
    assert reply["expires_in"] == 120
    assert (reply["token"], reply["fencing_token"]) == (lock["token"], lock["fencing_token"])
    desk.later(100)
    assert desk.acquire("bob", resource).status == 423


def test_a_refresh_takes_the_token_and_its_creator(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    assert desk.refresh("alice", {**lock, "token": "urn:uuid:other"}).status == 403
    assert desk.refresh("bob", lock).status == 403
    assert desk.refresh("root", lock).status == 403
    assert desk.refresh("alice", {**lock, "id": "none"}).status == 404


def test_an_expired_lock_is_gone_and_says_so(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource, ttl=10)
    desk.later(11)
    for reply in (desk.refresh("alice", lock), desk.describe("alice", lock), desk.release("alice", lock)):
        assert reply.status == 410
        assert reply.problem["type"] == "urn:problem-type:holdfast:lock-ended"
        assert (reply["ended"]["how"], reply["ended"]["lock_id"]) == ("expired", lock["id"])


def test_many_are_refreshed_at_once_and_each_is_answered_apart(desk: Desk, resource: str) -> None:
    good = desk.granted("alice", resource, ttl=60)
    ended = desk.granted("alice", resource + "-ended", ttl=60)
    desk.release("alice", ended)
    other = desk.granted("bob", resource + "-other")
    locks = [{"id": lock["id"], "token": lock["token"], "ttl": 600} for lock in (ended, good, other)]
    reply = desk.ask("alice", "POST", "/api/locks/refresh", {"locks": [*locks, {"id": "none", "token": "t"}]})
    assert reply.status == 200
    results = reply["results"]
    assert [result["id"] for result in results] == [ended["id"], good["id"], other["id"], "none"]
    assert [result["status"] for result in results] == [410, 200, 403, 404]
    assert results[1]["lock"]["expires_in"] == 600
    assert results[0]["problem"]["ended"]["how"] == "released"
    assert other["token"].encode() not in reply.answer.body


def test_only_so_many_are_refreshed_at_once(desk: Desk) -> None:
    many = [{"id": "a", "token": "t"}] * 257
    assert desk.ask("alice", "POST", "/api/locks/refresh", {"locks": many}).status == 422
    assert desk.ask("alice", "POST", "/api/locks/refresh", {"locks": []}).status == 422


@pytest.mark.parametrize("how", ["field", "body"])
def test_a_release_frees_the_resource_and_is_no_error_twice(desk: Desk, resource: str, how: str) -> None:
    lock = desk.granted("alice", resource, owner="at home")
    for _ in range(2):
        if how == "field":
            reply = desk.release("alice", lock)
        else:
            reply = desk.ask("alice", "DELETE", lock["url"], {"token": lock["token"]})
        assert (reply.status, reply.answer.body) == (204, b"")
    assert desk.describe("alice", lock).problem["ended"] | {"at": ""} == {
        "lock_id": lock["id"],
        "root": resource,
        "scope": "exclusive",
        "depth": "0",
        "holder": "alice",
        "owner": "at home",
        "how": "released",
        "at": "",
        "by": "alice",
        "reason": "",
    }
    assert desk.acquire("bob", resource).status == 201


def test_a_release_takes_the_token_and_its_creator(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    assert desk.release("alice", {**lock, "token": "urn:uuid:other"}).status == 403
    assert desk.release("root", lock).status == 403
    assert "break" in desk.release("root", lock).problem["detail"]
    assert desk.release("alice", {**lock, "id": "none"}).status == 404
    assert desk.ask("alice", "DELETE", lock["url"]).status == 400
    assert desk.ask("alice", "DELETE", lock["url"], lock_token="no token").status == 400
    desk.release("alice", lock)
    assert desk.release("bob", lock).status == 403


def test_a_release_with_two_tokens_or_with_more_than_a_token_is_refused(desk: Desk, resource: str) -> None:
    """The field does not make the body's mistakes pass; the same token in both is no mistake."""
    lock = desk.granted("alice", resource)

    def release(**body: object) -> int:
        return desk.ask("alice", "DELETE", lock["url"], body, {"Lock-Token": f"<{lock['token']}>"}).status

    assert release(token="urn:uuid:00000000-0000-4000-8000-000000000000") == 400
    assert release(token=lock["token"], more=1) == 400
    assert desk.describe("alice", lock).status == 200
    assert release(token=lock["token"]) == 204
