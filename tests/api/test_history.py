"""GET /api/history: what happened, in order, for audit."""

from __future__ import annotations

from tests.api.desk import Desk


def kinds(desk: Desk, query: str) -> list[tuple[str, str]]:
    events = desk.ask("rita", "GET", f"/api/history?{query}").json["events"]
    return [(event["kind"], event["actor"]) for event in events]


def test_each_grant_and_each_end_is_there_with_who_and_why(desk: Desk, resource: str) -> None:
    desk.release("alice", desk.granted("alice", resource, reason="first"))
    desk.break_("root", desk.granted("alice", resource), "second")
    desk.granted("bob", resource, ttl=10)
    desk.later(11)
    desk.served.application.service.sweep()
    assert kinds(desk, f"under={resource}") == [
        ("granted", "alice"),
        ("released", "alice"),
        ("granted", "alice"),
        ("broken", "root"),
        ("granted", "bob"),
        ("expired", ""),
    ]
    events = desk.ask("rita", "GET", f"/api/history?under={resource}").json["events"]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert [event["reason"] for event in events][:4] == ["first", "first", "", "second"]
    assert events[0]["fencing_token"] == events[1]["fencing_token"] < events[2]["fencing_token"]


def test_pages_go_on_where_the_last_one_ended(desk: Desk, resource: str) -> None:
    for _ in range(3):
        desk.release("alice", desk.granted("alice", resource))
    whole = desk.ask("alice", "GET", f"/api/history?under={resource}").json
    seen: list[object] = []
    after, more = 0, True
    while more:
        page = desk.ask("alice", "GET", f"/api/history?under={resource}&limit=4&after={after}").json
        seen.extend(page["events"])
        after, more = page["next"], page["more"]
    assert seen == whole["events"]
    assert not whole["more"]
    assert desk.ask("alice", "GET", f"/api/history?after={after}").json["events"] == []


def test_of_one_lock(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource)
    desk.release("alice", lock)
    desk.granted("alice", resource)
    assert kinds(desk, f"lock={lock['id']}") == [("granted", "alice"), ("released", "alice")]


def test_the_newest_come_first_where_that_is_asked_for(desk: Desk, resource: str) -> None:
    for _ in range(3):
        desk.release("alice", desk.granted("alice", resource))
    forwards = desk.ask("alice", "GET", f"/api/history?under={resource}").json["events"]
    seen: list[object] = []
    before, more = "", True
    while more:
        page = desk.ask("alice", "GET", f"/api/history?under={resource}&order=newest&limit=4{before}").json
        assert len(page["events"]) <= 4
        seen.extend(page["events"])
        before, more = f"&before={page['next']}", page["more"]
    assert seen == forwards[::-1]
    assert desk.ask("alice", "GET", f"/api/history?order=newest{before}").json["events"] == []


def test_between_two_seqs_in_either_order(desk: Desk, resource: str) -> None:
    for _ in range(3):
        desk.release("alice", desk.granted("alice", resource))
    seqs = [event["seq"] for event in desk.ask("alice", "GET", f"/api/history?under={resource}").json["events"]]
    for order, expected in (("oldest", seqs[1:5]), ("newest", seqs[4:0:-1])):
        query = f"under={resource}&after={seqs[0]}&before={seqs[5]}&order={order}"
        page = desk.ask("alice", "GET", f"/api/history?{query}").json
        assert [event["seq"] for event in page["events"]] == expected
        assert not page["more"]


def test_of_one_principal_as_holder_or_as_whoever_did_it(desk: Desk, resource: str) -> None:
    desk.break_("root", desk.granted("alice", resource), "too long")
    desk.release("bob", desk.granted("bob", resource))
    assert kinds(desk, f"under={resource}&principal=root") == [("broken", "root")]
    assert kinds(desk, f"under={resource}&principal=alice") == [("granted", "alice"), ("broken", "root")]
