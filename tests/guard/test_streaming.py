"""Everything else streams through in both directions, and neither side is left waiting when the other fails."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.edge.tiny import PATIENCE_S, Client, wait_until
from tests.guard.standing import AsgiApplication, Peer, RawApplication

MIB = 1024 * 1024


def test_a_body_passes_piece_by_piece_as_it_comes_and_so_does_the_answer(guarding):
    """An application that answers while it reads: each piece comes back before the next one is sent."""

    def handle(peer: Peer) -> None:
        _, fields = peer.head()
        assert fields["transfer-encoding"] == "chunked"
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(peer.file.readline(), 16):
            data = peer.file.read(size)
            peer.file.readline()
            peer.send(b"%x\r\n%b\r\n" % (size, data))
        peer.file.readline()
        peer.send("0\r\n\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert client.head()["transfer-encoding"] == "chunked"
            for piece in (b"one", b"two", b"x" * 70_000):
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                found = b""
                while len(found) < len(piece):
                    found += client.chunk()
                assert found == piece
            client.send("0\r\n\r\n")
            assert client.chunk() == b""


def test_events_come_as_they_happen(guarding):
    """Server-Sent Events: a chunk of an answer without an end is there before the next one is made."""
    came = threading.Semaphore(0)

    async def app(scope, receive, send) -> None:
        import asyncio

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            assert await asyncio.to_thread(came.acquire, timeout=PATIENCE_S)
        await send({"type": "http.response.body", "body": b""})

    with AsgiApplication(app) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.request("GET", "/events")
            assert client.head()["content-type"] == "text/event-stream"
            for number in range(3):
                assert client.chunk() == b"data: %d\n\n" % number
                came.release()
            assert client.chunk() == b""


def test_the_100_that_the_client_gets_is_the_applications(guarding):
    asked = threading.Event()

    def handle(peer: Peer) -> None:
        _, fields = peer.head()
        assert fields["expect"] == "100-continue"
        assert asked.wait(PATIENCE_S)
        peer.send("HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body(fields) == b"data"
        peer.answer(b"thanks")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send("PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            asked.set()
            assert client.answer().status == 100
            client.send("data")
            assert client.answer().body == b"thanks"


def test_an_application_that_refuses_a_body_is_heard_before_it_is_sent(guarding):
    def handle(peer: Peer) -> None:
        peer.head()
        peer.answer(b"too large", status="413 Content Too Large")
        assert peer.has_ended()

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send("PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 400000000\r\n\r\n")
            answer = client.answer()
            assert (answer.status, answer.body, answer.fields["connection"]) == (413, b"too large", "close")
        with guard.connect() as client:  # and one that sends without waiting
            client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n" + b"x" * MIB)
            assert client.answer().status == 413


def test_other_interim_answers_pass(guarding):
    """RFC 8297: a 103 comes before the answer; RFC 9110 section 15.2: to no client of HTTP/1.0."""

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
        peer.answer(fields="Connection: close\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.request("GET", "/")
            hints = client.head()
            assert hints["link"] == "</a.css>; rel=preload"
            assert "x-hop" not in hints
            assert client.answer().body == b"ok"
        with guard.connect() as client:
            client.send("GET / HTTP/1.0\r\n\r\n")
            assert client.answer().body == b"ok"


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        ("HEAD", "200 OK\r\nContent-Length: 1000", {"content-length": "1000"}),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", {}),
        ("GET", "204 No Content", {}),
        ("GET", '304 Not Modified\r\nETag: "a"', {"etag": '"a"'}),
        ("GET", "205 Reset Content\r\nContent-Length: 0", {"content-length": "0"}),
        ("GET", "418 I'm a teapot\r\nContent-Length: 0", {"content-length": "0"}),
        ("GET", "599 Odd\r\nContent-Length: 0", {"content-length": "0"}),
    ],
)
def test_answers_without_content_stay_so_and_the_connection_goes_on(guarding, method, answer, expected):
    def handle(peer: Peer) -> None:
        while peer.head()[0]:
            peer.send(f"HTTP/1.1 {answer}\r\n\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            for _ in range(2):
                found = client.ask(method, "/")
                assert str(found.status) == answer[:3]
                assert found.body == b""
                assert expected.items() <= found.fields.items()
        assert application.connections == 1


def test_the_fields_of_an_answer_are_the_applications(guarding):
    def handle(peer: Peer) -> None:
        peer.head()
        peer.answer(
            fields="Server: mine\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Odd: \xe4\r\nKeep-Alive: timeout=5\r\n"
        )
        peer.head()
        peer.answer()

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            fields = client.ask("GET", "/").fields
            assert (fields["server"], fields["date"], fields["x-odd"]) == (
                "mine",
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "\xe4",
            )
            assert "keep-alive" not in fields
            assert re.fullmatch(r"1\.1 holdfast-[0-9a-f]{8}", fields["via"])
            fields = client.ask("GET", "/").fields
            assert "date" in fields
            assert "server" not in fields


def test_an_http_10_client_gets_an_answer_without_length_up_to_the_close(guarding):
    def handle(peer: Peer) -> None:
        line, fields = peer.head()
        assert line == "GET /a?b HTTP/1.1"
        assert fields["host"] == f"127.0.0.1:{application.port}"
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send("GET /a?b HTTP/1.0\r\n\r\n")
            answer = client.answer()
            assert (answer.body, answer.fields["connection"]) == (b"abc", "close")
            assert "transfer-encoding" not in answer.fields


def test_an_http_10_application_is_understood(guarding):
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send("HTTP/1.0 200 OK\r\n\r\nall until the end")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            for _ in range(2):
                assert client.ask("GET", "/").body == b"all until the end"
        assert application.connections == 2


class TestAborts:
    """One side goes: the other is told."""

    def test_a_client_that_goes_while_it_waits(self, guarding):
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            assert peer.has_ended()
            ended.set()

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.request("GET", "/slow")
                wait_until(lambda: application.connections)
            assert ended.wait(PATIENCE_S)

    def test_a_client_that_goes_in_its_body(self, guarding):
        heads: list[str] = []
        bodies: list[bytes | None] = []

        def handle(peer: Peer) -> None:
            line, fields = peer.head()
            heads.append(line)
            bodies.append(peer.body(fields))

        with RawApplication(handle) as application:
            guard = guarding(application)
            for framing in ("Content-Length: 100", "Transfer-Encoding: chunked"):
                with guard.connect() as client:
                    client.send(f"PUT /a HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n5\r\nabcde\r\n")
                    count = len(bodies)
                    wait_until(lambda: len(heads) > count)  # noqa: B023
                wait_until(lambda: len(bodies) > count)  # noqa: B023
        assert bodies == [None, None]

    def test_a_client_that_goes_in_the_answer(self, guarding):
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            assert peer.has_ended()
            ended.set()

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.request("GET", "/")
                client.head()
                assert client.chunk() == b"a"
            assert ended.wait(PATIENCE_S)

    @pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_an_application_that_goes_in_its_answer(self, guarding, framing, version):
        """What is cut short can be told from what is whole, also where only the close tells the end."""

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nabcde\r\n")

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n")
                assert client.is_cut_off()

    def test_an_application_that_breaks_off_an_answer_that_its_close_would_end(self, guarding):
        taken = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send("HTTP/1.1 200 OK\r\n\r\nabcde")
            assert taken.wait(PATIENCE_S)
            peer.reset()

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.request("GET", "/")
                client.head()
                assert client.chunk() == b"abcde"
                taken.set()
                assert client.is_cut_off()

    @pytest.mark.parametrize("ends_tls", [True, False])
    def test_over_tls_an_answer_ends_with_tls_and_not_with_the_connection(self, guarding, tls_context, ends_tls):
        """RFC 9112 section 9.8: anybody on the way may end a connection; the word that TLS ends is the application's own."""

        def handle(peer: Peer) -> None:
            with tls_context.wrap_socket(peer.socket.dup(), server_side=True) as secured:
                over_tls = Peer(secured)
                over_tls.head()
                over_tls.send("HTTP/1.1 200 OK\r\n\r\nabcde")
                if ends_tls:
                    with contextlib.suppress(OSError):
                        secured.unwrap().close()
                over_tls.file.close()

        with RawApplication(handle) as application:
            application.url = f"https://localhost:{application.port}"
            guard = guarding(application)
            with guard.connect() as client:
                client.request("GET", "/")
                if ends_tls:
                    assert client.answer().body == b"abcde"
                else:
                    assert client.is_cut_off()

    @pytest.mark.parametrize("goes", ["close", "reset"])
    def test_an_application_that_goes_in_the_body(self, guarding, goes):
        def handle(peer: Peer) -> None:
            peer.head()
            peer.file.read(10)
            getattr(peer, goes)()

        with RawApplication(handle) as application:
            guard = guarding(application)
            with guard.connect() as client:
                client.send("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789")
                assert client.answer().status == 502


@pytest.mark.process
def test_large_bodies_take_no_memory_and_no_disk(tmp_path: Path):
    """64 MiB each way, to and from an application that takes and gives them slowly at first."""
    size = 64 * MIB
    block = os.urandom(MIB)
    digests: list[str] = []

    def handle(peer: Peer) -> None:
        while True:
            line, fields = peer.head()
            if not line:
                return
            if line.startswith("PUT"):
                digest, left = hashlib.sha256(), int(fields["content-length"])
                while left:
                    data = peer.file.read(min(left, 65536))
                    digest.update(data)
                    left -= len(data)
                digests.append(digest.hexdigest())
                peer.answer(b"")
            else:
                peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
                for _ in range(size // MIB):
                    peer.send(block)

    with RawApplication(handle) as application:
        command = [sys.executable, "-m", "holdfast", "guard", "--upstream", application.url, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as guard:
            try:
                port = _port_of(guard)
                before = _resident(guard.pid)
                with Client(_connected(port)) as client:
                    client.send(f"PUT /large HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
                    for _ in range(size // MIB):
                        client.send(block)
                    assert client.answer().status == 200
                    client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert client.head()["content-length"] == str(size)
                    for _ in range(size // MIB):
                        assert client._exactly(MIB) == block
                grown = _resident(guard.pid) - before
            finally:
                guard.send_signal(signal.SIGINT)
                guard.communicate(timeout=30)
        assert grown < 16 * MIB
    expected = hashlib.sha256()
    for _ in range(size // MIB):
        expected.update(block)
    assert digests == [expected.hexdigest()]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8 * MIB


def test_an_application_that_takes_nothing_stops_the_client_from_sending(guarding):
    """The guard does not fill its memory in its stead."""
    may_take = threading.Event()
    sizes: list[int] = []

    def handle(peer: Peer) -> None:
        _, fields = peer.head()
        assert may_take.wait(PATIENCE_S)
        body = peer.body(fields)
        assert body is not None
        sizes.append(len(body))
        peer.answer()

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            size = 64 * MIB
            client.send(f"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
            client.socket.settimeout(1.0)
            data = b"x" * (256 * 1024)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < size:
                    sent += client.socket.send(data)
            assert sent < size // 2
            may_take.set()
            client.socket.settimeout(PATIENCE_S)
            while sent < size:
                sent += client.socket.send(data[: size - sent])
            assert client.answer().status == 200
    assert sizes == [size]


def _port_of(guard: subprocess.Popen[str]) -> int:
    assert guard.stdout is not None
    found = 0
    for line in guard.stdout:
        matched = re.match(r"  address +http://[^:]+:(\d+)/", line)
        found = int(matched[1]) if matched else found
        if line.startswith("Ctrl-C"):
            return found
    pytest.fail("the guard did not start")


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def _resident(process: int) -> int:
    """Bytes of the process in memory at most, until now."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024
