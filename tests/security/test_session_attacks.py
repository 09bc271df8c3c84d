"""What is tried against sessions: forged, foreign and hostile cookies, forms of other sites, documents that act as pages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.access.sessions import Sessions
from holdfast.access.users_file import UserRecord
from holdfast.core.access import Grant, Role
from tests.serving import Client, Served, serving

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def cookie(client: Client, name: str) -> str:
    answer = client.request("POST", "/login", f"name={name}&password={name}-secret".encode(), FORM)
    return answer["Set-Cookie"].partition(";")[0]


def test_a_session_of_another_server_with_the_same_users_is_nobody_here(served: Served, tmp_path: Path) -> None:
    with serving(tmp_path) as other:
        foreign = cookie(other.anonymous, "root")
        assert other.anonymous.get("/api/session", cookie=foreign).status == 200
    assert served.anonymous.get("/api/session", cookie=foreign).status == 401


def test_a_session_that_is_signed_with_a_guessed_key_is_nobody(served: Served) -> None:
    record = UserRecord("root", "", (Grant(Role.ADMIN),))
    for key in (b"", bytes(32), b"holdfast"):
        forged = Sessions(key, served.application.store.clock, 43_200).issue(record)
        assert served.anonymous.get("/api/session", cookie=f"holdfast_session={forged}").status == 401
        unsigned = forged.partition(".")[0]
        for value in (unsigned, f"{unsigned}.", f".{unsigned}", f"{unsigned}.{unsigned}"):
            assert served.anonymous.get("/api/session", cookie=f"holdfast_session={value}").status == 401


def test_hostile_cookies_cost_nothing(served: Served) -> None:
    """Long ones, many pairs, many fields: each is read once from left to right."""
    began = time.perf_counter()
    for value in ("holdfast_session=" + "A" * 60_000, "holdfast_session=x; " * 2_900, ";" * 60_000, "=," * 30_000):
        assert served.anonymous.get("/api/session", cookie=value).status == 401
    assert time.perf_counter() - began < 5


def test_a_reader_s_session_gives_no_more_than_the_reader_has(served: Served) -> None:
    fields = {"Cookie": cookie(served.anonymous, "rita"), "Sec-Fetch-Site": "same-origin"}
    assert served.anonymous.request("PUT", "/dav/a.txt", b"x", fields).status == 403
    sent = fields | {"Content-Type": "application/json"}
    assert served.anonymous.request("POST", "/api/locks", b'{"resource": "/dav/a.txt"}', sent).status == 403


def test_a_document_is_shown_in_a_sandbox_and_is_no_page_of_this_server(served: Served) -> None:
    """A writer's page that an administrator opens must not break locks with the administrator's session."""
    served.as_("alice").put("/dav/evil.html", b"<script>fetch('/api/locks')</script>")
    answer = served.anonymous.get("/dav/evil.html", cookie=cookie(served.anonymous, "root"))
    assert answer.status == 200
    assert answer["Content-Security-Policy"] == "sandbox"
    # What a sandboxed page sends comes from nowhere.
    fields = {"Cookie": cookie(served.anonymous, "root"), "Origin": "null", "Content-Type": "application/json"}
    assert served.anonymous.request("POST", "/api/locks", b'{"resource": "/x"}', fields).status == 401


def test_no_form_of_another_site_can_be_a_lock_or_a_login(served: Served) -> None:
    """A form can send three types without being asked; none of them is JSON, and Origin goes with each."""
    session = cookie(served.anonymous, "root")
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        fields = {"Cookie": session, "Content-Type": kind, "Origin": "https://evil.example"}
        assert served.anonymous.request("POST", "/api/locks", b'{"resource": "/x"}', fields).status == 401
        assert served.anonymous.request("POST", "/login", b"name=bob&password=bob-secret", fields).status == 403
    found = json.loads(served.as_("root").get("/api/locks").body)
    assert found["locks"] == []


def test_no_answer_lets_another_site_read_it(served: Served) -> None:
    """No field of CORS anywhere, also where one asks before (preflight)."""
    fields = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, target in (
        ("OPTIONS", "/api/locks"),
        ("OPTIONS", "/login"),
        ("OPTIONS", "/dav/"),
        ("GET", "/api/session"),
        ("GET", "/"),
    ):
        answer = served.as_("alice").request(method, target, headers=fields)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_neither_password_nor_session_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    value = cookie(served.anonymous, "alice").partition("=")[2]
    served.anonymous.get("/api/session", cookie=f"holdfast_session={value}x")
    served.anonymous.request("POST", "/login", b"name=alice&password=hush-hush", FORM)
    assert "wrong name or password" in caplog.text
    for secret in (value, "alice-secret", "hush-hush"):
        assert secret not in caplog.text
