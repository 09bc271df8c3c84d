"""`holdfast simulate`: a real process that says what to type, answers that, and ends without a trace."""

from __future__ import annotations

import http.client
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.simulator.wire import ask

pytestmark = pytest.mark.process

READY = "Ctrl-C stops it."


class Simulator:
    """The process, once it has said that it is ready; `said` is what it printed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "holdfast", "simulate", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.strip() == READY:
                break
        else:
            pytest.fail(self.said + self.process.communicate()[1])
        found = re.search(r"simulates at http://[^:]+:(\d+)", self.said)
        assert found is not None, self.said
        self.port = int(found[1])

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, and what it still said on both streams."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    running = Simulator("--port", "0")
    yield running
    assert running.stop() == (0, "Holdfast has stopped.\n", "")


@pytest.mark.tool("curl")
def test_each_line_that_it_says_to_type_works(simulator, tmp_path: Path):
    commands = [line.strip() for line in simulator.said.splitlines() if line.strip().startswith("curl ")]
    statuses = []
    for command in commands:
        words = shlex.split(command)
        quiet = [*words, "-sS", "-o", str(tmp_path / "body"), "-w", "%{http_code}"]
        statuses.append(subprocess.run(quiet, capture_output=True, text=True, timeout=30, check=True).stdout)
    assert statuses == ["423", "423", "423", "503", "200"]


def test_it_has_the_pages_and_leads_to_them(simulator):
    front = ask(simulator.port, "/")
    assert (front.head.status, front.head["Location"]) == (307, "/simulator")
    for target in ("/simulator", "/simulator/423", "/problems/locked", "/openapi.json", "/docs", "/api/status"):
        assert ask(simulator.port, target).head.status == 200, target
    assert b'href="/locks' not in ask(simulator.port, "/simulator").body


def test_the_links_of_a_locked_answer_lead_to_the_lock(simulator):
    page = ask(simulator.port, "/api/status/423?lock=linked&for=60s&body=html")
    [place] = re.findall(rb'href="(/locks/[^"]+)"', page.body)
    there = ask(simulator.port, place.decode())
    assert there.head.status == 307
    assert ask(simulator.port, there.head["Location"]).json["root"] == "/simulated/linked"


def test_everybody_may_send_a_body_of_unknown_length_up_to_a_bound(simulator):
    chunks = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(3)) + b"0\r\n\r\n"
    for count, status in ((1, 200), (6, 413)):
        with closing(http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=30)) as connection:
            body = chunks if count == 1 else chunks[:-5] * count + chunks[-5:]
            with suppress(ConnectionError):
                connection.request("POST", "/api/status/200", body, {"Transfer-Encoding": "chunked"})
            assert connection.getresponse().status == status


def test_it_answers_to_any_name(simulator):
    assert ask(simulator.port, "/api/status/418", headers={"X-Forwarded-Host": "x"}).head.status == 418
    with closing(http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=30)) as connection:
        connection.request("GET", "/api/status/418", headers={"Host": "simulator.example"})
        assert connection.getresponse().status == 418


def test_sigterm_ends_it_as_ctrl_c_does_also_with_a_request_under_way():
    running = Simulator("--port", "0")
    with closing(socket.create_connection(("127.0.0.1", running.port), timeout=30)) as waiting:
        waiting.sendall(b"GET /api/status/423?lock=a&for=1h HTTP/1.1\r\nHost: a\r\nPrefer: wait=200\r\n\r\n")
        while not ask(running.port, "/api/status/locks/a").json.get("waiting"):
            pass
        code, out, _ = running.stop(signal.SIGTERM)
        assert waiting.recv(100).startswith(b"HTTP/1.1 423")
    assert (code, out) == (0, "Holdfast has stopped.\n")


def test_it_says_so_where_others_reach_it():
    running = Simulator("--port", "0", "--host", "0.0.0.0")
    assert ask(running.port, "/api/status/201").head.status == 201
    code, _, err = running.stop()
    assert code == 0
    assert "nobody logs in" in err


@pytest.mark.parametrize(
    "arguments, words", [(["--port", "70000"], "--port"), (["--host", "no.such.host.invalid"], "no address")]
)
def test_what_cannot_be_is_said_in_a_sentence(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "simulate", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_in_a_sentence(simulator):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "simulate", "--port", str(simulator.port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "in use" in done.stderr
