"""The statuses that all routes share, or most of them, brought about for each from its well-formed request."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Generator
from typing import Any

import pytest

from holdfast.access.throttle import FREE_FAILURES
from tests.api.cases import BODILY, ROUTE, case, cases, send
from tests.api.desk import Reply
from tests.api.listening import listening
from tests.api.stage import PARTS, Stage
from tests.serving import Answer, Served


@cases(400, list(ROUTE))
def unknown_parameter(stage: Stage, name: str) -> Reply:
    part = PARTS[name]
    return stage.desk.ask("alice", ROUTE[name].method, f"{part.target}?colour=red", part.body, {**part.fields})


@cases(401, list(ROUTE))
def nobody_asks(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "nobody", name)


@cases(421, list(ROUTE))
def another_host(stage: Stage, name: str) -> Reply:
    return send(stage.open, "nobody", name, Host="elsewhere.example")


@cases(429, list(ROUTE))
def guessed(stage: Stage, name: str) -> Reply:
    """Each guess that is looked at makes the next one wait longer, so that one of them comes too early."""
    part = PARTS[name]
    body = None if part.body is None else json.dumps(part.body).encode()
    fields = {"Content-Type": "application/json", **part.fields}
    for number in range(5 * FREE_FAILURES):
        guesser = stage.slowed.served.as_("mallory", f"{name} {number}")
        answer = guesser.request(ROUTE[name].method, part.target, body, fields)
        if answer.status == 429:
            return Reply(answer)
        assert answer.status == 401
    pytest.fail("guessing was not slowed")


@cases(431, list(ROUTE))
def large_head(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "alice", name, **{"X-Large": "x" * 70_000})


@cases(413, list(ROUTE))
def large_body(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "alice", name, b'{"resource": "/' + b"a" * 70_000 + b'"}')


@cases(415, list(ROUTE))
def another_kind_of_body(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "alice", name, b"<a/>", **{"Content-Type": "application/xml"})


@cases(422, BODILY)
def body_that_does_not_fit(stage: Stage, name: str) -> Reply:
    return send(stage.desk, "alice", name, [])


WRITING = ["acquireLock", "refreshLocks", "releaseLock", "refreshLock", "breakLock", "takeOverLock"]


@cases(503, WRITING)
def busy_store(stage: Stage, name: str) -> Reply:
    with stage.busy() as desk:
        return send(desk, "nobody", name)


@cases(503, ["findLocks", "describeLock", "checkChange", "checkForwarded", "readHistory", "describeSession"])
def one_connection_too_many(stage: Stage, name: str) -> Reply:
    served = stage.crowded.served
    # A refused connection is answered before it has said anything.
    with the_only_connection(served), socket.create_connection((served.host, served.port)) as second:
        response = http.client.HTTPResponse(second)
        response.begin()
        return Reply(Answer(response.status, response.headers, response.read()))


@contextlib.contextmanager
def the_only_connection(served: Served) -> Generator[None]:
    """One that has been answered, and so has its place; waits until the server has noticed that the one before is gone."""
    for _ in range(1000):
        with contextlib.suppress(ConnectionError), socket.create_connection((served.host, served.port)) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % served.host.encode())
            if first.recv(4096).startswith(b"HTTP/1.1 200"):
                yield
                return
    pytest.fail("the place of a connection that ended was not free again")


@case("followEvents", 503)
def one_stream_too_many(stage: Stage) -> Reply:
    with listening(stage.one_stream.client("rita")):
        return send(stage.one_stream, "alice", "followEvents")


def on_full_disk(stage: Stage, method: str, target: str, body: dict[str, Any]) -> Reply:
    return stage.full.desk.ask("alice", method, target, body)


@case("acquireLock", 507)
def one_lock_too_many(stage: Stage) -> Reply:
    assert stage.full.desk.acquire("alice", "/full/new").problem["status"] == 507
    return stage.capped.acquire("alice", "/capped/new")


@case("takeOverLock", 507)
def over_the_cap(stage: Stage) -> Reply:
    held = stage.full.locks[0]
    assert on_full_disk(stage, "POST", f"{held['url']}/take-over", {}).problem["status"] == 507
    assert stage.full.desk.describe("alice", held).status == 200
    [lock, _] = stage.capped.ask("alice", "GET", "/api/locks?under=/capped")["locks"]
    return stage.capped.ask("alice", "POST", f"{lock['url']}/take-over", {})


@case("refreshLocks", 507)
def refresh_many_on_full_disk(stage: Stage) -> Reply:
    held = stage.full.locks[1]
    return on_full_disk(
        stage, "POST", "/api/locks/refresh", {"locks": [{"id": held["id"], "token": held["token"], "ttl": 7200}]}
    )


@case("refreshLock", 507)
def refresh_on_full_disk(stage: Stage) -> Reply:
    held = stage.full.locks[2]
    return on_full_disk(stage, "POST", f"{held['url']}/refresh", {"token": held["token"], "ttl": 7200})


@case("releaseLock", 507)
def release_on_full_disk(stage: Stage) -> Reply:
    held = stage.full.locks[3]
    reply = on_full_disk(stage, "DELETE", held["url"], {"token": held["token"]})
    assert stage.full.desk.describe("alice", held).status == 200
    return reply


@case("breakLock", 507)
def break_on_full_disk(stage: Stage) -> Reply:
    return on_full_disk(stage, "POST", f"{stage.full.locks[4]['url']}/break", {"reason": "r"})


@case("checkChange", 507)
def check_on_full_disk(stage: Stage) -> Reply:
    """A body of unknown length that is too long for memory goes to the disk."""
    pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (70_000, b" " * 70_000)
    fields = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    return stage.full.desk.ask("alice", "POST", "/api/check", pieces, fields)
