"""`simulated_server`: one word in a test gives it a server that answers anything, and locks whose time the test moves."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdfast.testing.simulated import SimulatedServer, simulating
from tests.docs.conftest import ROOT, blocks

ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    with simulating() as running:
        yield running


def ask(url: str, method: str = "GET", **fields: str) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, f"{parts.path}?{parts.query}", headers=sent)
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if "json" in (response.headers["Content-Type"] or "") else text
    finally:
        connection.close()


def test_each_sequence_is_one_of_its_own(server):
    one, two = server.url(423, seq="423x2,200"), server.url(423, seq="423x2,200")
    assert [ask(url)[0] for url in (one, one, two, one, two, two)] == [423, 423, 423, 200, 423, 200]
    named = server.url(seq="423,200", key="named")
    assert [ask(named)[0], ask(server.url(seq="423,200", key="named"))[0]] == [423, 200]


def test_options_are_written_as_words(server):
    url = server.url(503, header=["X-A: one", "X-B: two&three"], retry_after=3, delay=0.001, size=3000)
    status, told = ask(url)
    assert (status, told["status"]["code"]) == (503, 503)
    assert ask(server.url(423, lock="by-hand", for_="5s"))[0] == 423


def test_a_lock_is_held_until_its_time_is_up_and_time_is_moved(server):
    url = server.locked(for_=30, holder="Grace", reason="proof-reading")
    status, told = ask(url)
    assert status == 423
    assert told["locks"][0]["holder"]["name"] == "Grace"
    assert told["retry_after"] == 30
    server.advance(29)
    server.refresh(url, for_="20s")
    server.advance(19)
    assert ask(url)[0] == 423
    server.advance(1)
    assert ask(f"{url}&body=json")[0] == 200


def test_a_lock_is_released_broken_and_begun_anew(server):
    url = server.locked("mine")
    server.release(url)
    server.release(url)
    assert ask(url)[0] == 200
    assert server.locked("mine", holder="Grace") == url
    assert server.locked("mine", holder="Edith") == url
    assert ask(url)[1]["locks"][0]["holder"]["name"] == "Edith"
    server.break_lock(url, "fire drill")
    assert "fire drill" in ask(url)[1]["lock"]["ended"]


@pytest.mark.parametrize("key, more", [("a/b", {}), ("a.b", {}), ("ok", {"for_": 0}), ("ok", {"holder": "a:b"})])
def test_what_cannot_be_is_said_in_words(server, key, more):
    with pytest.raises(ValueError, match=r"^\S.*[.`]$"):
        server.locked(key, **more)


def test_who_waits_is_answered_when_it_ends(server):
    url = server.locked(for_=300)
    place = f"{server.base_url}/api/status/locks/{url.rpartition('=')[2]}"
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(ask, url, Prefer="wait=60")
        while not ask(place)[1]["waiting"]:
            pass
        server.release(url)
        assert parked.result(20)[0] == 200


def test_a_real_lock_of_the_client_can_be_had_there_too(server):
    sent = json.dumps({"resource": "/orders/42", "ttl": 60}).encode()
    parts = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("POST", "/api/locks", sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    lock = json.loads(answer.read())
    connection.close()
    assert answer.status == 201
    assert ask(f"{server.base_url}{lock['url']}")[1]["root"] == "/orders/42"
    server.reset()
    assert ask(f"{server.base_url}{lock['url']}")[0] == 404


def test_reset_forgets_everything():
    with simulating() as server:
        held, gone, expired = server.locked("held"), server.locked("gone"), server.locked("expired", for_=1)
        server.release(gone)
        server.advance(2)
        named = server.url(seq="423,200", key="named")
        assert [ask(url)[0] for url in (held, gone, expired, named)] == [423, 200, 200, 423]
        server.reset()
        assert ask(f"{server.base_url}/api/status/locks")[1] == {"locks": []}
        assert [ask(url)[0] for url in (held, gone, expired, named)] == [423] * 4


def test_a_server_that_is_over_leaves_nothing_open():
    with simulating() as server:
        url = server.url(200)
        assert ask(url)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        ask(url)


def run_pytest(folder: Path, test: str) -> str:
    """Run a test in a process of its own that has the plugin by its entry point, as with an installed Holdfast."""
    info = folder / "plugin" / "simulated_plugin-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated-plugin\nVersion: 0\n")
    lines = [f"{name} = {value}" for name, value in ENTRY_POINTS["pytest11"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (folder / "test_example.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_example.py"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(folder / "plugin")}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.process
def test_the_example_of_the_documentation_passes(tmp_path):
    example = next(
        block.text
        for block in blocks(ROOT / "docs" / "simulator.md")
        if block.language == "python" and "simulated_server" in block.text
    )
    assert re.search(r"^[1-9]\d* passed", run_pytest(tmp_path, example), re.MULTILINE)


@pytest.mark.process
def test_the_plugin_costs_nothing_until_a_server_is_asked_for(tmp_path):
    heavy = ["uvicorn", "uvloop", "starlette", "jinja2", "argon2", "sqlite3"]
    test = f"import sys\n\n\ndef test_it():\n    assert 'holdfast.testing.simulated' in sys.modules\n    assert not [name for name in {heavy} if name in sys.modules]\n"
    run_pytest(tmp_path, test)
