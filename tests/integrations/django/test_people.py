"""Whose request it is, who may see who has what, and which requests are nobody's: the example project under gunicorn."""

from __future__ import annotations

import httpx
import pytest

from tests.integrations.django.desk import Desk
from tests.integrations.django.test_served import ARTICLE, CHANGE, HTML, lock, opened, saved

pytestmark = pytest.mark.process
TAKE_OVER = "/admin/articles/article/1/lock/take-over/"
BODY = {"title": "Spring issue", "text": "by a program"}

# As browsers send them: loaded ahead of time, and a picture or a script of another site's page.
UNASKED = [
    {"Sec-Purpose": "prefetch", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Purpose": "prefetch;prerender", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    {"Purpose": "prefetch"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
]
LED_HERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def program(desk: Desk, name: str, password: str) -> httpx.Client:
    """One that has no session and sends a name and a password."""
    return httpx.Client(base_url=desk.url, auth=(name, password), timeout=60)


def test_whom_rest_framework_authenticates_locks_and_changes_by_that_name(desk: Desk) -> None:
    with program(desk, "alice", "alice") as alice, program(desk, "bob", "bob") as bob:
        granted = lock(alice, "/basic/articles/1")
        assert (granted.status_code, granted.json()["holder"]["name"]) == (201, "alice")
        held = {"Lock-Token": f"<{granted.json()['token']}>"}
        assert bob.put("/basic/articles/1/", json=BODY).status_code == 423
        assert alice.put("/basic/articles/1/", json=BODY, headers=held).status_code == 200
        assert alice.get("/locks", params={"resource": "/basic/articles/1"}).status_code == 403  # by the project's rule
        assert alice.delete(f"/locks/{granted.json()['id']}", headers=held).status_code == 204
        assert bob.put("/basic/articles/1/", json=BODY).status_code == 200


def test_wrong_credentials_are_a_401_at_the_locks_routes_and_at_the_guard(desk: Desk) -> None:
    with program(desk, "alice", "wrong") as stranger, desk.client("bob") as bob:
        assert lock(bob, "/guarded/a").status_code == 201
        for refused in (lock(stranger), stranger.post("/guarded/a")):
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic")


def test_who_has_what_is_told_to_those_who_may_see_it(desk: Desk) -> None:
    with desk.client("alice") as alice, desk.client("bob") as bob, desk.client() as nobody:
        for resource, status in ((ARTICLE, 403), ("/public/a", 200)):
            granted = lock(alice, resource).json()
            for address in (f"/locks?resource={resource}", f"/locks/{granted['id']}"):
                assert bob.get(address).status_code == 200
                answer = nobody.get(address)
                assert answer.status_code == status
                assert ("alice" in answer.text) is (status == 200)


def test_an_asynchronous_class_based_view_runs_under_its_lock(desk: Desk) -> None:
    with desk.client("alice") as alice, desk.client("bob") as bob:
        assert alice.post("/held-by/weekly").json() == {"holders": ["alice"]}
        assert desk.holders() == []
        assert lock(bob, "/jobs/weekly").status_code == 201
        assert alice.post("/held-by/weekly").status_code == 423


@pytest.mark.parametrize("fields", UNASKED)
@pytest.mark.parametrize("address", [CHANGE, TAKE_OVER])
def test_a_form_that_nobody_asked_to_see_takes_no_lock(desk: Desk, address: str, fields: dict[str, str]) -> None:
    with desk.client("alice", HTML) as alice:
        refused = alice.get(address, headers=fields)
        assert refused.status_code == 503
        assert "no-store" in refused.headers["Cache-Control"]
        assert desk.holders() == []
        form = opened(alice)
        assert alice.get(address, headers=fields).status_code == 503
        assert saved(alice, form, "typed").status_code == 302


def test_a_link_of_another_site_opens_the_form_and_takes_no_window_over(desk: Desk) -> None:
    with desk.client("alice", HTML) as alice:
        form = opened(alice)
        led = alice.get(CHANGE, headers=LED_HERE)
        assert "You are editing this yourself</strong> in another window" in led.text
        assert "Continue here" in led.text
        assert saved(alice, form, "typed").status_code == 302
        assert "You are editing this. " in alice.get(CHANGE, headers=LED_HERE).text
        assert desk.holders() == ["alice"]
