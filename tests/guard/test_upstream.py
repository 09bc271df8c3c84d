"""The application is reached over kept connections, and what is wrong with it is said in plain words."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from holdfast.edge.upstream import Upstream, UpstreamAddressError
from tests.edge.tiny import PATIENCE_S, wait_until
from tests.guard.standing import Peer, RawApplication, Standing, forever


def test_a_connection_is_kept_for_the_next_request(guarding, application):
    guard = guarding(application)
    for _ in range(3):
        assert httpx.get(guard.url, timeout=30).text == "from app"
    assert application.connections == 1


def test_an_application_that_closes_after_each_answer_is_asked_anew(guarding):
    def handle(peer: Peer) -> None:
        _, fields = peer.head()
        peer.body(fields)
        peer.answer(fields="Connection: close\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application)
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            for method in ("GET", "POST", "PUT"):
                assert client.request(method, "/", content=b"").text == "ok"
        assert application.connections == 3


def test_a_kept_connection_that_ends_unheard_costs_a_reader_nothing(guarding):
    """It closes as the next request comes: what may be sent twice is sent again (RFC 9110 section 9.2.2)."""
    lines: list[str] = []

    def handle(peer: Peer) -> None:
        lines.append(peer.head()[0])
        peer.answer()
        lines.append(peer.head()[0])

    with RawApplication(handle) as application:
        guard = guarding(application)
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            assert client.get("/1").text == "ok"
            assert client.get("/2").text == "ok"
    assert lines[:3] == ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]


def test_a_change_is_never_sent_twice(guarding):
    lines: list[str] = []

    def handle(peer: Peer) -> None:
        lines.append(peer.head()[0])
        peer.answer()
        line, fields = peer.head()
        lines.append(line)
        peer.body(fields)

    with RawApplication(handle) as application:
        guard = guarding(application)
        with httpx.Client(base_url=guard.url, timeout=30) as client:
            assert client.get("/1").text == "ok"
            assert client.post("/2", content=b"x").status_code == 502
    assert lines == ["GET /1 HTTP/1.1", "POST /2 HTTP/1.1"]


def test_an_application_that_is_not_there_is_a_502(guarding, application):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    application.url = f"http://127.0.0.1:{port}"
    guard = guarding(application)
    with guard.connect() as client:
        for body in (b"", b"x" * 300_000):
            answer = client.ask("PUT", "/a", body)
            assert answer.status == 502
            told = json.loads(answer.body)
            assert (told["status"], told["title"]) == (502, "Bad Gateway")
            assert str(port) not in told["detail"]
            if answer.fields.get("connection") == "close":
                break


def test_an_application_that_does_not_answer_is_a_504(guarding):
    def handle(peer: Peer) -> None:
        peer.head()
        assert peer.has_ended()

    with RawApplication(handle) as application:
        guard = guarding(application, answer_s=0.1)
        with guard.connect() as client:
            assert client.ask("GET", "/").status == 504
            assert client.ask("PUT", "/", b"data").status == 504


def test_an_application_that_takes_nothing_is_a_504(guarding):
    may_end = threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        may_end.wait(PATIENCE_S)

    with RawApplication(handle) as application:
        guard = guarding(application, answer_s=0.3)
        with guard.connect() as client:
            client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            sending = threading.Thread(target=_send_much, args=[client.socket])
            sending.start()
            assert client.answer().status == 504
            may_end.set()
        sending.join(PATIENCE_S)


def _send_much(sock: socket.socket) -> None:
    try:
        for _ in range(400):
            sock.sendall(b"x" * 250_000)
    except OSError:
        pass


def test_an_answer_may_take_its_time_once_it_has_begun(guarding):
    gone = threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert gone.wait(PATIENCE_S)
        peer.send("0\r\n\r\n")

    with RawApplication(handle) as application:
        guard = guarding(application, answer_s=0.05)
        with guard.connect() as client:
            client.request("GET", "/")
            assert client.head()
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 0.2)
            gone.set()
            assert client.chunk() == b"a"
            assert client.chunk() == b""


def test_a_stop_lets_what_is_under_way_end(tmp_path: Path):
    asked, may_answer = threading.Event(), threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        asked.set()
        assert may_answer.wait(PATIENCE_S)
        peer.answer(b"late")

    with RawApplication(handle) as application:
        guard = Standing(application.url, tmp_path)
        with guard.connect() as client:
            client.request("GET", "/")
            assert asked.wait(PATIENCE_S)
            guard.server.stop()
            wait_until(lambda: _refuses(guard.address))
            may_answer.set()
            answer = client.answer()
            assert (answer.body, answer.fields.get("connection")) == (b"late", "close")
        guard.__exit__()


def _refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return True
    return False


def test_a_stop_ends_what_does_not_end_in_time(tmp_path: Path):
    ended = threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert peer.has_ended()
        ended.set()

    with RawApplication(handle) as application:
        with Standing(application.url, tmp_path, graceful_s=0.1) as guard:
            client = guard.connect()
            client.request("GET", "/")
            client.head()
        assert ended.wait(PATIENCE_S)
        client.socket.close()


def test_a_guard_before_itself_says_so(tmp_path: Path):
    before: list[Standing] = []
    with RawApplication(lambda peer: _pass_on(peer, before[0])) as application:
        with Standing(application.url, tmp_path) as guard, guard.connect() as client:
            before.append(guard)
            assert client.ask("GET", "/").status == 508


def _pass_on(peer: Peer, guard: Standing) -> None:
    """What leads back to the guard, as a proxy would that adds nothing."""
    head = peer.raw_head()
    with guard.connect() as back:
        back.send(head + b"\r\n")
        answer = back.answer()
    peer.answer(answer.body, status=f"{answer.status} x")


def test_an_application_on_a_unix_socket(tmp_path: Path):
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            sock, _ = listening.accept()
            sock.settimeout(PATIENCE_S)
            peer = Peer(sock)
            forever(lambda peer, line, fields, body: peer.answer(line.encode()))(peer)
            peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with Standing(f"unix:{path}", tmp_path) as guard, guard.connect() as client:
            assert client.ask("GET", "/a").body == b"GET /a HTTP/1.1"
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a", ("a", 80, "", False, b"a")),
        ("https://a/", ("a", 443, "", True, b"a")),
        ("http://[::1]:8000", ("::1", 8000, "", False, b"[::1]:8000")),
        ("unix:/run/app.sock", ("", 0, "/run/app.sock", False, b"localhost")),
    ],
)
def test_an_address_is_understood(text, expected):
    found = Upstream.parse(text)
    assert (found.host, found.port, found.path, found.is_tls, found.authority) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:80",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://u:p@a",
        "http://a:x",
        "http://\xe4",
        "unix:a",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UpstreamAddressError):
        Upstream.parse(text)
