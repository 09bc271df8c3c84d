"""`holdfast who`: one question for files of this machine and for URLs of any WebDAV server."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.client.locked_servers import Heard, Said, scripted
from tests.local.holding import held
from tests.serving import Served, serving

pytestmark = pytest.mark.process


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder) as server:
        yield server


class TestFiles:
    def test_the_process_is_in_a_table_and_in_json(self, run, tmp_path: Path):
        file = tmp_path / "data"
        file.touch()
        with held("posix", file) as process:
            done = run("who", "data")
            told = json.loads(run("who", "--json", file).stdout)
        assert done.returncode == 0
        head, row = done.stdout.splitlines()
        assert head.split() == ["HOLDER", "PROCESS", "DOES", "STARTED", "PROGRAM"]
        assert f"{process.pid}  " in row
        assert "has locked it (fcntl, exclusive, bytes 5-14)" in row
        [holder] = told["holders"]
        assert told["is_held"]
        assert (holder["pid"], holder["kind"], holder["scope"]) == (process.pid, "posix", "exclusive")
        assert holder["command"].endswith(str(file))

    def test_nobody_is_exit_code_1(self, run, tmp_path: Path):
        (tmp_path / "data").touch()
        done = run("who", "data")
        assert (done.returncode, done.stdout) == (1, f"Nobody holds {tmp_path / 'data'}.\n")

    def test_what_is_not_there_is_a_mistake(self, run):
        done = run("who", "nosuch")
        assert (done.returncode, done.stderr) == (2, "holdfast: There is no nosuch.\n")

    def test_a_document_that_is_served_has_the_locks_of_its_server_too(self, run, served: Served, folder: Path):
        served.as_("alice").locked("/dav/plan.txt")
        done = run("who", folder / "plan.txt")
        assert done.returncode == 0
        assert "alice" in done.stdout
        below = run("who", folder)
        assert below.returncode == 1, below.stdout

    def test_a_database_of_this_very_process_keeps_its_locks(self, run, tmp_path: Path):
        with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            told = json.loads(run("who", "--json", "app.db").stdout)
        [holder] = told["holders"]
        assert (holder["pid"], holder["kind"]) == (os.getpid(), "sqlite")


class TestUrls:
    def test_a_holdfast_server_tells_who_since_until_and_why(self, run, environment, served: Served):
        served.as_("alice").locked("/dav/plan.txt")
        environment["HOLDFAST_PASSWORD"] = "bob-secret"
        done = run("who", "--user", "bob", f"{served.url}/dav/plan.txt")
        assert done.returncode == 0, done.stderr
        head, row = done.stdout.splitlines()
        assert head.split() == ["HOLDER", "DOES", "SINCE", "UNTIL", "SCOPE", "PROGRAM"]
        assert row.startswith("alice   has locked it  ")

    def test_a_lock_from_above_says_where_it_is(self, run, environment, served: Served):
        served.as_("root").locked("/dav/", depth="infinity")
        environment["HOLDFAST_PASSWORD"] = "bob-secret"
        told = json.loads(run("who", "--json", "--user", "bob", f"{served.url}/dav/plan.txt").stdout)
        [holder] = told["holders"]
        assert (holder["holder"], holder["does"]) == ("root", "has locked /dav with everything in it")
        assert holder["expires_in"] > 500

    def test_a_resource_that_is_no_document_is_asked_about_all_the_same(self, run, environment, served: Served):
        body = json.dumps({"resource": "/orders/42", "reason": "editing"}).encode()
        answer = served.as_("alice").request("POST", "/api/locks", body, content_type="application/json")
        assert answer.status == 201
        environment["HOLDFAST_PASSWORD"] = "alice-secret"
        done = run("who", "--user", "alice", f"{served.url}/orders/42")
        assert (done.returncode, "editing" in done.stdout) == (0, True)
        assert "urn:uuid" not in done.stdout

    def test_without_credentials_it_says_how_to_give_them(self, run, served: Served):
        done = run("who", f"{served.url}/dav/plan.txt")
        assert done.returncode == 2
        assert "--user NAME, or HOLDFAST_TOKEN" in done.stderr

    def test_a_wrong_password_is_told_from_none(self, run, environment, served: Served):
        environment["HOLDFAST_PASSWORD"] = "wrong"
        done = run("who", "--user", "alice", f"{served.url}/dav/plan.txt")
        assert (done.returncode, "does not accept" in done.stderr) == (2, True)

    @pytest.mark.parametrize(
        "command",
        [
            ("who",),
            ("wait", "--timeout", "1s"),
            ("locks",),
            ("lock",),
            ("unlock", "--lock-token", "urn:uuid:x"),
            ("break", "--reason", "x"),
        ],
        ids=lambda command: command[0],
    )
    def test_who_is_not_known_is_never_told_that_a_resource_is_free(
        self, run, environment, served: Served, command: tuple[str, ...]
    ):
        """A resource beside the documents, whose locks the API alone tells."""
        served.as_("alice").request(
            "POST", "/api/locks", b'{"resource": "/orders/77"}', content_type="application/json"
        )
        url = f"{served.url}/orders/77"
        unknown = run(*command, url)
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert "wants to know who you are: --user NAME" in unknown.stderr
        environment["HOLDFAST_PASSWORD"] = "wrong"
        wrong = run(*command, "--user", "bob", url)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "does not accept this name and password" in wrong.stderr

    def test_a_server_that_knows_no_locks_says_nothing_of_them(self, run):
        with scripted(lambda heard: Said(405)) as server:
            done = run("who", f"{server.url}/x")
        assert done.returncode == 2
        assert "tells nothing of locks" in done.stderr

    def test_where_nothing_is_nobody_holds_anything(self, run, environment, served: Served):
        with scripted(lambda heard: Said(404)) as server:
            done = run("who", f"{server.url}/x")
        assert (done.returncode, done.stdout) == (1, f"Nobody holds {server.url}/x.\n")
        assert done.stderr == f"Note: There is nothing at {server.url}/x.\n"

    def test_another_server_is_asked_about_its_own_url_alone(self, run, environment):
        """Credentials for one part of a host may be none of another part's business."""
        environment["HOLDFAST_TOKEN"] = "hf_abc"
        body = (
            b'<D:multistatus xmlns:D="DAV:"><D:response><D:href>/a</D:href><D:propstat><D:prop><D:lockdiscovery>'
            b"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:exclusive/></D:lockscope><D:depth>0</D:depth>"
            b"<D:owner>Ada\x0a\xe2\x80\xaeevil</D:owner><D:timeout>Second-100</D:timeout></D:activelock></D:lockdiscovery>"
            b"</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
        )

        def answer(heard: Heard) -> Said:
            return Said(207, body, {"Content-Type": "application/xml"})

        with scripted(answer) as server:
            done = run("who", f"{server.url}/a")
        assert [(heard.method, heard.target) for heard in server.heard] == [("PROPFIND", "/a")]
        assert server.heard[0].headers["Authorization"] == "Bearer hf_abc"
        assert done.returncode == 0, done.stderr
        assert "Ada" in done.stdout
        assert len(done.stdout.splitlines()) == 2

    def test_a_server_that_is_not_there_is_a_plain_sentence(self, run):
        done = run("who", "http://127.0.0.1:1/a")
        assert done.returncode == 2
        assert done.stderr.startswith("holdfast: http://127.0.0.1:1/ gave no answer:")

    def test_without_an_http_library_it_says_what_to_install(self, run, environment, tmp_path: Path):
        """As from the default install, which has none."""
        for name in ("httpx", "httpx2"):
            (tmp_path / "without" / name).mkdir(parents=True)
            (tmp_path / "without" / name / "__init__.py").write_text(
                f"raise ModuleNotFoundError('not here', name={name!r})\n"
            )
        environment["PYTHONPATH"] = str(tmp_path / "without")
        done = run("who", "http://127.0.0.1:1/a")
        assert (done.returncode, done.stderr) == (
            2, "holdfast: For URLs an HTTP library is needed: pip install httpx.\n"
        )  # fmt: skip
        (tmp_path / "data").touch()
        assert run("who", "data").returncode == 1
