"""What the framework pages and the example applications promise, in the servers that they name."""

from __future__ import annotations

import asyncio
import base64
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from holdfast.wire.problem_json import parse_locked_problem
from tests.docs.conftest import blocks
from tests.integrations.running import ROOT, Running, faults_of, running
from tests.serving import Answer, Client, serving

pytestmark = pytest.mark.process

PAGES = ROOT / "docs" / "frameworks"
EXAMPLES = ROOT / "examples"
PAGED = ["fastapi", "starlette", "litestar", "aiohttp", "flask"]
HOST = "http://127.0.0.1:8000"


@contextmanager
def started(text: str, folder: Path, **environment: str) -> Iterator[Running]:
    """The command of a page, on a port that is free."""
    command = shlex.split(text.replace("--port 8000", "--port 0").replace("127.0.0.1:8000", "127.0.0.1:0"))
    server, app = [command[0], *command[2:]], command[1]
    if command[0] == "gunicorn":
        server.append("--no-control-socket")
    with running(server, app, environment | {"PYTHONPATH": str(folder)}, folder) as found:
        yield found


def answer_of(text: str, port: int) -> Answer:
    """What the last command of a block of curl commands showed, with -i."""
    shown = subprocess.run(
        ["bash", "-ec", text.replace(HOST, f"http://127.0.0.1:{port}")], capture_output=True, check=True, timeout=60
    ).stdout
    head, _, body = shown[shown.index(b"HTTP/1.1") :].partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = HTTPMessage()
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name] = value
    return Answer(int(status.split()[1]), fields, body)


@pytest.mark.parametrize("name", PAGED)
def test_nine_lines_lead_to_a_423_that_is_right(name: str, tmp_path: Path) -> None:
    found = blocks(PAGES / f"{name}.md")
    code = next(block.text for block in found if block.language == "python")
    start, ask = [block.text for block in found if block.language == "sh"][:2]
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    (tmp_path / "app.py").write_text(code)
    with started(start, tmp_path) as server:
        answer = answer_of(ask, server.port)
        assert answer.status == 423
        problem = parse_locked_problem(answer.body)
        assert problem is not None
        assert problem.detail.startswith("Someone (“Ada”) has locked /orders/42 ")
        assert faults_of(answer, "PUT", f"http://127.0.0.1:{server.port}/orders/42") == []
        shown = next((block.text for block in found if block.language == ""), "")
        for line in re.findall(r"^([a-z-]+): (.+)$", shown, re.MULTILINE):
            assert re.fullmatch(re.escape(line[1]).replace(r"\.\.\.", ".*"), answer[line[0]]), line


@pytest.mark.parametrize("name", PAGED)
def test_the_other_examples_of_the_page_go_on_from_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("app")
    monkeypatch.setitem(sys.modules, "app", module)  # where Litestar looks for what annotations name
    for block in blocks(PAGES / f"{name}.md"):
        if block.language == "python":
            exec(compile(block.text, f"{name}.md", "exec"), module.__dict__)
    app = module.app
    if name == "flask":
        client = app.test_client()
        assert client.post("/orders/1/bill").get_json() == {"billed": "1"}
        assert client.post("/orders/1/ship").get_json()["shipped"] == "1"
    elif name == "aiohttp":
        assert asyncio.run(_bill_of(app))["billed"] == "1"
    else:
        from starlette.testclient import TestClient

        with TestClient(app) as client:
            client.auth = ("ada", "secret")
            assert client.post("/orders/1/bill").json()["billed"] == "1"
    if name == "flask":
        app.extensions["holdfast"].locks.close()
        app.wsgi_app._guard.locks.close()
    elif name == "aiohttp":
        app[next(key for key in app if "holdfast" in str(key))].locks.close()
    else:
        app.state.holdfast.locks.close()


async def _bill_of(app: web.Application) -> Any:
    async with TestClient(TestServer(app)) as client, client.post("/orders/1/bill") as answer:
        return await answer.json()


@pytest.mark.parametrize("keeper", ["file", "server"])
@pytest.mark.parametrize("name", ["fastapi", "flask"])
def test_an_example_application_does_what_its_readme_says(name: str, keeper: str, tmp_path: Path) -> None:
    readme = EXAMPLES / name / "README.md"
    start = re.findall(r"^    ((?:uvicorn|gunicorn) .*)$", readme.read_text(), re.MULTILINE)[0]
    ask = next(block.text for block in blocks(readme) if block.language == "sh")
    environment = {"ORDERS": str(tmp_path / "orders.db"), "LOCKS": f"sqlite:///{tmp_path}/locks.db"}
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", users=None) as served:
        if keeper == "server":
            environment["LOCKS"] = served.url
        with started(start, EXAMPLES / name, **environment) as server:
            answer = answer_of(ask, server.port)
            assert answer.status == 423
            problem = parse_locked_problem(answer.body)
            assert problem is not None
            [lock] = problem.locks
            assert (lock.holder.name, lock.root) == ("ada", "/orders/42")
            assert faults_of(answer, "PUT", f"http://127.0.0.1:{server.port}/orders/42") == []
            _goes_on(server.port, lock.id)


def _goes_on(port: int, lock_id: str) -> None:
    ada, bob = _person(port, "ada:lovelace"), _person(port, "bob:builder")
    json = {"Content-Type": "application/json"}
    assert bob.request("POST", f"/locks/{lock_id}/break", b'{"reason": "mine"}', json).status == 403
    assert ada.request("POST", f"/locks/{lock_id}/break", b'{"reason": "done"}', json).status == 200
    assert bob.put("/orders/42", b'{"text": "mine"}', Content_Type="application/json").status == 200
    assert b'"mine"' in bob.get("/orders/42").body
    assert b'"bills":1' in bob.request("POST", "/orders/42/bill").body.replace(b" ", b"")
    assert bob.request("POST", "/locks", b'{"resource": "/elsewhere"}', json).status == 403
    assert Client("127.0.0.1", port).request("POST", "/locks", b'{"resource": "/orders/1"}', json).status == 401
    assert b"<textarea" in ada.get("/edit/42").body


def _person(port: int, login: str) -> Client:
    return Client("127.0.0.1", port, "Basic " + base64.b64encode(login.encode()).decode())


def test_both_examples_have_the_same_page() -> None:
    assert (EXAMPLES / "fastapi" / "editor.html").read_bytes() == (EXAMPLES / "flask" / "editor.html").read_bytes()
