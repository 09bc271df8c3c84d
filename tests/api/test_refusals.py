"""What the API refuses before anything is looked at: each is problem+json and names what is wrong."""

from __future__ import annotations

import pytest

from holdfast.access.throttle import FREE_FAILURES
from tests.api.desk import Desk

POSTS = ["/api/locks", "/api/locks/refresh", "/api/locks/x/refresh", "/api/locks/x/break", "/api/locks/x/take-over"]
POSTS_ALL = [*POSTS, "/api/check"]


@pytest.mark.parametrize("target", POSTS_ALL)
def test_an_unknown_member_is_400_and_named(desk: Desk, target: str) -> None:
    reply = desk.ask("alice", "POST", target, {"sope": "shared"})
    assert reply.status == 400
    assert "sope" in reply.problem["detail"]


@pytest.mark.parametrize("target", POSTS_ALL)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":"\xff"}', b'{"resource":"\\ud800"}'])
def test_what_is_no_json_is_400(desk: Desk, target: str, body: bytes) -> None:
    assert desk.ask("alice", "POST", target, body).problem["status"] == 400


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"[" * 60_000])
@pytest.mark.parametrize("target", POSTS_ALL)
def test_what_is_no_object_is_422(desk: Desk, target: str, body: bytes) -> None:
    assert desk.ask("alice", "POST", target, body).problem["status"] == 422


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("resource", 1),
        ("resource", ""),
        ("resource", "no slash"),
        ("resource", "/a/../b"),
        ("resource", "/a%2fb"),
        ("resource", "/" + "a" * 300),
        ("scope", "both"),
        ("depth", "1"),
        ("depth", 0),
        ("ttl", 0),
        ("ttl", "60"),
        ("ttl", 2**31),
        ("wait", -1),
        ("owner", "x" * 1025),
        ("owner", "bell\u0007"),
        ("reason", "null\u0000"),
        ("break", {"id": "x"}),
        ("break", {"id": "", "reason": "x"}),
    ],
)
def test_a_value_that_does_not_fit_is_422_and_its_member_named(desk: Desk, member: str, value: object) -> None:
    reply = desk.ask("alice", "POST", "/api/locks", {"resource": "/a", member: value})
    assert reply.status == 422
    assert f"$.{member}" in reply.problem["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_page_of_another_site_could_send_is_415(desk: Desk, kind: str) -> None:
    reply = desk.ask("alice", "POST", "/api/locks", b'{"resource":"/a"}', {"Content-Type": kind})
    assert reply.status == 415


def test_json_may_say_its_charset(desk: Desk, resource: str) -> None:
    body = f'{{"resource":"{resource}"}}'.encode()
    assert (
        desk.ask("alice", "POST", "/api/locks", body, {"Content-Type": "Application/JSON; charset=utf-8"}).status == 201
    )


@pytest.mark.parametrize("target", [*POSTS_ALL, "/api/locks/x"])
def test_a_body_has_a_largest_size(desk: Desk, target: str) -> None:
    method = "DELETE" if target == "/api/locks/x" else "POST"
    large = b'{"resource": "/' + b"a" * 70_000 + b'"}'
    assert desk.ask("alice", method, target, large).problem["status"] == 413
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)
    assert desk.ask("alice", method, target, pieces, chunked).problem["status"] == 413


@pytest.mark.parametrize("target", ["/api/locks", "/api/history", "/api/locks/x", "/api/check"])
def test_a_get_takes_no_body(desk: Desk, target: str) -> None:
    assert desk.ask("alice", "GET", target, {}).problem["status"] == 415


@pytest.mark.parametrize(
    "query",
    [
        "nothing=1",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "scope=both",
        "scope=null",
        "resource=a",
        "limit",
        "a=%ff",
    ],
)
def test_a_query_that_does_not_fit_is_400(desk: Desk, query: str) -> None:
    assert desk.ask("alice", "GET", f"/api/locks?{query}").problem["status"] == 400


def test_an_unknown_parameter_is_named(desk: Desk) -> None:
    for target in ("/api/locks", "/api/history", "/api/check"):
        assert "colour" in desk.ask("alice", "GET", f"{target}?colour=red").problem["detail"]


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/api/locks", "GET, HEAD, OPTIONS, POST"),
        ("/api/locks/x", "DELETE, GET, HEAD, OPTIONS"),
        ("/api/locks/refresh", "OPTIONS, POST"),
        ("/api/locks/x/refresh", "OPTIONS, POST"),
        ("/api/locks/x/break", "OPTIONS, POST"),
        ("/api/locks/x/take-over", "OPTIONS, POST"),
        ("/api/check", "GET, HEAD, OPTIONS, POST"),
        ("/api/history", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_options_tells_which_there_are(desk: Desk, target: str, allowed: str) -> None:
    for method in ("PATCH", "PROPFIND", "LOCK"):
        reply = desk.ask("alice", method, target)
        assert (reply.problem["status"], reply.answer["Allow"]) == (405, allowed)
    told = desk.ask("nobody", "OPTIONS", target)
    assert (told.status, told.answer["Allow"]) == (204, allowed)


@pytest.mark.parametrize("target", ["/api", "/api/", "/api/locks/", "/api/locks/a%20b", "/api/locks/x/y", "/docs/x"])
def test_another_address_is_404(desk: Desk, target: str) -> None:
    assert desk.ask("alice", "GET", target).problem["status"] == 404


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", target) for target in POSTS_ALL]
    + [("GET", target) for target in ("/api/locks", "/api/locks/x", "/api/check", "/api/history", "/api/none")]
    + [("DELETE", "/api/locks/x")],
)
def test_nobody_gets_in_without_credentials(desk: Desk, method: str, target: str) -> None:
    reply = desk.ask("nobody", method, target, {} if method == "POST" else None)
    assert reply.problem["status"] == 401
    assert reply.answer["WWW-Authenticate"]


def test_guessing_is_slowed(desk: Desk) -> None:
    for number in range(FREE_FAILURES + 1):
        last = desk.served.as_("mallory", f"wrong-{number}").get("/api/locks")
    assert last.status == 429
    assert int(last["Retry-After"]) >= 1
