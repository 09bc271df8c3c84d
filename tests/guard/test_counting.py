"""What a guard counts, and who may read it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UserRecord
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from holdfast.edge.upstream import Upstream
from tests.guard.conftest import Noting
from tests.guard.standing import Peer, RawApplication, Standing
from tests.guard.test_locks import RESOURCE, locked
from tests.guard.test_upgrading import ASKING, accept
from tests.serving import serving

METRICS = "/.holdfast/metrics"


def counted(text: str) -> dict[str, float]:
    """Each series with its value."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def of_requests(face: str, method: str, status: int) -> str:
    return f'holdfast_requests_total{{face="{face}",method="{method}",status="{status}"}}'


def told(guard: Standing, **options: object) -> httpx.Response:
    return httpx.get(guard.url + METRICS, timeout=30, **options)  # type: ignore[arg-type]


def test_answers_refusals_failures_and_times_are_counted_by_who_gave_them(guarding):
    def handle(peer: Peer) -> None:
        line, fields = peer.head()
        peer.body(fields)
        if "/broken" in line:
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        elif "/own" in line:
            peer.answer(status="423 Locked", fields="Connection: close\r\n")
        elif "/gone" not in line:
            peer.answer(fields="Connection: close\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            assert client.put(RESOURCE, content=b"x").text == "ok"
            locked(client)
            for _ in range(2):
                assert client.put(RESOURCE, content=b"x").status_code == 423
            assert client.put("/own", content=b"x").status_code == 423
            assert client.get("/gone").status_code == 502
            with guard.connect() as raw:
                raw.request("GET", "/broken")
                assert raw.is_cut_off()
            assert client.get("/.holdfast/nothing").status_code == 404
            answer = client.get(METRICS)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = counted(answer.text)
    assert found[of_requests("application", "PUT", 200)] == 1
    assert found[of_requests("application", "PUT", 423)] == 1
    assert found[of_requests("guard", "PUT", 423)] == 2
    assert found[of_requests("guard", "GET", 502)] == 1
    assert found[of_requests("application", "GET", 200)] == 1
    assert found[of_requests("api", "POST", 201)] == 1
    assert found['holdfast_upstream_failures_total{kind="failed"}'] == 1
    assert found['holdfast_upstream_failures_total{kind="cut"}'] == 1
    assert found['holdfast_upstream_failures_total{kind="slow"}'] == 0
    assert found['holdfast_request_seconds_count{face="application",method="PUT"}'] == 2
    assert found["holdfast_locks"] == 1
    assert found["holdfast_grants_total"] == 1
    assert not re.search(r"orders|own|broken", answer.text)


def test_a_websocket_is_counted_when_it_begins(guarding):
    def handle(peer: Peer) -> None:
        accept(peer)

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send(ASKING)
            client.head()
            assert client.rest() == b""
        assert counted(told(guard).text)[of_requests("application", "GET", 101)] == 1


def test_a_slow_application_is_counted_as_slow(guarding):
    def handle(peer: Peer) -> None:
        peer.head()
        assert peer.has_ended()

    with RawApplication(handle) as application:
        guard = guarding(application, answer_s=0.05)
        assert httpx.get(guard.url, timeout=30).status_code == 504
        assert counted(told(guard).text)['holdfast_upstream_failures_total{kind="slow"}'] == 1


def test_they_take_no_address_of_the_applications(guarding, application: Noting):
    for settings in ({}, {"shows_locks": False}, {"prefixes": (ResourcePath("/orders"),)}):
        guard = guarding(application, **settings)
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            for target in ("/metrics", "/.holdfastly", "/%2Eholdfast/metrics"):
                assert client.get(target).text == "from app"
            assert "holdfast_info" in client.get(METRICS).text
            assert client.head(METRICS).status_code == 200
            assert client.post(METRICS, content=b"x").status_code == 405
            assert client.get("/.holdfast").status_code == 404


def test_with_users_they_are_for_readers_of_everything(guarding, application: Noting):
    hashes = Passwords()
    users = tuple(
        UserRecord(name, hashes.hash("secret"), (grant,))
        for name, grant in (("rita", Grant(Role.READER)), ("olga", Grant(Role.WRITER, ResourcePath("/orders"))))
    )
    guard = guarding(application, users=users)
    assert told(guard).status_code == 401
    assert told(guard, auth=("olga", "secret")).status_code == 403
    assert told(guard, auth=("rita", "secret")).status_code == 200


def test_behind_a_proxy_that_logs_people_in_they_are_for_those(guarding, application: Noting):
    guard = guarding(application, user_field="x-remote-user")
    assert told(guard).status_code == 403
    assert told(guard, headers={"X-Remote-User": ""}).status_code == 403
    assert told(guard, headers={"X-Remote-User": "ada"}).status_code == 200
    other = guarding(application, user_field="x-remote-user", trusted=frozenset({"192.0.2.1"}))
    assert told(other, headers={"X-Remote-User": "ada"}).status_code == 403


def test_with_a_server_it_says_who_may_read_them(guarding, application: Noting, tmp_path: Path):
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as served:
        guard = guarding(application, server=Upstream.parse(served.url))
        assert told(guard).status_code == 401
        assert told(guard, auth=("rita", "wrong")).status_code == 401
        answer = told(guard, auth=("rita", "rita-secret"))
        assert answer.status_code == 200
        found = counted(answer.text)
        assert found[of_requests("operations", "GET", 401)] == 2
        assert "holdfast_locks" not in found, "these are the server's to tell"
    assert told(guard, auth=("rita", "rita-secret")).status_code == 503
