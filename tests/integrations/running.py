"""Real web servers of several processes, uvicorn and gunicorn, around the applications of the tests."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from tests.serving import Answer, Client

ROOT = Path(__file__).parents[2]

# uvicorn kills a worker that does not answer its supervisor in five seconds, with the requests that are under way.
UVICORN = (
    "uvicorn", "--factory", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--timeout-worker-healthcheck", "60"
)  # fmt: skip
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--workers", "3", "--threads", "4", "--no-control-socket")
GUNICORN_AIOHTTP = (*GUNICORN[:3], "--workers", "3", "--worker-class", "aiohttp.GunicornWebWorker", GUNICORN[-1])
_LISTENS = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")


@dataclass
class Running:
    """An application that answers on `port`."""

    port: int

    def as_(self, name: str, method: str, target: str, body: object = None, **fields: str) -> Answer:
        """Send a request as this person; `body` is sent as JSON."""
        headers = {"X-User": name, **{key.replace("_", "-"): value for key, value in fields.items()}}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers.setdefault("Content-Type", "application/json")
        return Client("127.0.0.1", self.port).request(method, target, content, headers)


def json_of(answer: Answer) -> Any:
    return msgspec.json.decode(answer.body)


@contextlib.contextmanager
def running(command: Sequence[str], app: str, environment: Mapping[str, str], cwd: Path = ROOT) -> Iterator[Running]:
    """Start a server, wait until all that it says when it is ready is said, and end it."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command, app],
        cwd=cwd,
        env=os.environ | {"PYTHONWARNINGS": "", **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said: list[str] = []
    found = threading.Event()
    port = 0

    def listen() -> None:
        nonlocal port
        assert server.stderr is not None
        for line in server.stderr:
            said.append(line)
            match = _LISTENS.search(line)
            if match:
                port = int(match[1])
                found.set()
        found.set()

    reader = threading.Thread(target=listen)
    reader.start()
    try:
        assert found.wait(60), "".join(said)
        assert port, "".join(said)
        _until_answered(port)
        yield Running(port)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(30)
        reader.join(30)
        assert server.stderr is not None
        server.stderr.close()


def _until_answered(port: int) -> None:
    """uvicorn names its address before its workers listen there."""
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


def faults_of(answer: Answer, method: str, url: str, accept: str = "") -> list[str]:
    """What the inspector finds bad or doubtful about an answer."""
    sent = SentRequest(method=method, url=url, fields=(("Accept", accept),) if accept else ())
    got = ReceivedResponse(
        status=answer.status, reason="Locked", fields=tuple(answer.headers.items()), body=answer.body
    )
    report = inspect(Exchange(request=sent, response=got))
    return [f"{note.rule}: {note.summary}" for note in report.notes if note.level in {Level.BAD, Level.WARN}]
