"""While a resource is locked, only its holder's changes reach the application, and everyone else gets a right 423."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UserRecord
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from holdfast.edge.upstream import Upstream
from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from tests.edge.tiny import PATIENCE_S, Client, wait_until
from tests.guard.conftest import Noting
from tests.guard.standing import Peer, RawApplication, Standing
from tests.serving import serving

RESOURCE = "/orders/42"
LARGE = b"x" * 300_000


def locked(client: httpx.Client, resource: str = RESOURCE, **members: object) -> dict[str, str]:
    answer = client.post("/api/locks", json={"resource": resource, "ttl": 600, "reason": "Price list", **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


def held(lock: dict[str, str]) -> dict[str, str]:
    return {"If": f"(<{lock['token']}>)"}


def lock_by(guard: Standing, resource: str = RESOURCE) -> dict[str, str]:
    with httpx.Client(base_url=guard.url, timeout=30) as client:
        return locked(client, resource)


@pytest.fixture
def guard(guarding, application: Noting) -> Standing:
    return guarding(application)


@pytest.fixture
def client(guard: Standing) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guard.url, timeout=30) as client:
        yield client


def test_a_lock_stops_changes_before_the_application_and_lets_its_holder_through(client, application):
    assert client.put(RESOURCE, content=b"1").text == "from app"
    lock = locked(client)
    application.seen.clear()
    for method in ("PUT", "POST", "PATCH", "DELETE", "PROPPATCH", "BREW"):
        refused = client.request(method, RESOURCE, content=LARGE, headers={"Accept": "application/problem+json"})
        assert refused.status_code == 423
        told = refused.json()
        assert told["type"] == "urn:problem-type:holdfast:locked"
        assert told["resource"] == RESOURCE
        assert "Price list" in told["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert application.seen == []
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.request(method, RESOURCE + "?draft=1").status_code == 200
    assert client.put("/orders/43", content=b"1").text == "from app"
    assert client.put(RESOURCE + "?draft=1", content=LARGE, headers=held(lock)).text == "from app"
    assert client.put(RESOURCE, content=b"2", headers={"Lock-Token": f"<{lock['token']}>"}).text == "from app"
    assert application.seen == [
        ("GET /orders/42?draft=1", b""), ("HEAD /orders/42?draft=1", b""), ("OPTIONS /orders/42?draft=1", b""),
        ("PUT /orders/43", b"1"), ("PUT /orders/42?draft=1", LARGE), ("PUT /orders/42", b"2"),
    ]  # fmt: skip
    assert client.delete("/orders", headers={}).status_code == 423  # what is below would go with it
    client.delete(f"/api/locks/{lock['id']}", headers={"Lock-Token": f"<{lock['token']}>"})
    assert client.put(RESOURCE, content=b"3").text == "from app"


@pytest.mark.parametrize(
    ("method", "accept"),
    [
        ("PUT", "application/problem+json"), ("PUT", "application/json"), ("PUT", "*/*"), ("PUT", "text/html,*/*;q=0.1"),
        ("PUT", "application/xml"), ("PROPPATCH", None), ("DELETE", None), ("POST", "application/problem+json"),
    ],
)  # fmt: skip
def test_the_inspector_has_nothing_against_the_refusal(client, guard, method, accept):
    locked(client)
    fields = {"Accept": accept} if accept else {}
    body = b"x" if method != "DELETE" else b""
    request = httpx.Request(method, guard.url + RESOURCE, headers=fields, content=body)
    response = client.send(request)
    assert response.status_code == 423
    exchange = Exchange(
        request=SentRequest(
            method=method, url=str(request.url), fields=tuple(request.headers.multi_items()), body=body
        ),
        response=ReceivedResponse(
            status=response.status_code,
            reason=response.reason_phrase,
            fields=tuple(response.headers.multi_items()),
            body=response.content,
        ),
    )
    notes = [note for note in inspect(exchange).notes if note.level in {Level.BAD, Level.WARN}]
    assert notes == []


def test_where_a_refusal_leads_there_is_something(client):
    lock = locked(client)
    page = client.put(RESOURCE, content=b"x", headers={"Accept": "text/html"})
    assert f'href="/api/locks/{lock["id"]}"' in page.text
    assert client.get(f"/api/locks/{lock['id']}").json()["root"] == RESOURCE
    explained = client.get("/problems/locked")
    assert explained.status_code == 200
    assert "/simulator" not in explained.text
    _leads_to(client, f"/api/locks/{lock['id']}", "/problems/locked")


def test_other_addresses_below_api_are_the_applications(client, application):
    for target in ("/api/orders", "/api/lockses", "/api/checks", "/problems/other", "/locks/mine", "/metrics", "/"):
        assert client.get(target).text == "from app"
    assert len(application.seen) == 7


def test_a_lock_that_is_granted_while_an_upload_is_on_its_way_wins(guard, application):
    """The application never gets the last byte, so it has no whole request to act upon."""
    for number, framing in enumerate(("content-length: 200000\r\n", "transfer-encoding: chunked\r\n")):
        resource = f"/orders/{number}"
        data = b"x" * 100_000
        part = b"186a0\r\n" + data + b"\r\n" if "chunked" in framing else data
        with guard.connect() as bob:
            bob.send(f"PUT {resource} HTTP/1.1\r\nHost: localhost\r\nAccept: application/problem+json\r\n{framing}\r\n")
            bob.send(part)
            lock_by(guard, resource)
            bob.send(part)
            if "chunked" in framing:
                bob.send(b"0\r\n\r\n")
            answer = bob.answer()
        assert answer.status == 423
        assert json.loads(answer.body)["resource"] == resource
    assert application.seen == []


def test_the_holders_upload_ends_where_its_lock_does(guard, application):
    lock = lock_by(guard)
    with guard.connect() as ada:
        ada.send(
            f"PUT {RESOURCE} HTTP/1.1\r\nHost: localhost\r\nIf: (<{lock['token']}>)\r\nContent-Length: 4\r\n\r\nab"
        )
        guard.uptime.advance(601)
        lock_by(guard)
        ada.send(b"cd")
        assert ada.answer().status in {412, 423}
    assert application.seen == []


def test_a_lock_that_is_granted_while_the_application_is_being_reached_wins(guarding, tls_context):
    """The last byte of a request without a body is its head's: where connecting took a while, the locks are asked once more."""
    connecting, may_go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def handle(peer: Peer) -> None:
        connecting.set()
        assert may_go_on.wait(PATIENCE_S)
        with (
            contextlib.suppress(ssl.SSLEOFError),  # a request that is not to be made ends like this
            tls_context.wrap_socket(peer.socket.dup(), server_side=True) as secured,
        ):
            over_tls = Peer(secured)
            line, _ = over_tls.head()
            if line:
                seen.append(line)
                over_tls.answer()
            over_tls.file.close()

    with RawApplication(handle) as application:
        application.url = f"https://localhost:{application.port}"
        guard = guarding(application)
        with guard.connect() as bob:
            bob.request("DELETE", RESOURCE)
            assert connecting.wait(PATIENCE_S)
            lock = lock_by(guard)
            may_go_on.set()
            assert bob.answer().status == 423
        assert seen == []
        connecting.clear()
        with guard.connect() as ada:
            assert ada.ask("DELETE", RESOURCE, fields=f"If: (<{lock['token']}>)\r\n").status == 200
        assert seen == [f"DELETE {RESOURCE} HTTP/1.1"]


def test_a_refusal_comes_before_a_body_is_asked_for(guard, application):
    lock_by(guard)
    with guard.connect() as bob:
        bob.send(f"PUT {RESOURCE} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        assert bob.answer().status == 423
    assert application.connections == 0


@pytest.mark.parametrize(
    "target", ["/orders%2F42", "/orders/../orders/42", "//orders/42", "/orders/%2e/42", "/orders\\42"]
)
def test_a_change_at_an_address_that_could_be_two_resources_is_refused(guard, application, target):
    with guard.connect() as bob:
        assert bob.ask("PUT", target, b"x").status == 400
    assert application.seen == []


@pytest.mark.parametrize("target", ["/orders/%34%32", "/orders/42/", "/%6frders/42"])
def test_other_spellings_are_the_same_resource(guard, application, target):
    lock_by(guard)
    with guard.connect() as bob:
        assert bob.ask("PUT", target, b"x").status == 423
    assert application.seen == []


def test_reading_is_never_asked_about(client, application):
    locked(client, "/", depth="infinity")
    assert client.get("/a%2Fb").text == "from app"
    assert application.seen == [("GET /a%2Fb", b"")]
    assert client.post("/new", content=b"x").status_code == 423


def test_outside_the_prefix_nobody_is_asked(guarding, application):
    guard = guarding(application, prefixes=(ResourcePath("/orders"), ResourcePath("/prices")))
    with httpx.Client(base_url=guard.url, timeout=30) as client:
        locked(client, "/", depth="infinity")
        assert client.put("/other", content=b"x").text == "from app"
        for method, target in (
            ("PUT", "/orders"),
            ("PUT", "/orders/1"),
            ("PUT", "/prices"),
            ("DELETE", "/"),
            ("PUT", "/%6Frders/1"),
        ):
            assert client.request(method, target).status_code == 423
        assert client.request("MOVE", "/other", headers={"Destination": "/orders/9"}).status_code == 423


def test_guard_only_leaves_all_addresses_to_the_application(guarding, application, tmp_path: Path):
    other = guarding(application, locks=tmp_path / "shared.db")
    lock = lock_by(other)
    guard = guarding(application, locks=tmp_path / "shared.db", shows_locks=False)
    with httpx.Client(base_url=guard.url, timeout=30) as client:
        for target in ("/api/locks", "/problems/locked", f"/locks/{lock['id']}"):
            assert client.get(target).text == "from app"
        refused = client.put(RESOURCE, content=b"x")
        assert refused.status_code == 423, "two guards share one file"
        assert refused.headers["Link"] == '</.holdfast/locked>; rel="help"'
        assert "url" not in refused.json()["locks"][0]
        _leads_to(client, "/.holdfast/locked")


def _leads_to(client: httpx.Client, *expected: str) -> None:
    """The links of a 423's page, which the guard itself answers."""
    page = client.put(RESOURCE, content=b"x", headers={"Accept": "text/html"})
    assert page.status_code == 423
    found = re.findall(r'href="(/[^"]*)"', page.text)
    assert found == list(expected)
    for target in found:
        answer = client.get(target)
        assert (answer.status_code, answer.text != "from app") == (200, True), target
        if target == expected[-1]:
            assert "423 Locked" in answer.text
            assert 'href="/' not in answer.text


def test_a_guard_without_users_answers_to_its_own_names_alone(guard, guarding, application):
    """A page of another site could have its name lead here (DNS rebinding)."""
    with guard.connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert client.answer().status == 421
    named = guarding(application, host_names=("app.example",))
    with named.connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        assert client.answer().status == 200


def test_a_file_of_locks_that_another_process_keeps_busy_is_soon_a_503(guarding, application, tmp_path: Path):
    """All that passes waits for it meanwhile."""
    guard = guarding(application, locks=tmp_path / "busy.db")
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "busy.db", isolation_level=None)) as other,
        httpx.Client(base_url=guard.url, timeout=8) as client,
    ):
        other.execute("BEGIN IMMEDIATE")
        refused = client.post("/api/locks", json={"resource": RESOURCE, "ttl": 60})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get("/").text == "from app"
        other.execute("ROLLBACK")
        locked(client)


class TestUsers:
    """People log in at the guard."""

    @pytest.fixture
    def guard(self, guarding, application) -> Standing:
        hashes = Passwords()
        people = tuple(
            UserRecord(name, hashes.hash(f"{name}-secret"), (Grant(role),))
            for name, role in (("ada", Role.WRITER), ("bob", Role.WRITER))
        )
        return guarding(application, users=people)

    def test_the_lock_is_adas_and_bob_is_told_so(self, guard, application):
        with (
            httpx.Client(base_url=guard.url, auth=("ada", "ada-secret"), timeout=30) as ada,
            httpx.Client(base_url=guard.url, auth=("bob", "bob-secret"), timeout=30) as bob,
        ):
            lock = locked(ada)
            refused = bob.put(RESOURCE, content=LARGE, headers=held(lock))
            assert refused.status_code == 423
            assert refused.json()["locks"][0]["holder"]["name"] == "ada"
            assert ada.put(RESOURCE, content=LARGE, headers=held(lock)).text == "from app"
        assert application.seen == [(f"PUT {RESOURCE}", LARGE)]

    def test_nobody_gets_by_unknown(self, guard, application):
        for method, status in (("GET", 401), ("PUT", 401), ("OPTIONS", 200)):
            answer = httpx.request(method, guard.url + RESOURCE, timeout=30)
            assert answer.status_code == status
        assert httpx.get(guard.url, auth=("ada", "wrong"), timeout=30).status_code == 401
        assert [line for line, _ in application.seen] == [f"OPTIONS {RESOURCE}"]

    def test_prefixes_narrow_what_is_locked_and_not_who_gets_by(self, guarding, application):
        person = UserRecord("ada", Passwords().hash("ada-secret"), (Grant(Role.WRITER),))
        guard = guarding(application, users=(person,), prefixes=(ResourcePath("/orders"),))
        for method, status in (("GET", 401), ("DELETE", 401), ("OPTIONS", 200)):
            answer = httpx.request(method, f"{guard.url}/secret", timeout=30)
            assert answer.status_code == status
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert httpx.delete(f"{guard.url}/secret", auth=("ada", "ada-secret"), timeout=30).text == "from app"
        assert [line for line, _ in application.seen] == ["OPTIONS /secret", "DELETE /secret"]


class TestUserField:
    """A proxy before the guard names the person."""

    def test_a_trusted_proxys_word_counts(self, guarding, application):
        guard = guarding(application, user_field="x-remote-user", admins=frozenset({"root"}))
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            ada, bob, root = ({"X-Remote-User": name} for name in ("ada", "bob", "root"))
            lock = client.post("/api/locks", json={"resource": RESOURCE, "ttl": 600}, headers=ada).json()
            refused = client.put(RESOURCE, content=b"x", headers=bob | held(lock))
            assert refused.json()["locks"][0]["holder"]["name"] == "ada"
            assert client.put(RESOURCE, content=b"x", headers=ada | held(lock)).text == "from app"
            assert client.put("/other", content=b"x").text == "from app", "who is not named is the application's affair"
            assert client.post("/api/locks", json={"resource": "/a", "ttl": 9}).status_code == 403
            assert (
                client.post(
                    "/api/locks", json={"resource": "/a", "ttl": 9}, headers={"X-Remote-User": "a/b"}
                ).status_code
                == 403
            )
            ending = {"json": {"reason": "left open"}}
            assert client.post(f"/api/locks/{lock['id']}/break", **ending, headers=bob).status_code == 403
            assert client.post(f"/api/locks/{lock['id']}/break", **ending, headers=root).status_code == 200

    def test_nobody_elses_does(self, guarding, application):
        guard = guarding(application, user_field="x-remote-user", trusted=frozenset({"192.0.2.1"}))
        answer = httpx.post(
            f"{guard.url}/api/locks", json={"resource": "/a", "ttl": 9}, headers={"X-Remote-User": "ada"}, timeout=30
        )
        assert answer.status_code == 403


class TestServer:
    """The locks are a Holdfast server's."""

    def test_it_is_asked_about_changes_and_has_its_addresses_here(self, guarding, application, tmp_path):
        folder = tmp_path / "served"
        folder.mkdir()
        with serving(folder) as server:
            guard = guarding(application, server=Upstream.parse(server.url))
            with (
                httpx.Client(base_url=guard.url, auth=("alice", "alice-secret"), timeout=30) as alice,
                httpx.Client(base_url=guard.url, auth=("bob", "bob-secret"), timeout=30) as bob,
            ):
                assert bob.put(RESOURCE, content=LARGE).text == "from app"
                lock = locked(alice)
                refused = bob.put(RESOURCE, content=LARGE, headers={"Accept": "application/problem+json"})
                assert refused.status_code == 423
                assert refused.json()["locks"][0]["holder"]["name"] == "alice"
                assert len(refused.headers.get_list("date")) == 1
                assert alice.put(RESOURCE, content=LARGE, headers=held(lock)).text == "from app"
                assert bob.get(RESOURCE).text == "from app"
                assert httpx.put(guard.url + RESOURCE, content=b"x", timeout=30).status_code == 401
        assert [line for line, _ in application.seen] == [f"PUT {RESOURCE}", f"PUT {RESOURCE}", f"GET {RESOURCE}"]

    def test_a_lock_that_is_granted_there_meanwhile_wins(self, guarding, application, tmp_path):
        folder = tmp_path / "served"
        folder.mkdir()
        with serving(folder, users=None) as server:
            guard = guarding(application, server=Upstream.parse(server.url))
            with guard.connect() as bob:
                bob.send(f"PUT {RESOURCE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
                wait_until(lambda: application.connections)
                with httpx.Client(base_url=server.url, timeout=30) as client:
                    locked(client)
                bob.send(b"cd")
                assert bob.answer().status == 423
        assert application.seen == []

    def test_the_applications_host_is_not_told_to_the_server(self, guarding, application, tmp_path):
        folder = tmp_path / "served"
        folder.mkdir()
        with serving(folder, users=None) as server:
            guard = guarding(application, server=Upstream.parse(server.url), upstream_host="app.internal")
            with httpx.Client(base_url=guard.url, timeout=30) as client:
                locked(client)
                assert client.put(RESOURCE, content=b"x").status_code == 423

    @pytest.mark.parametrize("answer", [None, "200 OK", "302 Found", "500 Oops"])
    def test_where_it_cannot_be_asked_nothing_is_changed(self, guarding, application, answer):
        def handle(peer: Peer) -> None:
            peer.head()
            if answer is not None:
                peer.answer(b"?", status=answer)

        with RawApplication(handle) as server:
            guard = guarding(application, server=Upstream.parse(server.url))
            refused = httpx.put(guard.url + RESOURCE, content=LARGE, timeout=30)
            assert refused.status_code == 503
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.headers["Retry-After"] == "2"
            assert httpx.get(guard.url + RESOURCE, timeout=30).text == "from app"
        assert [line for line, _ in application.seen] == [f"GET {RESOURCE}"]

    @pytest.mark.parametrize("shows_locks", [True, False])
    def test_what_the_server_refuses_leads_to_the_guard(self, guarding, application, tmp_path, shows_locks):
        folder = tmp_path / "served"
        folder.mkdir()
        with serving(folder, users=None) as server, httpx.Client(base_url=server.url, timeout=30) as at_server:
            lock = locked(at_server)
            guard = guarding(application, server=Upstream.parse(server.url), shows_locks=shows_locks)
            with httpx.Client(base_url=guard.url, timeout=30) as client:
                if shows_locks:
                    refused = client.put(RESOURCE, content=b"x")
                    assert refused.json()["locks"][0]["url"] == f"/api/locks/{lock['id']}"
                    page = client.put(RESOURCE, content=b"x", headers={"Accept": "text/html"}).text
                    assert re.findall(r'href="(/[^"]*)"', page) == [f"/api/locks/{lock['id']}", "/problems/locked"]
                    assert client.get("/problems/locked").text != "from app"
                else:
                    refused = client.put(RESOURCE, content=b"x")
                    assert refused.headers["Link"] == '</.holdfast/locked>; rel="help"'
                    _leads_to(client, "/.holdfast/locked")

    def test_a_server_that_is_not_there_lets_nothing_through(self, guarding, application):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        guard = guarding(application, server=Upstream.parse(f"http://127.0.0.1:{port}"))
        assert httpx.put(guard.url + RESOURCE, content=b"x", timeout=30).status_code == 503
        assert application.seen == []

    def test_it_asks_with_its_token_for_the_person_that_a_proxy_names(self, guarding, application):
        asked: list[dict[str, str]] = []

        def handle(peer: Peer) -> None:
            while True:
                line, fields = peer.head()
                if not line:
                    return
                asked.append(fields)
                peer.send("HTTP/1.1 204 No Content\r\n\r\n")

        with RawApplication(handle) as server:
            guard = guarding(
                application, server=Upstream.parse(server.url), token="hf_secret", user_field="x-remote-user"
            )
            fields = {
                "X-Remote-User": "ada",
                "Authorization": "Bearer theirs",
                "X-Forwarded-User": "root",
                "Cookie": "a=b",
            }
            assert httpx.put(guard.url + RESOURCE + "?q", content=b"x", headers=fields, timeout=30).text == "from app"
            assert server.connections == 1
        told = asked[0]
        assert told["authorization"] == "Bearer hf_secret"
        assert told["x-forwarded-user"] == "ada"
        assert (told["x-forwarded-method"], told["x-forwarded-uri"]) == ("PUT", RESOURCE + "?q")
        assert "cookie" not in told


def test_connections_are_those_of_clients(guard: Standing):
    """Two requests on one connection, the first refused: the second is read from where the first ended."""
    lock_by(guard)
    with guard.connect() as bob:
        assert isinstance(bob, Client)
        assert bob.ask("PUT", RESOURCE, b"GET /smuggled HTTP/1.1\r\n\r\n").status == 423
        assert bob.ask("GET", "/next").body == b"from app"
