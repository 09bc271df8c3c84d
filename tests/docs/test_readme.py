"""README.md keeps its word: every command in it is run, and what it shows is what is said."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import README, ROOT, blocks
from tests.docs.terminal import Terminal

pytestmark = [pytest.mark.process, pytest.mark.tool("make"), pytest.mark.tool("bash")]

START, TWO_PEOPLE, TEAM, PROMISES = (
    "Start", "Two people, one document", "A team, on the network", "What you can rely on",
)  # fmt: skip
Open = Callable[[str], Terminal]

ANY_PROGRAM = "The same locks for any program"
AUTHORS = "When you write a client or a server"


def block(heading: str, language: str, number: int = 0) -> str:
    return [found.text for found in blocks(README) if (found.heading, found.language) == (heading, language)][number]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's home, with a folder of documents."""
    path = tmp_path / "home"
    (path / "Documents").mkdir(parents=True)
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    dropped = ("XDG_", "FORCE_", "CLICOLOR", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"HOME": str(home), "CURL_HOME": str(home), "PYTHONWARNINGS": "error"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose first start is over: the program that its `.venv` would hold is the one under test.

    The installation itself needs the network, and is what made the environment that this runs in.
    """
    path = tmp_path / "checkout"
    programs = path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, path)
    for name, arguments in (("python", ""), ("holdfast", "-m holdfast")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    (path / ".venv" / ".serve-ready").touch()
    return path


@pytest.fixture
def terminal(checkout: Path, environment: dict[str, str]) -> Iterator[Open]:
    """Open a terminal in the checkout and run what is typed there."""
    opened: list[Terminal] = []

    def terminal(script: str) -> Terminal:
        opened.append(Terminal(script, checkout, environment))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


def port_of(terminal: Terminal) -> int:
    """The port of the server that starts there; its whole greeting has been shown then."""
    terminal.wait_for("Ctrl-C stops the server.")
    found = re.search(r"^  WebDAV +https?://[^/]+:(\d+)/dav/$", terminal.screen, re.MULTILINE)
    assert found is not None, terminal.screen
    return int(found[1])


def stop(terminal: Terminal) -> None:
    """Ctrl-C, as the README says, ends it in peace."""
    terminal.press_ctrl_c()
    terminal.wait_for("Holdfast has stopped.")
    terminal.wait()
    assert "Traceback" not in terminal.screen


def test_each_command_block_is_run_by_a_test_in_here():
    """A block that is added to the README has to be added here."""
    commands = [(one.heading, one.language) for one in blocks(README) if one.language not in {"text", "json"}]
    assert commands == [
        (START, "console"),
        (TWO_PEOPLE, "console"),
        *[(TWO_PEOPLE, "sh")] * 3,
        (TEAM, "sh"),
        *[(ANY_PROGRAM, "sh")] * 3,
        (AUTHORS, "sh"),
        (PROMISES, "console"),
    ]


def test_the_first_start_says_what_the_readme_shows(terminal: Open, home: Path):
    """Port and folder apart, to the letter."""
    started = terminal(block(START, "console").strip() + ' ARGS="--port 0"')
    port = port_of(started)
    said = started.screen.replace(f":{port}/", ":4230/").replace(str(home / "Documents"), "/home/ada/Documents")
    assert said.strip() == block(START, "text").strip()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read().startswith(b"<!")
    connection.request("GET", "/dav/", headers={"Accept": "text/html"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert b"All documents" in answer.read()
    connection.close()
    stop(started)


@pytest.mark.tool("curl")
def test_the_story_of_two_people(terminal: Open, home: Path, tmp_path: Path, environment: dict[str, str]):
    """The blocks in order, as typed; the 423 has every member that the README shows, in its form."""
    started = terminal(block(TWO_PEOPLE, "console").strip().replace('ARGS="', 'ARGS="--port 0 '))
    port = port_of(started)
    (home / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")  # so that a refusal is an exit code
    second = tmp_path / "second terminal"
    second.mkdir()

    def typed(number: int) -> subprocess.CompletedProcess[str]:
        script = block(TWO_PEOPLE, "sh", number).replace("127.0.0.1:4230", f"127.0.0.1:{port}")
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=second, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    document = home / "Documents" / "plan.txt"
    locked = typed(0)
    assert locked.returncode == 0, locked.stderr
    refused = typed(1)
    assert refused.returncode == 22, refused.stdout
    assert "423" in refused.stderr
    assert document.read_text() == ""
    assert_shown(json.loads(block(TWO_PEOPLE, "json")), json.loads(refused.stdout))
    token = re.search(r"urn:uuid:[\w-]+", (second / "headers.txt").read_text())
    assert token is not None
    assert token[0] not in refused.stdout
    in_turn = typed(2)
    assert in_turn.returncode == 0, in_turn.stdout + in_turn.stderr
    assert document.read_text() == "Bob's version\n"
    stop(started)


@pytest.mark.tool("curl")
def test_programs_stand_in_line_and_the_folder_is_closed(terminal: Open, checkout: Path, environment: dict[str, str]):
    """Bob's program is answered when it is its turn; while everything is closed each is told why, and afterwards not.

    Statuses are simulated for whoever is logged in.
    """
    users = "--user alice:wonderland --user bob:builder"
    started = terminal(f'make serve DIR=~/Documents ARGS="--port 0 {users}"')
    port = port_of(started)

    def typed(script: str) -> str:
        script = script.replace("127.0.0.1:4230", f"127.0.0.1:{port}")
        done = subprocess.run(
            ["bash", "-c", "set -e\n" + script],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first, second = re.findall(r"\{.*?\}(?=\{|$)", typed(block(ANY_PROGRAM, "sh")))
    assert json.loads(first)["holder"]["name"] == "alice"
    assert json.loads(second)["holder"]["name"] == "bob"
    assert json.loads(second)["fencing_token"] > json.loads(first)["fencing_token"]
    simulated = typed(block(AUTHORS, "sh"))
    assert re.findall(r"HTTP/1\.1 (\d+) [A-Z]", simulated) == ["423", "503"]
    assert "Ada" in simulated
    put = "echo x | curl -s -u alice:wonderland -T - -H 'Accept: application/json' http://127.0.0.1:4230/dav/a.txt"
    typed(block(ANY_PROGRAM, "sh", 1))
    assert "Moving to the new disk" in json.loads(typed(put))["detail"]
    typed('export PATH="$PWD/.venv/bin:$PATH"\n' + block(ANY_PROGRAM, "sh", 2))
    assert typed(put) == ""
    stop(started)


def assert_shown(shown: object, said: object, name: str = "") -> None:
    """Every member of `shown` is in `said`; times, versions and seconds may be others, in the same form."""
    assert type(shown) is type(said), name
    if isinstance(shown, dict) and isinstance(said, dict):
        for member, value in shown.items():
            assert_shown(value, said[member], member)
    elif isinstance(shown, list) and isinstance(said, list):
        assert len(shown) == len(said)
        for one, other in zip(shown, said, strict=True):
            assert_shown(one, other, name)
    elif name == "expires_in":
        assert isinstance(said, int)
        assert 500 < said <= 600
    else:
        assert form(shown) == form(said)


def form(value: object) -> object:
    """A text with its times and versions taken out; a day is told as well where it is another one."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT", value)
    text = re.sub(r"(\d{1,2} [A-Z][a-z]{2} (\d{4} )?)?\d\d:\d\d UTC", "TIME", text)
    return re.sub(r"curl/[\d.]+\S*", "curl/VERSION", text)


@pytest.mark.tool("openssl")
def test_a_team_with_a_file_of_users_and_https(terminal: Open, checkout: Path):
    """Each password is asked for twice; the certificate fits every address that is shown; rita may read and not write."""
    started = terminal(f"set -e\n{block(TEAM, 'sh').strip()} --port 0")
    for password in ("looking glass", "daily mail"):
        for prompt in ("Password: ", "Password, once more: "):
            started.wait_for(prompt)
            started.type(password + "\n")
        started.wait_for("Serve with")
    port = port_of(started)
    assert (checkout / "team.json").read_text().count("$argon2id$") == 2
    assert "looking glass" not in started.screen
    trusted = ssl.create_default_context(cafile=str(checkout / "cert.pem"))
    host = socket.gethostname()

    shown = set(re.findall(r"\b\w+:/*([^/\s]+):\d+/dav/", started.screen))
    assert shown == {host, "127.0.0.1"}

    def ask(method: str, who: str, name: str = host) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            with trusted.wrap_socket(plain, server_hostname=name) as secure:
                secure.sendall(
                    f"{method} /dav/plan.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n"
                    f"Authorization: Basic {b64encode(who.encode()).decode()}\r\n\r\n".encode()
                )
                return int(secure.makefile("rb").readline().split()[1])

    assert ask("PUT", "alice:looking glass") == 201
    assert {ask("GET", "rita:daily mail", name) for name in shown} == {200}
    assert ask("PUT", "rita:daily mail") == 403
    assert ask("GET", "rita:looking glass") == 401
    stop(started)


def test_make_test_would_run_all_tests(checkout: Path, environment: dict[str, str]):
    """`make -n`: run for good, it would run this test, and so itself, for ever."""
    command = block(PROMISES, "console").split()
    assert command == ["make", "test"]
    done = subprocess.run(
        ["make", "-n", "test"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("-m pytest") == 2
