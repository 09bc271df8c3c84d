"""`holdfast lock`, `unlock`, `refresh`, `locks` and `break` for URLs, on Holdfast and on other WebDAV servers."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import command
from tests.client.programs import peer
from tests.serving import Served, serving

pytestmark = pytest.mark.process


@pytest.fixture
def served(folder: Path, environment: dict[str, str]) -> Iterator[Served]:
    environment["HOLDFAST_PASSWORD"] = "alice-secret"
    with serving(folder) as server:
        yield server


class TestHoldfast:
    def test_a_lock_is_taken_kept_and_given_back(self, run, served: Served):
        url = f"{served.url}/dav/plan.txt"
        done = run("lock", "--user", "alice", "--for", "10m", "--reason", "writing it", url)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("urn:uuid:")
        assert len(done.stdout.splitlines()) == 1
        assert served.as_("bob").put("/dav/plan.txt").status == 423
        assert served.as_("alice").put("/dav/plan.txt", if_=f"(<{done.stdout.strip()}>)").status == 204
        served.uptime.advance(500)
        assert run("refresh", "--user", "alice", url).returncode == 0
        served.uptime.advance(500)
        assert served.as_("bob").put("/dav/plan.txt").status == 423
        assert run("unlock", "--user", "alice", url).stdout == f"Unlocked {url}.\n"
        assert served.as_("bob").put("/dav/plan.txt").status == 204
        assert run("unlock", "--user", "alice", url).returncode == 1

    def test_a_token_from_elsewhere_is_enough(self, run, environment, served: Served):
        token = served.as_("alice").locked("/dav/plan.txt")
        url = f"{served.url}/dav/plan.txt"
        done = run("unlock", "--user", "alice", url)
        assert done.returncode == 4
        assert "alice has locked it since" in done.stderr
        assert token not in done.stdout + done.stderr
        environment["HOLDFAST_LOCK_TOKEN"] = token
        assert run("unlock", "--user", "alice", url).returncode == 0

    def test_whoever_is_in_the_way_is_named(self, run, served: Served):
        served.as_("bob").locked("/dav/plan.txt")
        done = run("lock", "--user", "alice", f"{served.url}/dav/plan.txt")
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.startswith("In the way: bob has locked it since")
        told = run("lock", "--json", "--user", "alice", f"{served.url}/dav/plan.txt")
        assert told.returncode == 4
        assert json.loads(told.stdout)["token"] is None
        assert json.loads(told.stdout)["in_the_way"][0]["holder"] == "bob"

    def test_it_stands_in_line(self, run, served: Served):
        token = served.as_("bob").locked("/dav/plan.txt")
        unlocking = threading.Timer(2.0, lambda: served.as_("bob").unlock("/dav/plan.txt", token))
        unlocking.start()
        done = run("lock", "--wait", "50s", "--user", "alice", f"{served.url}/dav/plan.txt")
        unlocking.join()
        assert done.returncode == 0, done.stderr

    def test_a_resource_and_all_below_it_is_locked_and_listed(self, run, served: Served):
        url = f"{served.url}/orders"
        told = json.loads(run("lock", "--deep", "--json", "--user", "alice", url).stdout)
        assert told["fencing_token"] > 0
        listed = json.loads(run("locks", "--json", "--user", "alice", served.url).stdout)
        assert [(lock["resource"], lock["holder"], lock["id"]) for lock in listed] == [("/orders", "alice", told["id"])]
        assert told["token"] not in run("locks", "--user", "alice", served.url).stdout

    def test_a_lock_that_was_broken_says_so(self, run, environment, served: Served):
        url = f"{served.url}/orders/42"
        run("lock", "--user", "alice", url)
        environment["HOLDFAST_PASSWORD"] = "root-secret"
        done = run("break", "--reason", "left open", "--user", "root", url)
        assert (done.returncode, done.stdout.startswith("Broken: alice has locked it since")) == (0, True)
        assert run("break", "--reason", "left open", "--user", "root", url).returncode == 1
        environment["HOLDFAST_PASSWORD"] = "alice-secret"
        done = run("refresh", "--user", "alice", url)
        assert done.returncode == 1
        assert "broken by root" in done.stdout
        assert "left open" in done.stdout

    def test_a_break_with_a_grace_tells_when_the_lock_ends_which_may_be_sooner_than_was_asked(
        self, run, environment, served: Served
    ):
        url = f"{served.url}/orders/43"
        run("lock", "--user", "alice", url)
        environment["HOLDFAST_PASSWORD"] = "root-secret"
        told = [
            run("break", "--after", after, "--reason", "upgrade", "--user", "root", url).stdout
            for after in ("10m", "20m")
        ]
        assert told[0].startswith("Ends by ")
        assert told[1] == told[0]
        assert run("break", "--reason", "now", "--user", "root", url).stdout.startswith("Broken: ")

    def test_who_is_no_administrator_breaks_nothing(self, run, served: Served):
        served.as_("bob").locked("/dav/plan.txt")
        done = run("break", "--reason", "mine", "--user", "alice", f"{served.url}/dav/plan.txt")
        assert done.returncode == 2
        assert served.as_("alice").put("/dav/plan.txt").status == 423

    def test_what_happens_is_followed(self, environment, served: Served, tmp_path: Path):
        watching = subprocess.Popen(
            command("locks", "--watch", "--user", "alice", f"{served.url}/dav/"),
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        stop = threading.Event()

        def lock_again_and_again() -> None:
            while not stop.wait(0.2):
                served.as_("bob").unlock("/dav/plan.txt", served.as_("bob").locked("/dav/plan.txt"))

        locking = threading.Thread(target=lock_again_and_again)
        locking.start()
        try:
            assert watching.stdout is not None
            lines = [watching.stdout.readline() for _ in range(2)]
        finally:
            stop.set()
            locking.join()
            watching.send_signal(signal.SIGINT)
            watching.communicate(timeout=30)
        assert watching.returncode == 130
        assert sorted(line.split()[1] for line in lines) == ["granted", "released"]
        assert all("/dav/plan.txt  bob" in line for line in lines)


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["lock", "http://h/", "DIR"], "DIR goes with a path of a served folder alone: leave it out."),
            (["lock", "--state", "x", "http://h/"], "--state goes with a path of a served folder alone: leave it out."),
            (["lock", "/", "--reason", "x", "--wait", "1m"], "--wait goes with a URL alone: leave it out."),
            (["lock", "/", "--reason", "x", "--user", "a"], "--user goes with a URL alone: leave it out."),
            (["lock", "/"], "--reason is missing: say why, since everyone who is refused reads it."),
            (["lock", "http://h/", "--break"], "--break needs --reason: the holder is told why."),
            (["locks", "--watch", "."], "--watch follows a running server: name its URL in place of its folder."),
            (["refresh", "/dav/a"], "`holdfast refresh` takes a URL, such as http://127.0.0.1:4230/dav/plan.odt, not /dav/a."),
            (["break", "--reason", " ", "http://h/"], "--reason is empty: say why, since the holder is told."),
            (["get", "/dav/a"], "/dav/a is no URL: write http://HOST/PATH or https://HOST/PATH."),
        ],
    )  # fmt: skip
    def test_each_is_one_plain_sentence(self, run, arguments, sentence):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (2, f"holdfast: {sentence}\n")


@pytest.mark.parametrize("name", [pytest.param("apache", marks=pytest.mark.tool("apache2")), "wsgidav"])
def test_servers_of_others_are_locked_by_lock_and_unlock(run, tmp_path: Path, name: str):
    with peer(name) as base:
        url = f"{base}/notes.txt"
        (tmp_path / "notes.txt").write_text("first")
        assert run("put", "notes.txt", url).returncode == 0
        done = run("lock", "--for", "10m", "--reason", "writing it", url)
        assert done.returncode == 0, done.stderr
        seen = run("who", url)
        assert seen.returncode == 0
        assert "writing it" in seen.stdout
        assert run("lock", url).returncode == 4
        assert run("wait", "--timeout", "1s", url).returncode == 1
        (tmp_path / "notes.txt").write_text("second")
        assert run("put", "notes.txt", url).returncode == 0
        assert run("refresh", url).returncode == 0
        assert run("break", "--reason", "x", url).returncode == 2
        assert run("unlock", url).returncode == 0
        assert run("who", url).returncode == 1
