"""Breaking a lock, at once or after a grace; breaking one and acquiring in the same step; taking over one's own."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.api.desk import Desk
from tests.api.listening import listening


def test_an_administrator_breaks_a_lock_and_its_holder_is_told(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    reply = desk.break_("root", lock, "left for the weekend")
    assert reply.status == 200
    assert (reply["how"], reply["by"], reply["reason"]) == ("broken", "root", "left for the weekend")
    assert desk.acquire("bob", resource).status == 201
    for told in (desk.refresh("alice", lock), desk.release("alice", lock), desk.describe("alice", lock)):
        assert told.status == 410
        assert "broken by root" in told.problem["detail"]
        assert "left for the weekend" in told.problem["detail"]
        assert (told["ended"]["how"], told["ended"]["by"]) == ("broken", "root")


def test_it_is_told_for_a_day(desk: Desk, resource: str) -> None:
    """A day is the least time that the record can be kept for."""
    lock = desk.granted("alice", resource)
    desk.break_("root", lock)
    desk.later(86_390)
    desk.served.application.service.trim(timedelta(days=1))
    assert desk.refresh("alice", lock).problem["ended"]["by"] == "root"


def test_only_administrators_of_the_resource_and_its_creator_may(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    assert desk.break_("bob", lock).status == 403
    assert desk.break_("lead", lock).status == 403
    assert desk.break_("alice", lock).status == 200
    team = desk.granted("tom", "/team/break")
    assert desk.break_("lead", team).status == 200
    assert desk.break_("root", {"id": "none"}).status == 404


def test_breaking_it_again_gives_the_same_answer_and_otherwise_it_is_gone(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    first = desk.break_("root", lock)
    again = desk.break_("root", lock)
    assert (again.status, again.json) == (200, first.json)
    assert desk.break_("root", lock, "another reason").status == 410
    released = desk.granted("alice", resource)
    desk.release("alice", released)
    assert desk.break_("root", released).status == 410


def test_a_break_needs_a_reason(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    assert desk.break_("root", lock, "").status == 422
    assert desk.ask("root", "POST", f"{lock['url']}/break", {}).status == 422


class TestGrace:
    """`after`: the holder can finish."""

    def test_the_lock_ends_after_it_and_refreshing_does_not_help(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, ttl=600)
        reply = desk.break_("root", lock, "upgrade", after=60)
        assert reply.status == 202
        assert (reply["breaking"]["by"], reply["breaking"]["reason"], reply["expires_in"]) == ("root", "upgrade", 60)
        desk.later(30)
        assert desk.refresh("alice", lock, ttl=600)["expires_in"] == 30
        assert desk.describe("bob", lock)["breaking"]["by"] == "root"
        desk.later(31)
        assert desk.describe("alice", lock).problem["ended"]["how"] == "broken"
        assert desk.refresh("alice", lock).problem["ended"]["reason"] == "upgrade"
        assert desk.acquire("bob", resource).status == 201

    def test_it_is_in_the_record_with_the_instant_by_which_the_lock_ends(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, ttl=600, reason="typing")
        desk.break_("root", lock, "upgrade", after=60)
        granted, breaking = desk.ask("rita", "GET", f"/api/history?lock={lock['id']}")["events"]
        assert (breaking["kind"], breaking["actor"], breaking["reason"]) == ("breaking", "root", "upgrade")
        assert (breaking["holder"], breaking["fencing_token"]) == ("alice", lock["fencing_token"])
        grace = datetime.fromisoformat(breaking["ends_at"]) - datetime.fromisoformat(breaking["at"])
        assert grace == timedelta(seconds=60)
        assert "ends_at" not in granted

    def test_one_that_comes_no_sooner_than_another_is_no_event(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        for after in (60, 600, 30):
            desk.break_("root", lock, after=after)
        events = desk.ask("rita", "GET", f"/api/history?lock={lock['id']}")["events"]
        assert [event["kind"] for event in events] == ["granted", "breaking", "breaking"]

    def test_the_holder_hears_of_it_at_once_and_its_refresh_says_so(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, ttl=600)
        with listening(desk.client("alice"), f"lock={lock['id']}&kind=breaking") as stream:
            desk.break_("root", lock, "upgrade", after=60.25)
            [told] = stream.take(1)
        assert (told["event"], told["data"]["reason"]) == ("breaking", "upgrade")
        refreshed = desk.refresh("alice", lock, ttl=600)
        assert (refreshed["breaking"]["by"], refreshed["breaking"]["reason"]) == ("root", "upgrade")
        assert 0 < refreshed["ttl"] <= 60.25
        assert lock["ttl"] == 600

    def test_within_it_the_holder_can_release(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        desk.break_("root", lock, after=60)
        assert desk.release("alice", lock).status == 204
        assert desk.describe("alice", lock).problem["ended"]["how"] == "released"

    def test_a_holder_that_asks_for_more_gets_all_of_it(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, ttl=10)
        assert desk.break_("root", lock, after=60)["expires_in"] == 10
        assert desk.refresh("alice", lock, ttl=600)["expires_in"] == 60

    def test_one_that_runs_out_before_has_expired(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, ttl=10)
        desk.break_("root", lock, after=60)
        desk.later(11)
        assert desk.describe("alice", lock).problem["ended"]["how"] == "expired"

    def test_the_soonest_break_counts(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        desk.break_("root", lock, "soon", after=60)
        assert desk.break_("root", lock, "late", after=600)["breaking"]["reason"] == "soon"
        assert desk.break_("root", lock, "sooner", after=30)["breaking"]["reason"] == "sooner"
        assert desk.break_("root", lock, "now")["reason"] == "now"

    def test_it_ends_a_lock_that_had_no_end(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("root", resource, ttl=None)
        desk.break_("root", lock, after=60)
        assert desk.refresh("root", lock, ttl=None)["expires_in"] == 60


class TestBreakAndAcquire:
    """Nobody can come in between."""

    def test_both_happen(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        mine = desk.granted("root", resource, **{"break": {"id": lock["id"], "reason": "urgent"}})
        assert mine["fencing_token"] > lock["fencing_token"]
        assert desk.refresh("alice", lock).problem["ended"]["reason"] == "urgent"

    def test_or_neither(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, scope="shared")
        desk.granted("bob", resource, scope="shared")
        reply = desk.acquire("root", resource, **{"break": {"id": lock["id"], "reason": "urgent"}})
        assert reply.status == 423
        assert [item["holder"]["name"] for item in reply["locks"]] == ["bob"]
        assert desk.refresh("alice", lock).status == 200

    def test_by_an_administrator_or_its_creator(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        order = {"break": {"id": lock["id"], "reason": "urgent"}}
        assert desk.acquire("bob", resource, **order).status == 403
        assert desk.refresh("alice", lock).status == 200
        assert desk.acquire("alice", resource, **order).status == 201

    def test_a_lock_that_has_ended_is_no_hindrance_and_one_that_never_was_is_404(
        self, desk: Desk, resource: str
    ) -> None:
        lock = desk.granted("alice", resource)
        desk.release("alice", lock)
        assert desk.acquire("root", resource, **{"break": {"id": "none", "reason": "x"}}).status == 404
        assert desk.acquire("root", resource, **{"break": {"id": lock["id"], "reason": "x"}}).status == 201

    def test_all_that_is_in_the_way(self, desk: Desk, resource: str) -> None:
        inside = [desk.granted("alice", f"{resource}/{number}") for number in range(3)]
        order = {"depth": "infinity", "break": {"reason": "upgrade"}}
        assert desk.acquire("bob", resource, **order).status == 403
        desk.granted("root", resource, **order)
        assert [desk.refresh("alice", lock)["ended"]["reason"] for lock in inside] == ["upgrade"] * 3

    def test_sent_again_it_gives_the_same_grant(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        wanted = {"id": resource.replace("/", "_"), "break": {"id": lock["id"], "reason": "urgent"}}
        first, again = (desk.acquire("root", resource, **wanted) for _ in range(2))
        assert (first.status, again.status) == (201, 200)
        assert first["token"] == again["token"]


class TestTakeOver:
    """One's own lock, from another place."""

    def test_a_new_lock_stands_where_the_old_one_did(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource, reason="typing", depth="infinity")
        reply = desk.ask("alice", "POST", f"{lock['url']}/take-over", {"owner": "at home", "ttl": 90})
        new = reply.json
        assert reply.status == 201
        assert reply.answer["Location"] == new["url"]
        assert new["id"] != lock["id"]
        assert new["token"] != lock["token"]
        assert new["fencing_token"] > lock["fencing_token"]
        assert (new["root"], new["depth"], new["reason"]) == (resource, "infinity", "typing")
        assert (new["holder"]["owner"], new["expires_in"]) == ("at home", 90)
        told = desk.refresh("alice", lock)
        assert (told.status, told["ended"]["reason"], told["ended"]["by"]) == (410, "taken over", "alice")

    def test_it_is_for_its_creator_only(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        for who in ("bob", "root", "rita"):
            assert desk.ask(who, "POST", f"{lock['url']}/take-over", {}).status == 403
        assert desk.ask("alice", "POST", "/api/locks/none/take-over", {}).status == 404
        desk.release("alice", lock)
        assert desk.ask("alice", "POST", f"{lock['url']}/take-over", {}).status == 410

    def test_a_lock_without_end_keeps_none(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("root", resource, ttl=None)
        assert desk.ask("root", "POST", f"{lock['url']}/take-over", {})["expires_at"] is None
