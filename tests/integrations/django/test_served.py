"""The example project under gunicorn with several workers: what two clients meet there, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from holdfast.inspector.exchange import SentRequest
from holdfast.inspector.fetching import fetch
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from holdfast.wire.locked import parse_locked_problem
from tests.integrations.django.desk import Desk

pytestmark = pytest.mark.process

ARTICLE = "/articles/article/1"
CHANGE = "/admin/articles/article/1/change/"
HTML = "text/html,application/xhtml+xml"
HIDDEN = re.compile(r'name="(_holdfast_id|_holdfast_token|csrfmiddlewaretoken)" value="([^"]+)"')


def lock(client: httpx.Client, resource: str = ARTICLE, **more: object) -> httpx.Response:
    return client.post("/locks", json={"resource": resource, "ttl": 60} | more)


def opened(client: httpx.Client) -> dict[str, str]:
    """The hidden fields of the form."""
    answer = client.get(CHANGE)
    assert answer.status_code == 200, answer.text
    return dict(HIDDEN.findall(answer.text))


def saved(client: httpx.Client, fields: dict[str, str], text: str, **more: str) -> httpx.Response:
    return client.post(CHANGE, data={**fields, "title": "Spring issue", "text": text} | more)


class TestApi:
    """A view behind `require_lock`, the locks' own routes, REST framework, the guard."""

    def test_a_change_without_the_lock_is_a_423_that_names_the_holder(self, any_desk: Desk) -> None:
        with any_desk.client("alice") as alice, any_desk.client("bob") as bob:
            granted = lock(alice, reason="rewriting").json()
            refused = bob.put("/articles/1", json={"text": "bob's"})
            assert refused.status_code == 423
            problem = parse_locked_problem(refused.content)
            assert problem.locks[0].holder.name == "alice"
            assert problem.locks[0].reason == "rewriting"
            assert problem.resource == ARTICLE
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert granted["token"] not in refused.text
            assert bob.get("/articles/1").status_code == 200
            assert alice.put("/articles/1", json={"text": "x"}).status_code == 423
            held = {"Lock-Token": f"<{granted['token']}>"}
            assert alice.put("/articles/1", json={"text": "alice's"}, headers=held).status_code == 200
            assert bob.put("/articles/1", json={"text": "x"}, headers=held).status_code == 423
            assert any_desk.text() == "alice's"
            assert alice.delete(f"/locks/{granted['id']}", headers=held).status_code == 204
            assert bob.put("/articles/1", json={"text": "bob's"}).status_code == 200

    def test_of_many_who_want_it_one_gets_it_and_tokens_rise(self, any_desk: Desk) -> None:
        def one(name: str) -> tuple[int, int]:
            with any_desk.client(name) as client:
                answer = lock(client)
                return answer.status_code, answer.json().get("fencing_token", 0)

        last = 0
        for _ in range(3):
            with ThreadPoolExecutor(12) as pool:
                answers = list(pool.map(one, ["alice", "bob", "root"] * 4))
            assert sorted(status for status, _ in answers) == [201] + [423] * 11
            token = max(token for _, token in answers)
            assert token > last
            last = token
            any_desk.advance(61)

    def test_a_job_does_not_run_twice_at_once(self, postgres_desk: Desk) -> None:
        """On PostgreSQL alone: SQLite has one writer, so where the job waits with its lock in hand nobody could ask for it."""
        postgres_desk.clear()
        with (
            postgres_desk.client("alice") as alice,
            postgres_desk.client("bob") as bob,
            database_held(postgres_desk),
            ThreadPoolExecutor(1) as pool,
        ):
            first = pool.submit(alice.post, "/jobs/nightly")
            while not postgres_desk.holders():
                assert not first.done()
            second = bob.post("/jobs/nightly")
            assert second.status_code == 423
            assert second.json()["locks"][0]["root"] == "/jobs/nightly"
            assert first.result().status_code == 423  # the database stayed locked for longer than it would wait
        assert postgres_desk.holders() == []

    def test_a_lock_is_held_while_an_asynchronous_view_runs(self, desk: Desk) -> None:
        with desk.client("alice") as alice, desk.client("bob") as bob:
            assert alice.post("/async-jobs/weekly").json() == {"ran": "weekly"}
            assert desk.holders() == []
            assert lock(bob, "/jobs/weekly").status_code == 201
            assert alice.post("/async-jobs/weekly").status_code == 423

    def test_rest_framework_answers_the_same(self, any_desk: Desk) -> None:
        with any_desk.client("alice") as alice, any_desk.client("bob") as bob:
            token = lock(alice).json()["token"]
            body = {"title": "Spring issue", "text": "by REST"}
            for refused in (bob.put("/rest/articles/1/", json=body), bob.delete("/rest/articles/1/")):
                assert refused.status_code == 423
                assert refused.headers["Content-Type"] == "application/problem+json"
                assert parse_locked_problem(refused.content).locks[0].holder.name == "alice"
            assert bob.put("/rest/articles/9/", json=body).status_code == 404
            assert bob.post("/rest/articles/", json={}).status_code == 400
            any_desk.advance(61)
            assert bob.put("/rest/articles/1/", json=body, headers={"Lock-Token": "none"}).status_code == 400
            assert bob.put("/rest/articles/1/", json=body).status_code == 200
            assert any_desk.text() == "by REST"
            assert alice.put("/rest/articles/1/", json=body, headers={"If": f"(<{token}>)"}).status_code == 412

    def test_the_guard_stands_before_every_view_below_its_paths(self, desk: Desk) -> None:
        with desk.client("alice") as alice, desk.client("bob") as bob:
            token = lock(alice, "/guarded/a").json()["token"]
            assert bob.post("/guarded/a").status_code == 423
            assert bob.post("/guarded/b").status_code == 200
            assert alice.post("/guarded/a", headers={"Lock-Token": f"<{token}>"}).status_code == 200

    def test_who_is_not_logged_in_locks_nothing(self, desk: Desk) -> None:
        with desk.client() as nobody, desk.client("bob") as bob, desk.client("root") as root:
            assert lock(nobody).status_code == 403
            held = lock(bob).json()
            broken = {"reason": "gone home"}
            assert root.post(f"/locks/{held['id']}/break", json=broken).json()["by"] == "root"
            renewed = bob.post(f"/locks/{held['id']}/refresh", json={"token": held["token"]})
            assert renewed.status_code == 410
            assert renewed.json()["ended"]["reason"] == "gone home"

    def test_the_inspector_finds_nothing_wrong_in_any_form(self, any_desk: Desk) -> None:
        with any_desk.client("alice") as alice:
            lock(alice, reason="rewriting")
        for accept in ("*/*", "application/json", "application/xml", HTML):
            clean(any_desk, "/articles/1", accept)
        for accept in ("*/*", "application/json", HTML):  # REST framework itself answers 406 to the others
            clean(any_desk, "/rest/articles/1/", accept)


def clean(desk: Desk, path: str, accept: str) -> None:
    fields = (("Accept", accept), ("Content-Type", "application/json"))
    [exchange] = fetch(
        SentRequest(method="PUT", url=desk.url + path, fields=fields, body=b'{"title": "t", "text": "x"}')
    )
    report = inspect(exchange)
    assert report.status == 423
    assert [note for note in report.notes if note.level in {Level.BAD, Level.WARN}] == [], (path, accept)


@contextmanager
def database_held(desk: Desk) -> Generator[None]:
    """Another program is in the middle of a write."""
    if "PGHOST" in desk.environment:
        named = {"host": desk.environment["PGHOST"], "user": "postgres", "dbname": desk.environment["PGDATABASE"]}
        with psycopg.connect(**named, application_name="nightly-report") as connection:
            connection.execute("LOCK TABLE articles_article IN EXCLUSIVE MODE")
            yield
            connection.rollback()
        return
    connection = sqlite3.connect(desk.environment["DATABASE"], isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


class TestLockedDatabase:
    """ "database is locked" is a 423 with the holder, and no 500."""

    def test_in_a_view(self, any_desk: Desk) -> None:
        with database_held(any_desk), any_desk.client() as nobody:
            refused = nobody.post("/write")
            assert refused.status_code == 423, refused.text
            said = refused.json()
            assert said["detail"].startswith("The database is locked")
            assert said["retry_after"] <= 2
            assert len(said["locks"]) == 1, said
            if "PGHOST" in any_desk.environment:
                assert "nightly-report" in str(said["locks"][0]["holder"])
            else:
                assert "python" in str(said["locks"][0]["holder"]) or "pytest" in str(said["locks"][0]["holder"])
            clean(any_desk, "/write", "*/*")
        with any_desk.client() as nobody:
            assert nobody.post("/write").status_code == 200

    def test_another_error_stays_what_it_is(self, desk: Desk) -> None:
        with desk.client() as nobody:
            assert nobody.put("/articles/1", content=b"no JSON").status_code == 500


class TestAdmin:
    """The forms, without any script."""

    def test_the_form_takes_the_lock_and_saving_gives_it_back(self, any_desk: Desk) -> None:
        with any_desk.client("alice", HTML) as alice, any_desk.client("bob") as bob:
            fields = opened(alice)
            assert any_desk.holders() == ["alice"]
            assert bob.put("/articles/1", json={"text": "x"}).status_code == 423
            assert saved(alice, fields, "by alice").status_code == 302
            assert any_desk.text() == "by alice"
            assert any_desk.holders() == []

    def test_a_form_with_a_mistake_keeps_its_lock(self, any_desk: Desk) -> None:
        with any_desk.client("alice", HTML) as alice:
            fields = opened(alice)
            again = saved(alice, fields, "by alice", title="")
            assert again.status_code == 200
            assert "This field is required" in again.text
            assert dict(HIDDEN.findall(again.text))["_holdfast_token"] == fields["_holdfast_token"]
            assert any_desk.holders() == ["alice"]
            assert saved(alice, fields, "by alice").status_code == 302

    def test_who_comes_second_reads(self, any_desk: Desk) -> None:
        with any_desk.client("alice", HTML) as alice, any_desk.client("bob", HTML) as bob:
            opened(alice)
            seen = bob.get(CHANGE)
            assert "<strong>alice</strong> is editing this" in seen.text
            assert "_holdfast_token" not in seen.text
            assert 'name="_save"' not in seen.text
            assert "Take over" not in seen.text
            assert any_desk.holders() == ["alice"]

    def test_a_form_whose_lock_was_lost_is_refused_and_gives_back_what_was_typed(self, any_desk: Desk) -> None:
        with any_desk.client("alice", HTML) as alice, any_desk.client("bob", HTML) as bob:
            fields = opened(alice)
            any_desk.advance(301)
            free = saved(alice, fields, "by alice, too late")
            assert free.status_code == 409
            assert "by alice, too late" in free.text
            assert "expired" in free.text
            opened(bob)
            refused = saved(alice, fields, "by alice, too late")
            assert refused.status_code == 423
            assert "by alice, too late" in refused.text
            assert "bob has locked" in refused.text
            assert int(refused.headers["Retry-After"]) > 0
            assert any_desk.text() == "A first draft."

    def test_a_form_without_any_lock_is_refused(self, desk: Desk) -> None:
        with desk.client("alice", HTML) as alice:
            fields = opened(alice)
            desk.clear()
            assert saved(alice, {"csrfmiddlewaretoken": fields["csrfmiddlewaretoken"]}, "x").status_code == 409
            assert desk.text() == "A first draft."

    def test_taking_over_needs_the_permission_and_a_reason(self, any_desk: Desk) -> None:
        take_over = "/admin/articles/article/1/lock/take-over/"
        with (
            any_desk.client("alice", HTML) as alice,
            any_desk.client("bob", HTML) as bob,
            any_desk.client("root", HTML) as root,
        ):
            fields = opened(alice)
            assert bob.get(take_over).status_code == 403
            token = dict(HIDDEN.findall(root.get(take_over).text))
            assert root.post(take_over, data=token | {"reason": "  "}).status_code == 200
            assert any_desk.holders() == ["alice"]
            assert root.post(take_over, data=token | {"reason": "to print"}).status_code == 302
            assert any_desk.holders() == ["root"]
            refused = saved(alice, fields, "x")
            assert refused.status_code == 423
            assert "broken by root" in refused.text
            assert "to print" in refused.text

    def test_the_same_user_in_another_browser_is_asked_and_in_the_same_one_goes_on(self, any_desk: Desk) -> None:
        take_over = "/admin/articles/article/1/lock/take-over/"
        with any_desk.client("alice", HTML) as here, any_desk.client("alice2", HTML) as there:
            first = opened(here)
            second = opened(here)
            assert first["_holdfast_token"] != second["_holdfast_token"]
            assert saved(here, first, "x").status_code == 423
            assert "You are editing this yourself" in there.get(CHANGE).text
            token = dict(HIDDEN.findall(there.get(take_over).text))
            assert there.post(take_over, data=token).status_code == 302
            assert saved(here, second, "x").status_code == 423
            assert saved(there, opened(there), "from there").status_code == 302

    def test_deleting_asks_for_the_lock_too(self, any_desk: Desk) -> None:
        with any_desk.client("alice", HTML) as alice, any_desk.client("bob", HTML) as bob:
            opened(alice)
            list_page = dict(HIDDEN.findall(bob.get("/admin/articles/article/").text))
            one = bob.post("/admin/articles/article/1/delete/", data=list_page | {"post": "yes"})
            chosen = {"action": "delete_selected", "_selected_action": "1", "post": "yes"}
            many = bob.post("/admin/articles/article/", data=list_page | chosen)
            assert (one.status_code, many.status_code) == (423, 423)
            assert "alice" in one.text
            any_desk.sql("INSERT INTO articles_article (id, title, text) VALUES (77, 'Old issue', '')")
            gone = bob.post("/admin/articles/article/77/delete/", data=list_page | {"post": "yes"})
            assert gone.status_code == 302
            assert any_desk.sql("SELECT id FROM articles_article WHERE id = 77") == []
            assert any_desk.holders() == ["alice"]

    def test_only_whoever_may_change_the_object_hears_of_its_lock(self, desk: Desk) -> None:
        with desk.client() as nobody:
            answer = nobody.get("/admin/articles/article/1/lock/")
            assert answer.status_code == 302
            assert "login" in answer.headers["Location"]


def test_migrations_are_complete_and_the_project_is_checked(desk: Desk) -> None:
    for command in (["makemigrations", "--check", "--dry-run"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", "manage.py", *command],
            cwd=desk.folder,
            env=dict(desk.environment),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
