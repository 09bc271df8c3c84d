"""`holdfast lock`, `unlock` and `locks` as an administrator uses them, beside a running server and without one."""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.process

ME = getpass.getuser()
_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>Ada</D:owner></D:lockinfo>"
)
JSON = {"Accept": "application/problem+json"}


def take_lock(url: str) -> str:
    """A client's lock; its token."""
    answer = httpx.request("LOCK", url, content=_LOCKINFO, headers={"Content-Type": "application/xml", "Depth": "0"})
    assert answer.is_success, answer.text
    return answer.headers["Lock-Token"]


def held(run, folder: Path, *flags: str) -> list[dict]:
    done = run("locks", folder, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def served(serve, folder: Path) -> str:
    """A running server's URL of the folder."""
    return serve(folder).webdav_url


@pytest.fixture
def stopped(serve, folder: Path) -> Path:
    """A folder that was served once."""
    serve(folder).stop()
    return folder


class TestBesideAServer:
    def test_everything_is_closed_at_once_and_open_again_at_once(self, run, served: str, folder: Path):
        assert httpx.put(served + "a.txt", content=b"1").status_code == 201
        done = run("lock", "/", folder, "--reason", "Upgrade")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Everything is closed until `holdfast unlock`; reason: Upgrade.\n"

        refused = httpx.put(served + "a.txt", content=b"2", headers=JSON)
        assert refused.status_code == 423
        told = refused.json()
        assert ME in told["detail"]
        assert "reason: Upgrade" in told["detail"]
        assert told["locks"][0]["holder"]["name"] == ME
        assert told["locks"][0].get("expires_at") is None
        assert httpx.post(served.removesuffix("dav/") + "api/locks", json={"resource": "/orders/42"}).status_code == 423
        assert httpx.get(served + "a.txt").content == b"1"

        done = run("unlock", "/", folder)
        assert done.returncode == 0
        assert done.stdout.startswith(f"Ended: {ME} (holdfast) had locked / and everything in it since ")
        assert httpx.put(served + "a.txt", content=b"2").status_code == 204

    def test_a_clients_lock_is_in_the_way_and_nothing_is_changed(self, run, served: str, folder: Path):
        token = take_lock(served + "plan.txt")
        done = run("lock", "/", folder, "--reason", "Upgrade")
        assert (done.returncode, done.stdout) == (4, "")
        assert "has locked /dav/plan.txt since" in done.stderr
        assert "--break" in done.stderr
        assert httpx.put(served + "other.txt", content=b"x").status_code == 201
        assert httpx.put(served + "plan.txt", content=b"x", headers={"If": f"({token})"}).status_code == 204

    def test_break_ends_what_is_in_the_way_and_its_holder_learns_why(self, run, served: str, folder: Path):
        token = take_lock(served + "plan.txt")
        done = run("lock", "/dav", folder, "--reason", "Audit", "--break")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Broken: ")
        assert "/dav/plan.txt" in done.stdout
        lost = httpx.put(served + "plan.txt", content=b"x", headers={"If": f"({token})", **JSON})
        assert lost.status_code == 412
        assert f"broken by {ME}" in lost.json()["detail"]
        assert "Audit" in lost.json()["detail"]
        past = httpx.get(served.removesuffix("dav/") + "api/history").json()["events"]
        assert [(event["kind"], event["actor"]) for event in past[-2:]] == [("broken", ME), ("granted", ME)]

    def test_whoever_has_the_token_may_work_while_it_is_closed_if_he_is_the_holder(self, run, serve, folder: Path):
        url = serve(folder, "--user", f"{ME}:secret", "--user", "other:secret").webdav_url
        token = json.loads(run("lock", "/", folder, "--reason", "Upgrade", "--json").stdout)["token"]
        fields = {"If": f"<{url.removesuffix('dav/')}> (<{token}>)"}
        assert httpx.put(url + "plan.txt", content=b"x", headers=fields, auth=(ME, "secret")).status_code == 204
        assert httpx.put(url + "plan.txt", content=b"x", headers=fields, auth=("other", "secret")).status_code == 423


class TestWithoutAServer:
    def test_a_lock_waits_for_the_server(self, run, serve, stopped: Path):
        assert run("lock", "/dav/plan.txt", stopped, "--reason", "Audit").returncode == 0
        url = serve(stopped).webdav_url
        assert httpx.put(url + "plan.txt", content=b"x").status_code == 423
        assert httpx.put(url + "other.txt", content=b"x").status_code == 201

    def test_for_and_until_set_the_end(self, run, stopped: Path):
        now = datetime.now(UTC)
        run("lock", "/a", stopped, "--reason", "x", "--for", "3d")
        end = (now + timedelta(days=40)).strftime("%Y-%m-%dT%H:%MZ")
        said = run("lock", "/b", stopped, "--reason", "x", "--until", end).stdout
        assert f"is closed until {datetime.fromisoformat(end).astimezone():%Y-%m-%d %H:%M};" in said
        first, second = held(run, stopped)
        assert first["expires_in"] == pytest.approx(3 * 86_400, abs=60)
        assert datetime.fromisoformat(second["expires_at"]) == datetime.fromisoformat(end)
        assert second["depth"] == "infinity"

    def test_a_path_of_this_machine_is_not_taken_for_one_of_the_server(self, run, stopped: Path):
        """It would say that it is closed, and everyone could change it."""
        (stopped / "plans").mkdir()
        (stopped / "plans" / "a.txt").touch()
        for typed in ("/plans", stopped / "plans", "/plans/a.txt", stopped / "plans" / "a.txt", stopped / "new"):
            done = run("lock", typed, stopped, "--reason", "x")
            meant = "/dav/" + str(typed).removeprefix(str(stopped)).removeprefix("/")
            assert done.returncode == 2
            assert f"did you mean {meant}?" in done.stderr
        assert held(run, stopped) == []
        for path in ("/orders/42", "/dav/plans", "/davos"):
            assert run("lock", path, stopped, "--reason", "x").returncode == 0

    def test_fencing_tokens_go_on_rising(self, run, stopped: Path):
        for path in ("/a", "/b", "/c"):
            run("lock", path, stopped, "--reason", "x")
        numbers = [lock["fencing_token"] for lock in held(run, stopped)]
        assert numbers == sorted(set(numbers))

    def test_the_current_folder_is_the_default(self, run, stopped: Path, tmp_path: Path):
        os.rename(stopped / ".holdfast", tmp_path / ".holdfast")
        assert run("lock", "/", "--reason", "x").returncode == 0
        assert len(json.loads(run("locks", "--json").stdout)) == 1
        assert run("unlock", "/").returncode == 0

    def test_the_state_may_lie_elsewhere(self, run, serve, folder: Path, tmp_path: Path):
        serve(folder, "--state", tmp_path / "kept").stop()
        assert run("lock", "/", "--reason", "x", "--state", tmp_path / "kept").returncode == 0
        assert run("unlock", "/", "--state", tmp_path / "kept").returncode == 0


class TestUnlock:
    def test_where_nothing_is_locked_the_code_is_1_and_what_closes_it_from_above_is_said(self, run, stopped: Path):
        assert run("unlock", "/dav", stopped).returncode == 1
        run("lock", "/", stopped, "--reason", "Upgrade")
        done = run("unlock", "/dav", stopped)
        assert done.returncode == 1
        assert "Nothing is locked at /dav itself." in done.stdout
        assert "has locked / and everything in it" in done.stderr

    def test_a_clients_lock_stays_unless_it_is_broken_with_a_reason(self, run, served: str, folder: Path):
        take_lock(served + "plan.txt")
        done = run("unlock", "/dav/plan.txt", folder)
        assert (done.returncode, done.stdout) == (4, "")
        assert run("unlock", "/dav/plan.txt", folder, "--break").returncode == 2
        done = run("unlock", "/dav/plan.txt", folder, "--break", "--reason", "on leave")
        assert done.returncode == 0
        assert "Ada" in done.stdout
        assert held(run, folder) == []

    def test_in_json(self, run, stopped: Path):
        made = json.loads(run("lock", "/a", stopped, "--reason", "x", "--json").stdout)
        ended = json.loads(run("unlock", "/a", stopped, "--json").stdout)
        assert [lock["id"] for lock in ended["ended"]] == [made["lock"]["id"]]
        assert "token" not in json.dumps(ended).replace("fencing_token", "")
        refused = run("lock", "/b/c", stopped, "--reason", "x", "--json")
        assert refused.returncode == 0
        refused = run("lock", "/b", stopped, "--reason", "x", "--json")
        assert refused.returncode == 4
        assert [lock["root"] for lock in json.loads(refused.stdout)["in_the_way"]] == ["/b/c"]


class TestLocks:
    def test_a_table_of_who_holds_what(self, run, served: str, folder: Path):
        take_lock(served + "plan.txt")
        run("lock", "/orders", folder, "--reason", "Upgrade")
        head, first, second = run("locks", folder).stdout.splitlines()
        assert head.split() == ["RESOURCE", "HOLDER", "SINCE", "UNTIL", "LOCK", "REASON"]
        assert first.startswith("/dav/plan.txt ")
        assert second.startswith("/orders/** ")
        assert second.endswith("  no end  exclusive  Upgrade")

    def test_under_a_path(self, run, stopped: Path):
        for path in ("/a/x", "/ab"):
            run("lock", path, stopped, "--reason", "x")
        assert [lock["root"] for lock in held(run, stopped, "--under", "/a")] == ["/a/x"]
        assert run("locks", stopped, "--under", "/c").stdout == "Nothing is locked at or below /c.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lock", "/"], "--reason"),
        (["lock", "/", "--reason", " "], "--reason is empty"),
        (["lock", "dav/x", "--reason", "x"], "documents are below /dav/"),
        (["lock", "/a/../b", "--reason", "x"], "dot segment"),
        (["lock", "/", "--reason", "x", "--for", "1h", "--until", "22:00"], "--until and --for"),
        (["lock", "/", "--reason", "x"], "The current folder has no .holdfast"),
        (["lock", "/", "nowhere", "--reason", "x"], "There is no folder"),
        (["unlock", "/"], "The current folder has no .holdfast"),
        (["locks", "--under", "a"], "names no resource"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(run, arguments, sentence):
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_no_server_has_used_is_said_to_be(run, tmp_path: Path):
    (tmp_path / ".holdfast").mkdir()
    done = run("lock", "/", "--reason", "x")
    assert done.returncode == 2
    assert "no server has used it yet" in done.stderr
