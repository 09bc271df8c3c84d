"""The statuses that are particular to a route, each brought about in the way that is its own."""

from __future__ import annotations

from typing import Any

from tests.api.cases import case, cases, send
from tests.api.desk import Reply, new_resource
from tests.api.listening import listening
from tests.api.stage import ID, TOKEN, Stage
from tests.serving import Answer

# -- acquire, find --------------------------------------------------------------------------------------


@case("acquireLock", 200)
def acquired_again(stage: Stage) -> Reply:
    resource = new_resource()
    name = resource.replace("/", "_")
    first = stage.desk.granted("alice", resource, id=name)
    reply = stage.desk.acquire("alice", resource, id=name)
    assert reply.json == first
    return reply


@case("acquireLock", 201)
def acquired(stage: Stage) -> Reply:
    reply = stage.desk.acquire("alice", new_resource())
    assert reply.answer["Location"] == reply["url"]
    return reply


@case("acquireLock", 403)
def acquired_by_a_reader(stage: Stage) -> Reply:
    return stage.desk.acquire("rita", new_resource())


@case("acquireLock", 404)
def break_first_of_the_unknown(stage: Stage) -> Reply:
    return stage.desk.acquire("alice", new_resource(), **{"break": {"id": ID, "reason": "r"}})


@case("acquireLock", 409)
def acquired_with_a_used_id(stage: Stage) -> Reply:
    resource = new_resource()
    name = resource.replace("/", "_")
    stage.desk.release("alice", stage.desk.granted("alice", resource, id=name))
    reply = stage.desk.acquire("alice", resource, id=name)
    assert reply.problem["ended"]["how"] == "released"
    return reply


@case("acquireLock", 423)
def acquired_where_locked(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    return is_locked_by(stage.desk.acquire("bob", held["root"]), held)


def is_locked_by(reply: Reply, held: dict[str, Any]) -> Reply:
    """The same reply, which names the lock in the way and not its token."""
    assert [lock["id"] for lock in reply.problem["locks"]] == [held["id"]]
    assert f"<{held['url']}>" in reply.answer["Link"]
    assert 1 <= int(reply.answer["Retry-After"]) <= 60
    assert held["token"].encode() not in reply.answer.body
    return reply


@case("findLocks", 200)
def found(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = stage.desk.ask("rita", "GET", f"/api/locks?resource={held['root']}")
    assert [lock["id"] for lock in reply["locks"]] == [held["id"]]
    return reply


# -- by id ----------------------------------------------------------------------------------------------


def expired(stage: Stage) -> dict[str, Any]:
    """A lock of alice's that is over."""
    held = stage.desk.granted("alice", new_resource(), ttl=5)
    stage.desk.later(6)
    return held


def tells_the_end(reply: Reply, held: dict[str, Any]) -> Reply:
    """The same reply, which says how the lock ended."""
    assert (reply.problem["ended"]["lock_id"], reply.problem["ended"]["how"]) == (held["id"], "expired")
    return reply


@case("describeLock", 200)
def described(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = stage.desk.describe("rita", held)
    assert "token" not in reply.json
    return reply


@cases(404, ["describeLock", "releaseLock", "refreshLock", "breakLock", "takeOverLock"])
def unknown_id(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "alice", name)


@case("describeLock", 410)
def described_after_its_end(stage: Stage) -> Reply:
    held = expired(stage)
    return tells_the_end(stage.desk.describe("rita", held), held)


@case("releaseLock", 204)
def released(stage: Stage) -> Reply:
    return stage.desk.release("alice", stage.desk.granted("alice", new_resource()))


@case("releaseLock", 403)
def released_by_another(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = stage.desk.release("bob", held)
    assert stage.desk.describe("alice", held).status == 200
    return reply


@case("releaseLock", 410)
def released_after_its_end(stage: Stage) -> Reply:
    held = expired(stage)
    return tells_the_end(stage.desk.release("alice", held), held)


@case("refreshLock", 200)
def refreshed(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource(), ttl=60)
    reply = stage.desk.refresh("alice", held, ttl=600)
    assert (reply["expires_in"], reply["token"]) == (600, held["token"])
    return reply


@case("refreshLock", 403)
def refreshed_with_another_token(stage: Stage) -> Reply:
    return stage.desk.refresh("alice", {**stage.desk.granted("alice", new_resource()), "token": TOKEN})


@case("refreshLock", 410)
def refreshed_after_its_end(stage: Stage) -> Reply:
    held = expired(stage)
    return tells_the_end(stage.desk.refresh("alice", held), held)


@case("refreshLocks", 200)
def refreshed_each_apart(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    items = [{"id": held["id"], "token": held["token"]}, {"id": ID, "token": TOKEN}]
    reply = stage.desk.ask("alice", "POST", "/api/locks/refresh", {"locks": items})
    assert [result["status"] for result in reply["results"]] == [200, 404]
    return reply


@case("refreshLocks", 403)
def refreshed_without_end_by_a_writer(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    items = [{"id": held["id"], "token": held["token"], "ttl": None}]
    return stage.desk.ask("alice", "POST", "/api/locks/refresh", {"locks": items})


@case("breakLock", 200)
def broken(stage: Stage) -> Reply:
    reply = stage.desk.break_("root", stage.desk.granted("alice", new_resource()), "left open")
    assert (reply["how"], reply["by"], reply["reason"]) == ("broken", "root", "left open")
    return reply


@case("breakLock", 202)
def broken_after_a_grace(stage: Stage) -> Reply:
    reply = stage.desk.break_("root", stage.desk.granted("alice", new_resource()), after=60)
    assert reply["breaking"]["by"] == "root"
    return reply


@case("breakLock", 403)
def broken_by_another_writer(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = stage.desk.break_("bob", held)
    assert stage.desk.describe("alice", held).status == 200
    return reply


@case("breakLock", 410)
def broken_after_its_end(stage: Stage) -> Reply:
    held = expired(stage)
    return tells_the_end(stage.desk.break_("root", held), held)


def take_over(stage: Stage, who: str, held: dict[str, Any]) -> Reply:
    return stage.desk.ask(who, "POST", f"{held['url']}/take-over", {})


@case("takeOverLock", 201)
def taken_over(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = take_over(stage, "alice", held)
    assert reply["fencing_token"] > held["fencing_token"]
    assert reply["id"] != held["id"]
    return reply


@case("takeOverLock", 403)
def taken_over_by_another(stage: Stage) -> Reply:
    return take_over(stage, "bob", stage.desk.granted("alice", new_resource()))


@case("takeOverLock", 410)
def taken_over_after_its_end(stage: Stage) -> Reply:
    held = expired(stage)
    return tells_the_end(take_over(stage, "alice", held), held)


# -- check, record, session -----------------------------------------------------------------------------


@case("checkChange", 204)
def check_of_what_is_free(stage: Stage) -> Reply:
    return stage.desk.ask("alice", "POST", "/api/check", {"resource": new_resource()})


@case("checkChange", 403)
def check_for_somebody_else(stage: Stage) -> Reply:
    return stage.desk.ask("alice", "POST", "/api/check", {"resource": new_resource(), "principal": "bob"})


@case("checkChange", 423)
def check_of_what_is_locked(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    return is_locked_by(stage.desk.ask("bob", "POST", "/api/check", {"resource": held["root"]}), held)


def forwarded(stage: Stage, who: str, resource: str, **fields: str) -> Reply:
    told = {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": resource, **fields}
    return stage.desk.ask(who, "GET", "/api/check", headers=told)


@case("checkForwarded", 204)
def forwarded_about_what_is_free(stage: Stage) -> Reply:
    return forwarded(stage, "alice", new_resource())


@case("checkForwarded", 403)
def forwarded_about_what_may_not_be_read(stage: Stage) -> Reply:
    return forwarded(stage, "tom", new_resource())


@case("checkForwarded", 412)
def forwarded_with_a_false_condition(stage: Stage) -> Reply:
    return forwarded(stage, "alice", new_resource(), If=f"(<{TOKEN}>)")


@case("checkForwarded", 423)
def forwarded_about_what_is_locked(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    return is_locked_by(forwarded(stage, "bob", held["root"]), held)


@case("readHistory", 200)
def read(stage: Stage) -> Reply:
    held = stage.desk.granted("alice", new_resource())
    reply = stage.desk.ask("rita", "GET", f"/api/history?lock={held['id']}")
    assert [event["kind"] for event in reply["events"]] == ["granted"]
    return reply


@case("followEvents", 200)
def followed(stage: Stage) -> Reply:
    """The entries are `test_events`' to look at; here the first lines of a stream, which never ends by itself."""
    with listening(stage.desk.client("rita")) as stream:
        assert stream.response.readline() == b"retry: 2000\n"
        return Reply(Answer(stream.status, stream.response.headers, b""))


@case("describeSession", 200)
def who_am_i(stage: Stage) -> Reply:
    reply = stage.desk.ask("rita", "GET", "/api/session")
    assert (reply["name"], reply["grants"]) == ("rita", [{"role": "reader", "path": "/"}])
    return reply
