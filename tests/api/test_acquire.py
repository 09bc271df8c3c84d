"""POST /api/locks: who gets a lock, who gets the same one again, and what refusals say."""

from __future__ import annotations

import pytest

from tests.api.desk import Desk


def test_a_grant_has_all_that_its_creator_needs(desk: Desk, resource: str) -> None:
    reply = desk.acquire("alice", resource, ttl=60, owner="Alice's script", reason="invoice run", depth="infinity")
    lock = reply.json
    assert reply.status == 201
    assert reply.answer["Location"] == lock["url"] == f"/api/locks/{lock['id']}"
    assert reply.answer["Cache-Control"] == "no-store"
    assert (lock["root"], lock["scope"], lock["depth"], lock["face"]) == (resource, "exclusive", "infinity", "api")
    assert lock["holder"] == {"name": "alice", "owner": "Alice's script", "client": "test"}
    assert (lock["reason"], lock["expires_in"]) == ("invoice run", 60)
    assert lock["token"].startswith("urn:uuid:")
    assert lock["fencing_token"] > 0


def test_fencing_tokens_rise_with_each_grant(desk: Desk, resource: str) -> None:
    first = desk.granted("alice", resource)
    desk.release("alice", first)
    assert desk.granted("bob", resource)["fencing_token"] > first["fencing_token"]


def test_shared_locks_stand_together_and_an_exclusive_one_does_not(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource, scope="shared")
    desk.granted("bob", resource, scope="shared")
    assert desk.acquire("bob", resource).status == 423


def test_a_lock_in_depth_covers_what_is_below(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource, depth="infinity")
    assert desk.acquire("bob", f"{resource}/lines/1").status == 423
    assert desk.acquire("bob", f"{resource}x").status == 201


def test_a_423_names_the_lock_and_links_to_it_and_tells_no_token(desk: Desk, resource: str) -> None:
    held = desk.granted("alice", resource, reason="stock taking")
    reply = desk.acquire("bob", resource)
    problem = reply.problem
    assert reply.status == 423
    assert problem["type"] == "urn:problem-type:holdfast:locked"
    assert [lock["id"] for lock in problem["locks"]] == [held["id"]]
    assert problem["locks"][0]["reason"] == "stock taking"
    assert 1 <= int(reply.answer["Retry-After"]) <= 60
    assert f"<{held['url']}>" in reply.answer["Link"]
    assert held["token"].encode() not in reply.answer.body
    assert desk.ask("bob", "GET", problem["locks"][0]["url"]).json["id"] == held["id"]


@pytest.mark.parametrize(("accept", "kind"), [("application/xml", "application/xml"), ("text/html", "text/html")])
def test_a_423_comes_in_the_form_that_is_asked_for(desk: Desk, resource: str, accept: str, kind: str) -> None:
    desk.granted("alice", resource)
    assert desk.acquire("bob", resource, {"Accept": accept}).answer["Content-Type"].startswith(kind)


def test_the_time_is_kept_within_the_servers_bounds(desk: Desk, resource: str) -> None:
    assert desk.granted("alice", resource, ttl=2**31 - 1)["expires_in"] == 86_400
    assert desk.granted("alice", resource + "x")["expires_in"] == 1800


def test_a_lock_ends_by_itself(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource, ttl=10)
    desk.later(11)
    assert desk.acquire("bob", resource).status == 201


def test_a_reader_may_not_lock(desk: Desk, resource: str) -> None:
    assert "writer" in desk.acquire("rita", resource).problem["detail"]
    assert desk.acquire("rita", resource).status == 403


def test_a_tree_is_locked_by_who_may_write_all_of_it(desk: Desk) -> None:
    assert desk.acquire("tom", "/team/a").status == 201
    assert desk.acquire("tom", "/", depth="infinity").status == 403
    assert desk.acquire("tom", "/elsewhere").status == 403


def test_only_an_administrator_locks_without_an_end(desk: Desk, resource: str) -> None:
    assert desk.acquire("alice", resource, ttl=None).status == 403
    lock = desk.granted("root", resource, ttl=None)
    assert (lock["expires_at"], lock["expires_in"]) == (None, None)
    desk.later(100_000)
    assert desk.acquire("alice", resource).status == 423
    assert desk.refresh("root", lock).json["expires_at"] is None
    assert desk.refresh("root", lock, ttl=60).json["expires_in"] == 60


class TestIds:
    """An id that the client chooses makes it safe to ask again."""

    def test_the_same_request_gets_the_same_grant(self, desk: Desk, resource: str) -> None:
        chosen = resource.replace("/", "_")
        first = desk.granted("alice", resource, id=chosen, ttl=60)
        again = desk.acquire("alice", resource, id=chosen, ttl=60)
        assert again.status == 200
        assert first["id"] == chosen
        assert (again["token"], again["fencing_token"]) == (first["token"], first["fencing_token"])
        assert again.answer["Location"] == first["url"]

    @pytest.mark.parametrize("other", [{"scope": "shared"}, {"depth": "infinity"}, {"reason": "x"}, {"owner": "x"}])
    def test_another_request_with_it_is_refused(self, desk: Desk, resource: str, other: dict[str, str]) -> None:
        chosen = resource.replace("/", "_")
        desk.granted("alice", resource, id=chosen)
        assert desk.acquire("alice", resource, id=chosen, **other).status == 409
        assert desk.acquire("alice", resource + "x", id=chosen).status == 409

    def test_another_principal_cannot_have_it(self, desk: Desk, resource: str) -> None:
        chosen = resource.replace("/", "_")
        lock = desk.granted("alice", resource, id=chosen)
        reply = desk.acquire("bob", resource, id=chosen)
        assert reply.status == 409
        assert lock["token"].encode() not in reply.answer.body

    def test_one_id_is_one_lock_so_a_request_that_comes_late_grants_nothing(self, desk: Desk, resource: str) -> None:
        chosen = resource.replace("/", "_")
        lock = desk.granted("alice", resource, id=chosen)
        desk.release("alice", lock)
        reply = desk.acquire("alice", resource, id=chosen)
        assert reply.status == 409
        assert reply.problem["ended"]["how"] == "released"
        assert desk.ask("alice", "GET", f"/api/locks?resource={resource}").json["locks"] == []

    @pytest.mark.parametrize("bad", ["", "a b", "a/b", "a" * 65, "ä", "a\n", "refresh"])
    def test_an_id_has_letters_digits_hyphens_and_underscores(self, desk: Desk, resource: str, bad: str) -> None:
        assert desk.acquire("alice", resource, id=bad).status == 422


class TestIdempotencyKey:
    """draft-ietf-httpapi-idempotency-key-header."""

    def test_the_same_request_with_the_same_key_gets_the_same_grant(self, desk: Desk, resource: str) -> None:
        key = {"Idempotency-Key": f'"key of {resource}"'}
        first = desk.acquire("alice", resource, key)
        again = desk.acquire("alice", resource, key)
        assert (first.status, again.status) == (201, 200)
        assert again["token"] == first["token"]

    def test_another_request_with_the_key_is_422(self, desk: Desk, resource: str) -> None:
        key = {"Idempotency-Key": f'"key of {resource}"'}
        desk.acquire("alice", resource, key)
        assert desk.acquire("alice", resource, key, scope="shared").status == 422

    def test_a_key_is_its_principals_own(self, desk: Desk, resource: str) -> None:
        key = {"Idempotency-Key": f'"key of {resource}"'}
        desk.acquire("alice", resource, key)
        assert desk.acquire("bob", resource, key).status == 423
        assert desk.acquire("bob", resource + "x", key).status == 201

    def test_the_id_of_the_body_comes_first(self, desk: Desk, resource: str) -> None:
        key = {"Idempotency-Key": f'"key of {resource}"'}
        chosen = resource.replace("/", "_")
        assert desk.acquire("alice", resource, key, id=chosen)["id"] == chosen

    def test_a_bare_key_is_taken_too(self, desk: Desk, resource: str) -> None:
        key = {"Idempotency-Key": f"bare-{resource}"}
        assert [desk.acquire("alice", resource, key).status for _ in range(2)] == [201, 200]

    @pytest.mark.parametrize("bad", ["", '""', '"' + "a" * 256 + '"', '"a', "a b"])
    def test_what_is_no_key_is_400(self, desk: Desk, resource: str, bad: str) -> None:
        assert desk.acquire("alice", resource, {"Idempotency-Key": bad}).status == 400
