"""Acquiring at a Holdfast server, answer by answer: what is asked again, with which id, and what is given up. No network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.client.acquiring import Acquisition, Ask, Endpoint, Mine, refresh_many, release
from holdfast.client.drivers import run_sync
from holdfast.client.errors import LockedError, LockLostError, LostReason
from holdfast.client.exchange import ClientRequest, ClientResponse, Headers
from holdfast.client.held import Grant
from holdfast.client.holding import Loss, Refreshed
from holdfast.client.refusals import RefusedError, UnreachableError

HERE = Endpoint("http://127.0.0.1:4230")
CUT = UnreachableError("http://127.0.0.1:4230/", "cut")
UNSENT = UnreachableError("http://127.0.0.1:4230/", "refused", was_sent=False)

Answer = tuple[int, object] | tuple[int, object, dict[str, str]] | UnreachableError


def lock(name: str, ttl: float = 30, token: str = "urn:t") -> dict[str, Any]:
    return {
        "id": name, "root": "/a", "scope": "exclusive", "depth": "0", "holder": {"name": "ada", "owner": "", "client": ""},
        "reason": "", "since": "2026-05-04T09:00:00Z", "expires_at": "2026-05-04T09:00:30Z", "expires_in": int(ttl),
        "queue_length": 0, "url": f"/api/locks/{name}", "token": token, "fencing_token": 7, "ttl": ttl,
    }  # fmt: skip


ENDED = {
    "title": "Conflict", "status": 409, "detail": "This id has been used.",
    "ended": {
        "lock_id": "x", "root": "/a", "scope": "exclusive", "depth": "0", "holder": "ada", "how": "expired",
        "at": "2026-05-04T09:00:30Z", "by": "", "reason": "",
    },
}  # fmt: skip
LOCKED = {
    "title": "Locked",
    "status": 423,
    "detail": "bob has locked /a.",
    "resource": "/a",
    "retry_after": 5,
    "locks": [],
}


class World:
    """A clock, a network that gives the answers one after the other, and what was sent."""

    def __init__(self, *answers: Answer | Callable[[dict[str, Any]], Answer], takes: float = 0.01) -> None:
        self.answers = list(answers)
        self.now = 1000.0
        self.takes = takes
        self.sent: list[ClientRequest] = []
        self.slept: list[float] = []

    def send(self, request: ClientRequest) -> ClientResponse:
        self.sent.append(request)
        self.now += self.takes
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer(self.body(-1))
        if isinstance(answer, UnreachableError):
            raise answer
        status, body, *fields = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = Headers((fields[0] if fields else {}).items())
        return ClientResponse(status=status, url=request.url, headers=headers, body=content, method=request.method)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def body(self, number: int) -> dict[str, Any]:
        content = self.sent[number].body
        return json.loads(content) if isinstance(content, bytes) else {}

    def run(self, flow: Any) -> Any:
        return run_sync(flow, self.send, self.sleep, lambda: self.now)

    def acquire(self, **members: Any) -> Grant:
        return self.run(Acquisition(HERE, Ask(resource="/a", ttl=30, **members)).run())

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.removeprefix(HERE.base)}" for request in self.sent]


def granted(body: dict[str, Any]) -> Answer:
    return 201, lock(body["id"])


def given_again(body: dict[str, Any]) -> Answer:
    return 200, lock(body["id"])


def refreshed(body: dict[str, Any]) -> Answer:
    return 200, {"results": [{"id": item["id"], "status": 200, "lock": lock(item["id"])} for item in body["locks"]]}


def test_the_deadline_counts_from_before_the_request() -> None:
    world = World(granted, takes=2.0)
    grant = world.acquire()
    assert (grant.asked_at, grant.ttl, grant.fencing_token) == (1000.0, 30, 7)


def test_what_was_granted_after_a_wait_is_refreshed_for_a_deadline_of_its_own() -> None:
    world = World(granted, refreshed, takes=20.0)
    grant = world.acquire(wait=60)
    assert (grant.asked_at, grant.ttl) == (1020.0, 30)
    assert world.paths == ["POST /api/locks", "POST /api/locks/refresh"]


def test_a_wait_goes_in_slices_with_one_id() -> None:
    world = World((423, LOCKED), (423, LOCKED), granted, refreshed, takes=50.0)
    world.acquire(wait=120)
    assert [world.body(number)["wait"] for number in range(3)] == [50, 50, 20]
    assert len({world.body(number)["id"] for number in range(3)}) == 1
    assert world.slept == []


def test_who_is_not_let_into_the_line_asks_again_after_what_the_server_says() -> None:
    world = World((423, LOCKED, {"Retry-After": "5"}), granted)
    world.acquire(wait=60)
    assert 3.75 <= world.slept[0] <= 6.25


def test_without_a_wait_a_refusal_is_final() -> None:
    with pytest.raises(LockedError) as caught:
        World((423, LOCKED)).acquire()
    assert (caught.value.waited, caught.value.attempts) == (0.0, 1)


def test_a_lost_answer_is_asked_for_with_the_same_id_also_without_a_wait() -> None:
    world = World(CUT, CUT, given_again, refreshed)
    grant = world.acquire()
    assert {world.body(number)["id"] for number in range(3)} == {grant.id}
    assert grant.asked_at > 1000.0


def test_it_is_not_asked_for_ever() -> None:
    world = World(*[CUT] * 50)
    with pytest.raises(UnreachableError):
        world.acquire()
    assert world.now < 1010
    assert len(world.sent) < 15


def test_what_was_surely_not_sent_is_not_asked_again_without_a_wait() -> None:
    world = World(UNSENT)
    with pytest.raises(UnreachableError):
        world.acquire()
    assert len(world.sent) == 1


def test_a_grant_that_ended_unheard_is_replaced_under_a_new_id() -> None:
    world = World(CUT, (409, ENDED), granted)
    world.acquire()
    assert world.body(0)["id"] == world.body(1)["id"] != world.body(2)["id"]


def test_an_id_of_the_callers_own_is_not_replaced() -> None:
    with pytest.raises(RefusedError, match="has been used"):
        World((409, ENDED)).acquire(id="mine")


def test_a_grant_that_is_gone_before_it_can_be_refreshed_is_replaced() -> None:
    gone = {"results": [{"id": "x", "status": 410, "problem": ENDED | {"status": 410}}]}
    world = World(CUT, given_again, (200, gone), granted)
    world.acquire()
    assert world.body(1)["id"] != world.body(3)["id"]


def test_but_not_for_a_caller_who_named_it() -> None:
    gone = {"results": [{"id": "mine", "status": 410, "problem": ENDED | {"status": 410}}]}
    with pytest.raises(LockLostError) as caught:
        World(given_again, (200, gone)).acquire(id="mine")
    assert caught.value.reason is LostReason.EXPIRED


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    world = World((status, b"", {"Retry-After": "3"}), granted)
    world.acquire(wait=20)
    assert world.slept == [3.0]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 409, 422, 507])
def test_other_refusals_are_final(status: int) -> None:
    world = World((status, {"title": "No", "status": status, "detail": "It may not be."}))
    with pytest.raises(RefusedError) as caught:
        world.acquire(wait=60)
    assert caught.value.status == status
    assert len(world.sent) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", {"id": 5}, b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_no_grant_is_an_error_without_secrets(body: object) -> None:
    with pytest.raises(RefusedError, match="no lock API of Holdfast"):
        World((201, body)).acquire()


def test_who_goes_away_gives_back_what_may_have_been_granted() -> None:
    world = World(CUT, given_again, (204, b""))
    acquisition = Acquisition(HERE, Ask(resource="/a", ttl=30))
    flow = acquisition.run()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sync(flow, world.send, interrupt, lambda: world.now)
    assert acquisition.is_unsure
    world.run(acquisition.abandon())
    assert world.paths == ["POST /api/locks", "POST /api/locks", f"DELETE /api/locks/{acquisition.id}"]
    assert "wait" not in world.body(1)


IN_LINE = LOCKED | {"queue_length": 1, "position": 1, "type": "urn:problem-type:holdfast:locked", "instance": "/a"}


def test_who_waits_no_longer_leaves_the_line_unless_the_id_is_the_caller_s_own() -> None:
    world = World((423, IN_LINE), (204, b""), takes=60.0)
    with pytest.raises(LockedError):
        world.acquire(wait=50)
    assert world.paths == ["POST /api/locks", f"DELETE /api/locks/{world.body(0)['id']}"]
    assert "Lock-Token" not in world.sent[1].headers
    unheard = World((423, IN_LINE), CUT, takes=60.0)
    with pytest.raises(LockedError):
        unheard.acquire(wait=50)
    named = World((423, IN_LINE), takes=60.0)
    with pytest.raises(LockedError):
        named.acquire(wait=50, id="mine")
    assert named.paths == ["POST /api/locks"]


def test_nothing_is_given_back_where_nothing_was_asked_or_the_caller_can_ask_again() -> None:
    World().run(Acquisition(HERE, Ask(resource="/a")).abandon())
    named = Acquisition(HERE, Ask(resource="/a", id="mine"))
    named.is_unsure = True
    World().run(named.abandon())


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (((204, b""),), None),
        ((CUT, (204, b"")), None),
        (((503, b""), CUT, (204, b"")), None),
        (((404, {"title": "Not Found", "status": 404}),), LostReason.GONE),
        (((410, ENDED | {"status": 410}),), LostReason.EXPIRED),
    ],
)
def test_a_release_is_sent_until_it_is_answered(answers: tuple[Answer, ...], reason: LostReason | None) -> None:
    outcome = World(*answers).run(release(HERE, "x", "urn:t"))
    assert (outcome.reason if isinstance(outcome, Loss) else outcome) is reason


def test_a_release_is_given_up_after_a_while() -> None:
    world = World(*[CUT] * 50)
    with pytest.raises(UnreachableError):
        world.run(release(HERE, "x", "urn:t", 3.0))
    assert world.now < 1004


def test_no_more_time_is_counted_on_than_was_granted_to_the_microsecond() -> None:
    """`expires_in` tells whole seconds, rounded up, for people."""
    breaking = {"at": "2026-05-04T09:01:00Z", "by": "root", "reason": "upgrade"}
    told = lock("x", 0.25) | {"expires_in": 1, "breaking": breaking}
    world = World((200, {"results": [{"id": "x", "status": 200, "lock": told}]}))
    asked_at = world.now
    [outcome] = world.run(refresh_many(HERE, [Mine("x", "urn:t", 60)], 5))
    assert isinstance(outcome, Refreshed)
    assert (outcome.asked_at, outcome.ttl) == (asked_at, 0.25)
    assert outcome.breaking is not None
    assert (outcome.breaking.reason, outcome.breaking.by, outcome.breaking.why) == (
        LostReason.BROKEN,
        "root",
        "upgrade",
    )
