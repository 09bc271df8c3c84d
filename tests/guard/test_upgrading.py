"""WebSockets, and other protocols that are let through, reach the application and come back byte for byte."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UserRecord
from holdfast.core.access import Grant, Role
from holdfast.edge.serve import Tls
from holdfast.edge.settings import Limits
from holdfast.edge.upgrading import WEBSOCKET, Upgrades, is_http
from tests.edge.tiny import PATIENCE_S, Client, wait_until
from tests.guard.conftest import Noting
from tests.guard.standing import AsgiApplication, Peer, RawApplication, Standing
from tests.guard.test_locks import lock_by

MIB = 1024 * 1024
KEYS = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ASKING = f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEYS}\r\n"
ACCEPTING = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
ACCEPTED = f"{ACCEPTING}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"


ECHOING = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""


class Talking(AsgiApplication):
    """Echoes each message, unless the path asks for something else."""

    def __init__(self, **options: Any) -> None:
        self.closed: list[int] = []
        super().__init__(self._talk, interface="asgi3", ws="websockets-sansio", ws_max_size=32 * MIB, **options)

    async def _talk(self, scope, receive, send) -> None:
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refuses":
            await send({"type": "websocket.close"})
            return
        chosen = scope["subprotocols"][0] if scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x-app", b"1")]})
        if scope["path"] == "/fields":
            fields = [f"{name.decode()}: {value.decode()}" for name, value in scope["headers"]]
            await send({"type": "websocket.send", "text": "\n".join(fields)})
        if scope["path"] == "/ends":
            await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
            return
        while (message := await receive())["type"] == "websocket.receive":
            data = {key: value for key, value in message.items() if key in {"text", "bytes"} and value is not None}
            await send({"type": "websocket.send", **data})
        self.closed.append(message["code"])


@pytest.fixture
def talking() -> Iterator[Talking]:
    with Talking() as standing:
        yield standing


def joined(guard: Standing, path: str = "/echo", **options: Any) -> ClientConnection:
    options = {"proxy": None, "open_timeout": PATIENCE_S, "max_size": 32 * MIB, "ping_interval": None, **options}
    return connect(guard.url.replace("http", "ws", 1) + path, **options)


def until_the_end(peer: Peer) -> bytes:
    """All that comes; the end may be a reset."""
    came = b""
    with contextlib.suppress(ConnectionError):
        while data := peer.socket.recv(65536):
            came += data
    return came


def accept(peer: Peer, answer: str = ACCEPTED) -> None:
    peer.head()
    peer.send(answer)


class TestAWebSocket:
    def test_what_is_said_comes_back_and_the_client_may_end_it(self, guarding, talking):
        guard = guarding(talking)
        with joined(guard, subprotocols=["chat"]) as websocket:
            assert websocket.subprotocol == "chat"
            assert websocket.response.headers["x-app"] == "1"
            assert websocket.response.headers["server"] == "uvicorn"
            for message in ("hello", b"\0\xff" * 1000, "", "ä" * 70_000):
                websocket.send(message)
                assert websocket.recv(PATIENCE_S) == message
            websocket.close(4002, "done")
            assert websocket.close_code == 4002
        wait_until(lambda: talking.closed == [4002])

    def test_the_application_may_end_it(self, guarding, talking):
        with joined(guarding(talking), "/ends") as websocket:
            with pytest.raises(ConnectionClosedError):
                websocket.recv(PATIENCE_S)
            assert (websocket.close_code, websocket.close_reason) == (4001, "enough")

    def test_large_frames_pass_in_both_directions_at_once(self, guarding, talking):
        message = os.urandom(16 * MIB)
        with joined(guarding(talking)) as websocket:
            for _ in range(2):
                websocket.send(message)
                assert websocket.recv(PATIENCE_S) == message

    def test_a_refused_handshake_is_the_applications(self, guarding, talking):
        guard = guarding(talking)
        with pytest.raises(InvalidStatus) as refused, joined(guard, "/refuses"):
            pass
        assert refused.value.response.status_code == 403
        assert refused.value.response.headers["connection"] == "close"

    def test_the_application_is_told_who_asks_as_with_any_request(self, guarding, talking):
        guard = guarding(talking, upstream_host="inside")
        with joined(guard, "/fields", additional_headers={"Cookie": "a=b"}, origin="https://x") as websocket:
            fields = dict(line.split(": ", 1) for line in str(websocket.recv(PATIENCE_S)).split("\n"))
        assert fields["host"] == "inside"
        assert (fields["x-forwarded-for"], fields["origin"], fields["cookie"]) == ("127.0.0.1", "https://x", "a=b")
        assert (fields["connection"], fields["upgrade"]) == ("upgrade", "websocket")
        assert fields["sec-websocket-extensions"].startswith("permessage-deflate")

    def test_with_users_it_begins_for_readers_alone(self, guarding, talking):
        users = (UserRecord("rita", Passwords().hash("secret"), (Grant(Role.READER),)),)
        guard = guarding(talking, users=users)
        with pytest.raises(InvalidStatus) as refused, joined(guard):
            pass
        assert refused.value.response.status_code == 401
        with joined(guard, additional_headers={"Authorization": "Basic cml0YTpzZWNyZXQ="}) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE_S) == "hello"

    def test_it_begins_with_a_get_which_no_lock_stops(self, guarding, talking):
        guard = guarding(talking)
        lock_by(guard, "/echo")
        with joined(guard) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE_S) == "hello"

    @pytest.mark.parametrize("where", ["before", "behind"])
    def test_over_tls(self, guarding, tmp_path: Path, monkeypatch, where):
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        message = os.urandom(MIB // 2)
        behind = {"ssl_certfile": tmp_path / "cert.pem", "ssl_keyfile": tmp_path / "key.pem"}
        with Talking(**(behind if where == "behind" else {})) as talking:
            if where == "behind":
                guard = Standing(f"https://localhost:{talking.port}", tmp_path)
            else:
                guard = Standing(talking.url, tmp_path, tls=Tls(tmp_path / "cert.pem", tmp_path / "key.pem"))
            with guard:
                context = ssl.create_default_context(cafile=tmp_path / "ca.pem") if where == "before" else None
                url = f"{'wss' if context else 'ws'}://127.0.0.1:{guard.address[1]}/echo"
                with connect(url, proxy=None, ssl=context) as websocket:
                    websocket.send(message)
                    assert websocket.recv(PATIENCE_S) == message
                    websocket.close(4003)
                wait_until(lambda: talking.closed == [4003])

    def test_each_counts_as_an_open_connection(self, guarding, talking):
        guard = guarding(talking, limits=Limits(connections=2))
        with joined(guard), joined(guard):
            with guard.connect() as client:
                assert client.answer().status == 503
        wait_until(lambda: len(talking.closed) == 2)
        with joined(guard):
            pass


class TestEndings:
    @pytest.mark.parametrize("goes", ["close", "reset"])
    def test_an_application_that_is_killed(self, guarding, goes):
        heard = threading.Event()

        def handle(peer: Peer) -> None:
            accept(peer)
            peer.send(b"\x82\x7e\x10\x00only a part")
            assert heard.wait(PATIENCE_S)
            getattr(peer, goes)()

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send(ASKING)
            assert "upgrade" in client.head()
            assert client._exactly(15) == b"\x82\x7e\x10\x00only a part"
            heard.set()
            if goes == "reset":
                with pytest.raises(ConnectionResetError):
                    client.rest()
            else:
                assert client.rest() == b""

    @pytest.mark.process
    def test_a_uvicorn_that_is_killed(self, guarding, tmp_path: Path):
        (tmp_path / "echoing.py").write_text(ECHOING)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            number = listening.fileno()
            command = [sys.executable, "-m", "uvicorn", "echoing:app", "--fd", str(number), "--log-level", "error"]
            process = subprocess.Popen(command, cwd=tmp_path, pass_fds=[number])
        with process:
            try:
                guard = guarding(SimpleNamespace(url=url))
                with joined(guard) as websocket:
                    websocket.send("hello")
                    assert websocket.recv(PATIENCE_S) == "hello"
                    process.kill()
                    with pytest.raises(ConnectionClosedError):
                        websocket.recv(PATIENCE_S)
                    assert websocket.close_code == 1006
            finally:
                process.kill()

    def test_a_client_that_is_killed(self, guarding):
        came: list[bytes] = []

        def handle(peer: Peer) -> None:
            accept(peer)
            came.append(until_the_end(peer))

        with RawApplication(handle) as application:
            with guarding(application).connect() as client:
                client.send(ASKING)
                client.head()
                client.send(b"last words")
            wait_until(lambda: came)
        assert came == [b"last words"]

    def test_either_direction_may_end_before_the_other(self, guarding):
        def handle(peer: Peer) -> None:
            accept(peer)
            if peer.file.read(5) == b"first":
                peer.socket.shutdown(socket.SHUT_WR)
                assert until_the_end(peer) == b"and then some"
            else:
                assert peer.file.read() == b""
                peer.send(b"x" * MIB + b"the answer to all of it")

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.send(ASKING + "first")
                client.head()
                assert client.rest() == b""
                client.send("and then some")
            with guard.connect() as client:
                client.send(ASKING)
                client.head()
                client.send("other")
                client.socket.shutdown(socket.SHUT_WR)
                assert client.rest() == b"x" * MIB + b"the answer to all of it"

    @pytest.mark.parametrize("limit", ["idle_s", "half_closed_s"])
    def test_where_nothing_is_said_it_ends(self, guarding, limit):
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            accept(peer)
            if limit == "half_closed_s":
                peer.socket.shutdown(socket.SHUT_WR)
            assert peer.has_ended()
            ended.set()

        upgrades = Upgrades(protocols=frozenset({WEBSOCKET}), **{limit: 0.05})
        with RawApplication(handle) as application, guarding(application, upgrades=upgrades).connect() as client:
            client.send(ASKING)
            client.head()
            assert client.rest() == b""
            assert ended.wait(PATIENCE_S)

    def test_it_ends_at_once_when_the_guard_stops(self, guarding, talking):
        guard = guarding(talking)
        with joined(guard) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE_S) == "hello"
            guard.server.stop()
            with pytest.raises(ConnectionClosedError):
                websocket.recv(PATIENCE_S)
            guard.thread.join(PATIENCE_S / 2)  # it is given twice that time for what is under way
            assert not guard.thread.is_alive()


class TestWhatIsHttp:
    """Until the application has said 101 nobody knows what the client's bytes are, so nobody acts on them."""

    SMUGGLED = "PUT /locked HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"

    def test_what_comes_behind_a_handshake_waits_for_the_101_and_is_no_request(self, guarding):
        asked = threading.Event()
        came: list[bytes] = []

        def handle(peer: Peer) -> None:
            peer.head()
            peer.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                peer.socket.recv(1)
            peer.socket.settimeout(PATIENCE_S)
            asked.set()
            peer.send(ACCEPTED + "greeting")
            came.append(until_the_end(peer))

        with RawApplication(handle) as application:
            guard = guarding(application)
            lock_by(guard, "/locked")
            with guard.connect() as client:
                client.send(ASKING + self.SMUGGLED)
                assert "sec-websocket-accept" in client.head()
                assert client._exactly(8) == b"greeting"
                client.send("more")
            wait_until(lambda: came)
            assert application.connections == 1
        assert came == [self.SMUGGLED.encode() + b"more"]

    def test_what_comes_behind_a_refused_handshake_is_dropped(self, guarding, application: Noting):
        guard = guarding(application)
        with guard.connect() as client:
            client.send(ASKING + self.SMUGGLED)
            answer = client.answer()
            assert (answer.status, answer.body, answer.fields["connection"]) == (200, b"from app", "close")
            client.send(self.SMUGGLED)
            assert client.is_closed_by_server()
        assert application.seen == [("GET /ws", b"")]

    def test_requests_before_a_handshake_are_answered_first(self, guarding):
        def handle(peer: Peer) -> None:
            line, _ = peer.head()
            if "/ws" in line:
                peer.send(ACCEPTED)
                peer.send(peer.file.read(4))
            else:
                peer.answer(b"plain", fields="Connection: close\r\n")

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n" + ASKING + "data")
            assert [client.answer().body for _ in range(2)] == [b"plain", b"plain"]
            client.head()
            assert client.rest() == b"data"

    @pytest.mark.parametrize(
        "answer",
        [
            f"{ACCEPTING}\r\n",
            f"{ACCEPTING}Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            ACCEPTED.replace("Upgrade: websocket", "Upgrade: tus"),
            ACCEPTED.replace("Upgrade: websocket\r\n", ""),
        ],
    )
    def test_a_101_that_is_none_joins_nothing(self, guarding, answer):
        """An application that can be talked into a status would go on reading requests, past every lock."""
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            accept(peer, answer)
            assert until_the_end(peer) == b""
            ended.set()

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send(ASKING + self.SMUGGLED)
            assert client.answer().status == 502
            assert ended.wait(PATIENCE_S)

    @pytest.mark.parametrize(
        "asking",
        [
            "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
            ASKING.replace("Connection: Upgrade\r\n", ""),
            ASKING.replace("Upgrade: websocket", "Upgrade: h2c"),
            ASKING.replace("HTTP/1.1\r\n", "HTTP/1.0\r\n").replace("Host: x\r\n", ""),
            ASKING.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"),
        ],
    )
    def test_a_101_that_nobody_asked_for_joins_nothing(self, guarding, asking):
        def handle(peer: Peer) -> None:
            _, fields = peer.head()
            assert "upgrade" not in fields
            peer.body(fields)
            with contextlib.suppress(ConnectionError):
                peer.send(ACCEPTED)
            until_the_end(peer)

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send(asking)
            assert client.answer().status == 502

    @pytest.mark.parametrize(("protocol", "expected"), [
        ("h2c", True), ("H2C", True), ("HTTP/2.0", True), ("TLS/1.0", True), ("websocket", False), ("tus", False),
    ])  # fmt: skip
    def test_protocols_with_requests_in_them_are_known(self, protocol, expected):
        assert is_http(protocol) is expected


class TestOtherProtocols:
    ASKING = "POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: TCP\r\nContent-Length: 0\r\n\r\n"

    def test_one_that_is_allowed_passes_and_is_asked_about_like_any_change(self, guarding):
        def handle(peer: Peer) -> None:
            _, fields = peer.head()
            assert fields["upgrade"] == "tcp"
            peer.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            peer.send(peer.file.read(4))

        upgrades = Upgrades(protocols=frozenset({"tcp"}))
        with RawApplication(handle) as application:
            guard = guarding(application, upgrades=upgrades)
            with guard.connect() as client:
                client.send(self.ASKING + "data")
                assert client.head()["upgrade"] == "tcp"
                assert client.rest() == b"data"
            lock_by(guard, "/attach")
            with guard.connect() as client:
                client.send(self.ASKING + "data")
                assert client.answer().status == 423
            with guard.connect() as client:
                client.send(ASKING)
                assert client.answer().status == 501
            assert application.connections == 1

    def test_what_is_not_allowed_is_not_offered(self, guarding):
        def handle(peer: Peer) -> None:
            _, fields = peer.head()
            assert fields["upgrade"] == "websocket"
            peer.send(ACCEPTED)

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send(ASKING.replace("Upgrade: websocket", "Upgrade: h2c, WebSocket, tcp"))
            assert client.head()["upgrade"] == "websocket"
            assert client.rest() == b""


class TestBackPressure:
    def test_a_client_that_takes_nothing_may_still_send(self, guarding):
        """Neither direction waits for the other: a client that speaks first and listens later gets through."""
        size = 8 * MIB
        blocks = threading.Event()

        def handle(peer: Peer) -> None:
            accept(peer)

            def send() -> None:
                peer.send(b"y" * size)

            sending = threading.Thread(target=send)
            sending.start()
            assert blocks.wait(PATIENCE_S)
            assert peer.file.read(size) == b"x" * size
            sending.join()

        with RawApplication(handle) as application, guarding(application).connect() as client:
            client.send(ASKING)
            client.head()
            blocks.set()
            client.send(b"x" * size)
            assert client._exactly(size) == b"y" * size

    @pytest.mark.process
    @pytest.mark.parametrize("slow", ["client", "application"])
    def test_a_slow_reader_makes_no_memory_grow(self, tmp_path: Path, slow):
        size = 64 * MIB
        stuck, go_on, done = threading.Event(), threading.Event(), threading.Event()
        data = b"x" * (256 * 1024)

        def flood(sock: socket.socket) -> None:
            """Send until nothing more is taken, say so, and then the rest."""
            sent = 0
            sock.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                while sent < size:
                    sent += sock.send(data[: size - sent])
            assert sent < size // 2
            stuck.set()
            assert go_on.wait(PATIENCE_S)
            sock.settimeout(PATIENCE_S)
            while sent < size:
                sent += sock.send(data[: size - sent])

        def take(sock: socket.socket, came: int = 0) -> None:
            assert stuck.wait(PATIENCE_S)
            go_on.set()
            left = size - came
            while left:
                data = sock.recv(65536)
                assert data
                left -= len(data)
            done.set()

        def handle(peer: Peer) -> None:
            accept(peer)
            (flood if slow == "client" else take)(peer.socket)
            assert done.wait(PATIENCE_S)

        with RawApplication(handle) as application, guard_process(application.url, tmp_path) as (process, port):
            with Client(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) as client:
                client.send(ASKING.replace("Host: x", "Host: localhost"))
                client.head()
                before = resident(process.pid)
                if slow == "client":
                    take(client.socket, len(client._buffer))
                else:
                    flood(client.socket)
                assert done.wait(PATIENCE_S)
                grown = resident(process.pid) - before
        assert grown < 8 * MIB


@pytest.mark.process
def test_sigterm_ends_a_websocket_and_the_guard(tmp_path: Path, talking):
    with guard_process(talking.url, tmp_path) as (process, port):
        with connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE_S) == "hello"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosedError):
                websocket.recv(PATIENCE_S)
        assert process.wait(PATIENCE_S) == 0
    wait_until(lambda: talking.closed)


@contextlib.contextmanager
def guard_process(upstream: str, place: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`holdfast guard` as a process, and its port."""
    command = [sys.executable, "-m", "holdfast", "guard", "--upstream", upstream, "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=place) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not said.endswith("stops the guard.\n"):
                line = process.stdout.readline()
                assert line, said
                said += line
            found = re.search(r"address +http://[^:]+:(\d+)/", said)
            assert found is not None
            yield process, int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def resident(process: int) -> int:
    """Bytes of the process in memory at most, until now."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
