"""What every application in `examples/` that asks a Holdfast server promises, whatever its language.

The application is a real process on a free port, and so is the server that it asks.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level
from tests.docs.conftest import ROOT, blocks
from tests.serving import Served, serving

ORDER = "/orders/42"
PROBLEM = "application/problem+json"

Start = Callable[..., str]
"""Starts the application for a server's URL; `FAIL_OPEN="1"` and the like are its environment. Gives its base URL."""


@contextlib.contextmanager
def starting(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Start]:
    """Start processes of `command` in `folder`, and end them."""
    started: list[subprocess.Popen[str]] = []

    def start(holdfast: str, **settings: str) -> str:
        known = os.environ | dict(environment or {}) | {"HOLDFAST_URL": holdfast, "PORT": "0"} | settings
        process = subprocess.Popen(
            list(command), cwd=folder, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            found = re.search(r"listening on (http://\S+)", line)
            if found is not None:
                return found[1]
        pytest.fail(f"it did not start:\n{said}")

    try:
        yield start
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
            process.kill()
            process.communicate()


@dataclass
class Desk:
    """An application and the server that it asks, and two people."""

    application: str
    server: Served
    start: Start

    def ask(
        self, who: str | None, method: str, target: str = ORDER, text: str | None = None, **fields: str
    ) -> httpx.Response:
        auth = None if who is None else (who, f"{who}-secret")
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        json = None if text is None else {"text": text}
        return httpx.request(method, self.application + target, auth=auth, headers=sent, json=json, timeout=30)

    def lock(self, who: str, resource: str = ORDER) -> dict[str, str]:
        members = {"resource": resource, "ttl": 600, "reason": "Price list"}
        answer = httpx.post(f"{self.server.url}/api/locks", json=members, auth=(who, f"{who}-secret"), timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def release(self, who: str, lock: dict[str, str]) -> None:
        fields = {"Lock-Token": f"<{lock['token']}>"}
        httpx.delete(
            f"{self.server.url}/api/locks/{lock['id']}", auth=(who, f"{who}-secret"), headers=fields, timeout=30
        )


@contextlib.contextmanager
def standing(place: Path, start: Start) -> Iterator[Desk]:
    """A desk whose server has the users of `tests.serving`."""
    place.mkdir(exist_ok=True)
    with serving(place) as server:
        yield Desk(start(server.url), server, start)


def page_block(name: str, language: str) -> str:
    """The one application of a page in docs/frameworks, to be started on a free port by a server of the test's."""
    [text] = [block.text for block in blocks(ROOT / "docs" / "frameworks" / f"{name}.md") if block.language == language]
    written = [line for line in text.splitlines() if line.strip(" {}()")]
    assert len(written) <= 10, "a page takes a newcomer to a 423 in ten lines"
    return text


def refuses_as_the_page_says(application: str, server: Served) -> None:
    """Free: saved. Locked: a 423 with the holder's reason."""
    url = f"{application}{ORDER}"
    assert "saved" in httpx.put(url, timeout=30).text
    members = {"resource": ORDER, "ttl": 600, "reason": "Price list"}
    assert httpx.post(f"{server.url}/api/locks", json=members, timeout=30).status_code == 201
    refused = httpx.put(url, timeout=30)
    assert refused.status_code == 423
    assert "Price list" in refused.json()["detail"]


class Promises:
    """Give a subclass a fixture `desk`, and these tests are its."""

    def test_a_locked_order_is_changed_by_its_holder_alone(self, desk: Desk) -> None:
        assert desk.ask("bob", "PUT", text="free").status_code == 200
        lock = desk.lock("alice")
        refused = desk.ask("bob", "PUT", text="mine", accept=PROBLEM)
        assert refused.status_code == 423
        assert desk.ask("bob", "DELETE").status_code == 423
        assert desk.ask("bob", "PUT", text="mine", If=f"(<{lock['token']}>)").status_code == 423, "the token is alice's"
        assert desk.ask("bob", "GET").json() == {"text": "free"}
        assert desk.ask("alice", "PUT", text="hers", If=f"(<{lock['token']}>)").json() == {"text": "hers"}
        assert desk.ask("bob", "PUT", "/orders/43", text="another").status_code == 200
        desk.release("alice", lock)
        assert desk.ask("bob", "DELETE").status_code == 204

    def test_the_body_is_the_problem_that_holdfast_gives(self, desk: Desk) -> None:
        lock = desk.lock("alice", "/orders/7")
        refused = desk.ask("bob", "PUT", "/orders/7", text="mine", accept=PROBLEM)
        told = refused.json()
        assert refused.headers["Content-Type"] == PROBLEM
        assert (told["type"], told["title"], told["status"]) == ("urn:problem-type:holdfast:locked", "Locked", 423)
        assert (told["instance"], told["resource"]) == ("/orders/7", "/orders/7")
        assert told["retry_after"] == int(refused.headers["Retry-After"])
        assert "alice" in told["detail"]
        assert "Price list" in told["detail"]
        [shown] = told["locks"]
        assert (shown["id"], shown["holder"]["name"]) == (lock["id"], "alice")
        assert lock["token"] not in refused.text
        assert f'<{desk.server.url}/api/locks/{lock["id"]}>; rel="describedby"' in refused.headers["Link"]

    @pytest.mark.parametrize("accept", [PROBLEM, "text/html", "application/xml", "*/*"])
    def test_the_inspector_has_nothing_against_it(self, desk: Desk, accept: str) -> None:
        desk.lock("alice", f"/orders/{len(accept)}")
        refused = desk.ask("bob", "PUT", f"/orders/{len(accept)}", text="mine", accept=accept)
        assert refused.status_code == 423
        assert ("Content-Security-Policy" in refused.headers) == (accept == "text/html")
        request = refused.request
        # Node's server adds Keep-Alive to all its answers, which httplint does not like.
        fields = tuple(field for field in refused.headers.multi_items() if field[0].lower() != "keep-alive")
        exchange = Exchange(
            request=SentRequest(
                method=request.method,
                url=str(request.url),
                fields=tuple(request.headers.multi_items()),
                body=request.content,
            ),
            response=ReceivedResponse(
                status=423,
                reason=refused.reason_phrase,
                fields=fields,
                body=refused.content,
            ),
        )
        notes = [note for note in inspect(exchange).notes if note.level in {Level.BAD, Level.WARN}]
        assert notes == [], notes

    @pytest.mark.parametrize(
        ("order", "target"),
        [
            ("91", "/orders/%391"), ("92", "/orders/92/"), ("93", "/orders/93?draft=1"), ("94", "/Orders/94"),
            ("95", "//orders/95"), ("96", "/orders/./96"), ("97", "/orders/97;v=1"), ("98", "/orders/97/../98"),
        ],
    )  # fmt: skip
    def test_there_is_no_way_around_by_another_spelling(self, desk: Desk, order: str, target: str) -> None:
        """It is refused, or is nothing, or something else: the order stays as it is."""
        desk.ask("bob", "PUT", f"/orders/{order}", text="before")
        desk.lock("alice", f"/orders/{order}")
        place = httpx.URL(desk.application)
        body = '{"text":"around"}'
        credentials = base64.b64encode(b"bob:bob-secret").decode()
        with socket.create_connection((place.host, place.port or 80), 30) as raw:
            raw.sendall(
                f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            while raw.recv(65536):
                pass
        assert desk.ask("bob", "GET", f"/orders/{order}").json() == {"text": "before"}

    def test_a_body_that_is_large_is_refused_too(self, desk: Desk) -> None:
        desk.lock("alice", "/orders/large")
        assert desk.ask("bob", "PUT", "/orders/large", text="x" * 2_000_000).status_code == 423

    def test_the_servers_other_refusals_are_the_clients(self, desk: Desk) -> None:
        nobody = desk.ask(None, "PUT", "/orders/8", text="mine")
        assert nobody.status_code == 401
        assert "Basic" in nobody.headers["WWW-Authenticate"]
        assert desk.ask("bob", "PUT", "/orders/a%2Fb", text="mine").status_code == 400
        ended = desk.lock("alice", "/orders/8")
        desk.release("alice", ended)
        assert desk.ask("alice", "PUT", "/orders/8", text="late", If=f"(<{ended['token']}>)").status_code == 412

    def test_where_the_server_cannot_be_asked_nothing_is_changed_unless_it_was_chosen(self, desk: Desk) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        closed = desk.start(nowhere)
        refused = httpx.put(closed + ORDER, json={"text": "x"}, timeout=30)
        assert refused.status_code == 503
        assert refused.headers["Content-Type"] == PROBLEM
        assert refused.headers["Retry-After"] == "2"
        assert httpx.get(closed + ORDER, timeout=30).json() == {"text": "Twelve chairs"}
        opened = desk.start(nowhere, FAIL_OPEN="1")
        assert httpx.put(opened + ORDER, json={"text": "x"}, timeout=30).json() == {"text": "x"}
