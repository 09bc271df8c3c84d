"""Each proxy of docs/proxy-check.md, as it stands there, between a client and an application that knows nothing of locks."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.docs.conftest import ROOT, blocks

pytestmark = pytest.mark.process

PAGE = ROOT / "docs" / "proxy-check.md"
JSON = {"Accept": "application/problem+json"}
RESOURCE = "/orders/42"


@dataclass
class Application:
    """Answers everything, and remembers what it was asked to do."""

    port: int
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def application() -> Iterator[Application]:
    found: list[Application] = []

    class Answering(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found[0].seen.append((self.command, self.path, body))
            refuses = self.path.endswith("/own-refusal")
            self.send_response(403 if refuses else 200)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"from app")

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - http.server names them

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        found.append(Application(server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found[0]
        server.shutdown()
        thread.join()


@dataclass
class Room:
    """What a proxy's configuration is filled in with."""

    place: Path
    port: int
    holdfast: str
    application: int

    def example(self, language: str) -> str:
        """The block of the page, with this room's addresses in it."""
        [text] = [block.text for block in blocks(PAGE) if block.language == language]
        text = text.replace("127.0.0.1:4230", self.holdfast).replace("127.0.0.1:8080", f"127.0.0.1:{self.application}")
        return re.sub(r"^ *ssl_\w+ .*\n", "", text, flags=re.MULTILINE)


def caddy(room: Room) -> list[str]:
    file = room.place / "Caddyfile"
    site = room.example("caddy").replace("app.example.org {", f"http://127.0.0.1:{room.port} {{")
    file.write_text(f"{{\n\tadmin off\n}}\n{site}")
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


def nginx(room: Room) -> list[str]:
    file, included = room.place / "nginx.conf", room.place / "holdfast-check.conf"
    included.write_text(room.example("nginxinclude"))
    temporary = "".join(
        f"{name}_temp_path {room.place}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    account = "user root;\n" if os.geteuid() == 0 else ""
    site = room.example("nginx").replace("listen 443 ssl", f"listen 127.0.0.1:{room.port}")
    site = site.replace("/etc/nginx/holdfast-check.conf", str(included))
    file.write_text(
        f"daemon off;\nmaster_process off;\n{account}pid {room.place}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{site}}}\n"
    )
    return ["nginx", "-p", str(room.place), "-c", str(file), "-e", str(room.place / "error.log")]


@pytest.fixture
def run_proxy(tmp_path: Path) -> Iterator[Callable[[list[str], int], None]]:
    """Start a proxy and wait until it listens; it is ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run_proxy(command: list[str], port: int) -> None:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        program = shutil.which(command[0], path=path)
        assert program is not None
        environment = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        with open(tmp_path / "said", "wb") as said:
            process = subprocess.Popen([program, *command[1:]], env=environment, stderr=said)
        started.append(process)
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                continue
            return
        pytest.fail(f"{command[0]} ended: {(tmp_path / 'said').read_text()}")

    yield run_proxy
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(
    params=[
        pytest.param(caddy, marks=pytest.mark.tool("caddy")),
        pytest.param(nginx, marks=pytest.mark.tool("nginx")),
    ]
)
def base(request, run_proxy, serving, application: Application, tmp_path: Path) -> str:
    """The proxy's URL, in front of a server with alice and bob and of the application."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = tmp_path / "proxy"
    place.mkdir()
    run_proxy(request.param(Room(place, port, serving.address, application.port)), port)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def people(base: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Alice and bob, as clients of the proxy."""
    with (
        httpx.Client(base_url=base, auth=("alice", "alice-secret"), timeout=30) as alice,
        httpx.Client(base_url=base, auth=("bob", "bob-secret"), timeout=30) as bob,
    ):
        yield alice, bob


def test_a_lock_stops_changes_before_the_application_and_lets_its_holder_through(people, application: Application):
    alice, bob = people
    assert bob.put(RESOURCE, content=b"1").text == "from app"
    lock = alice.post("/api/locks", json={"resource": RESOURCE, "ttl": 600, "reason": "Price list"})
    assert lock.status_code == 201
    application.seen.clear()

    large = b"x" * 300_000
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        refused = bob.request(method, RESOURCE, content=large, headers=JSON)
        assert refused.status_code == 423
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert "no-store" in refused.headers["Cache-Control"]
        assert lock.json()["id"] in refused.headers["Link"]
        told = refused.json()
        assert told["resource"] == RESOURCE
        assert told["locks"][0]["holder"]["name"] == "alice"
        assert "Price list" in told["detail"]
    assert application.seen == []

    assert bob.get(RESOURCE + "?draft=1").text == "from app"
    assert bob.put("/orders/43", content=b"1").text == "from app"
    held = {"If": f"(<{lock.json()['token']}>)"}
    assert alice.put(RESOURCE + "?draft=1", content=large, headers=held).text == "from app"
    assert bob.put(RESOURCE, content=b"2", headers=held).status_code == 423
    assert application.seen == [
        ("GET", RESOURCE + "?draft=1", b""),
        ("PUT", "/orders/43", b"1"),
        ("PUT", RESOURCE + "?draft=1", large),
    ]

    assert alice.delete(
        f"/api/locks/{lock.json()['id']}", headers={"Lock-Token": f"<{lock.json()['token']}>"}
    ).is_success
    assert bob.put(RESOURCE, content=b"3").text == "from app"


def test_other_refusals_keep_their_status_and_words(people, base: str, application: Application):
    alice, bob = people
    unknown = httpx.put(base + RESOURCE, content=b"x", headers=JSON)
    assert unknown.status_code == 401
    assert "Basic" in unknown.headers["WWW-Authenticate"]
    assert unknown.json()["status"] == 401
    false = bob.put(RESOURCE, content=b"x", headers={"If": "(<urn:x:y>)", **JSON})
    assert (false.status_code, false.json()["status"]) == (412, 412)
    wrong = bob.put(RESOURCE, content=b"x", headers={"If": "(", **JSON})
    assert (wrong.status_code, wrong.json()["status"]) == (400, 400)
    assert application.seen == []
    assert alice.put("/own-refusal", content=b"x").text == "from app"


def test_a_clients_own_fields_open_nothing(people, application: Application):
    alice, bob = people
    lock = alice.post("/api/locks", json={"resource": RESOURCE, "ttl": 600}).json()
    for claims in (
        {"X-Forwarded-Method": "GET"},
        {"X-Forwarded-Uri": "/free"},
        {"X-Original-Method": "GET", "X-Original-Uri": RESOURCE},
        {"X-Forwarded-User": "alice", "If": f"(<{lock['token']}>)"},
    ):
        assert bob.put(RESOURCE, content=b"x", headers=claims).status_code == 423
    assert application.seen == []


def test_a_tree_that_is_closed_for_maintenance_is_read_only(people, application: Application):
    alice, bob = people
    alice.post("/api/locks", json={"resource": "/orders", "depth": "infinity", "reason": "Upgrade"})
    assert "Upgrade" in bob.post("/orders/99/items", content=b"x", headers=JSON).json()["detail"]
    assert bob.get("/orders/99/items").text == "from app"
    assert [method for method, _, _ in application.seen] == ["GET"]
