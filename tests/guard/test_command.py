"""`holdfast guard`: a real process, its words, its refusals and its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from holdfast.cli.main import main
from tests.cli.conftest import command, environment, run  # noqa: F401 - fixtures
from tests.guard.conftest import Noting
from tests.serving import USERS, serving

pytestmark = pytest.mark.process


class Guard:
    """The process, once it has said that it is ready."""

    def __init__(self, *arguments: str, cwd: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command("guard", *arguments, "--port", "0"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=env,
        )
        self.said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith("Ctrl-C"):
                break
        else:
            pytest.fail(self.said + self.process.communicate()[1])
        found = re.search(r"address +(\S+)/$", self.said, re.MULTILINE)
        assert found is not None, self.said
        self.url = found[1]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, and what it still said on both streams."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator:  # noqa: F811
    started: list[Guard] = []

    def start(*arguments: str) -> Guard:
        started.append(Guard(*arguments, cwd=tmp_path, env=environment))
        return started[-1]

    yield start
    for guard in started:
        guard.process.kill()
        guard.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_guards_until_it_is_told_to_stop_and_the_locks_stay(start, application: Noting, tmp_path: Path, number):
    guard = start("--upstream", application.url)
    assert "guards 127.0.0.1:" in guard.said
    assert "holdfast-locks.db" in guard.said
    assert "no other machine can reach it" in guard.said
    members = {"resource": "/orders/42", "ttl": 600}
    assert httpx.post(f"{guard.url}/api/locks", json=members, timeout=30).status_code == 201
    assert httpx.put(f"{guard.url}/orders/42", content=b"x", timeout=30).status_code == 423
    assert guard.stop(number) == (0, "Holdfast has stopped.\n", "")
    again = start("--upstream", application.url, "--locks", f"sqlite:///{tmp_path}/holdfast-locks.db", "--access-log")
    refused = httpx.put(f"{again.url}/orders/42?secret=1", content=b"x", timeout=30)
    assert refused.status_code == 423
    code, _, err = again.stop(number)
    assert code == 0
    assert '"PUT /orders/42" 423' in err
    assert "secret" not in err
    assert application.seen == []


def test_it_stops_with_a_request_under_way(start, application: Noting):
    guard = start("--upstream", application.url)
    with httpx.stream("GET", f"{guard.url}/api/events", timeout=30) as events:
        lines = events.iter_lines()
        assert next(lines).startswith("retry")
        code, _, _ = guard.stop()
        assert code == 0


def test_websockets_are_refused_and_other_protocols_let_through_by_flags(start, application: Noting):
    asking = {"Connection": "Upgrade", "Upgrade": "websocket"}
    refusing = start("--upstream", application.url, "--refuse-upgrades")
    assert httpx.get(refusing.url, headers=asking, timeout=30).status_code == 501
    passing = start("--upstream", application.url, "--upgrade", "tus/1", "--idle", "60")
    assert httpx.get(passing.url, headers=asking, timeout=30).text == "from app"
    assert httpx.get(passing.url, headers={**asking, "Upgrade": "TUS/1"}, timeout=30).headers["connection"] == "close"


def test_users_log_in(start, application: Noting):
    guard = start("--upstream", application.url, "--user", "ada:secret", "--user", "bob:hunter2:reader")
    assert "ada, bob" in guard.said
    assert httpx.get(guard.url, timeout=30).status_code == 401
    assert httpx.get(guard.url, auth=("bob", "hunter2"), timeout=30).text == "from app"
    assert "passwords on a command line" in guard.stop()[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--upstream is missing"),
        (["--upstream", "localhost:8000"], "--upstream: 'localhost:8000' is no address"),
        (["--upstream", "http://a/b"], "paths are passed on as they come"),
        (["--upstream", "http://a", "--server", "http://b", "--locks", "c"], "give --locks or --server, not both"),
        (["--upstream", "http://a", "--server", "http://b", "--user", "a:b"], "the server knows the users"),
        (["--upstream", "http://a", "--user-header", "X-User", "--user", "a:b"], "leave one out"),
        (["--upstream", "http://a", "--admin", "root"], "--admin goes with --user-header"),
        (["--upstream", "http://a", "--server", "http://b", "--user-header", "X-User"], "HOLDFAST_TOKEN"),
        (["--upstream", "http://a", "--user-header", "Cookie"], "--user-header 'Cookie' cannot be"),
        (["--upstream", "http://a", "--user-header", "X User"], "--user-header 'X User' cannot be"),
        (["--upstream", "http://a", "--trusted-proxy", "proxy"], "no IP address"),
        (["--upstream", "http://a", "--prefix", "orders"], "--prefix 'orders' is no path"),
        (["--upstream", "http://a", "--locks", "postgresql://b"], "write sqlite:///FILE"),
        (["--upstream", "http://a", "--locks", "."], "is a folder"),
        (["--upstream", "http://a", "--locks", "missing/locks.db"], "does not exist"),
        (["--upstream", "http://a", "--upstream-host", "a b"], "is no host"),
        (["--upstream", "http://a", "--timeout", "0"], "--timeout must be"),
        (["--upstream", "http://a", "--idle", "0"], "--idle must be"),
        (["--upstream", "http://a", "--workers", "0"], "--workers must be"),
        (["--upstream", "http://a", "--upgrade", "H2C"], "requests in it that no lock would stop"),
        (["--upstream", "http://a", "--upgrade", "a b"], "is no protocol"),
        (["--upstream", "http://a", "--upgrade", "tus", "--refuse-upgrades"], "not both"),
        (["--upstream", "http://a", "--tls-cert", "cert.pem"], "both a certificate and its key"),
        (["--upstream", "http://a", "--host", "0.0.0.0"], "Without users the guard listens on this machine only"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(capsys, monkeypatch, tmp_path: Path, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_TOKEN", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["guard", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("server", ["open", "with users", "missing"])
def test_a_server_is_open_to_others_only_if_it_has_users(run, application: Noting, tmp_path: Path, server):  # noqa: F811
    """What it lets strangers do was for one machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    beyond = ("guard", "--upstream", application.url, "--host", "0.0.0.0", "--port", application.port)
    with serving(folder, users=None if server == "open" else USERS) as served:
        if server != "missing":
            done = run(*beyond, "--server", served.url)
    if server == "missing":
        done = run(*beyond, "--server", served.url)
    assert done.returncode == 2
    said = {"open": "has no users", "with users": "in use by another program", "missing": "could not be asked"}
    assert said[server] in done.stderr


def test_a_port_in_use_is_said(run, application: Noting):  # noqa: F811
    done = run("guard", "--upstream", "http://a", "--port", application.port)
    assert done.returncode == 2
    assert "is in use by another program" in done.stderr


def test_the_log_is_of_json_where_that_is_asked(start, application: Noting):
    guard = start("--upstream", "http://127.0.0.1:1", "--log-format", "json")
    assert httpx.get(guard.url, timeout=30).status_code == 502
    _, _, err = guard.stop()
    [told] = [json.loads(line) for line in err.splitlines()]
    assert (told["level"], told["logger"]) == ("warning", "holdfast.guard")
