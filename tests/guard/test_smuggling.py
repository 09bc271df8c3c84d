"""What the application reads is what was checked: no request hides in another, by framing, fields or target."""

from __future__ import annotations

import contextlib
import threading

import pytest

from holdfast.edge.upgrading import Upgrades
from tests.edge.tiny import PATIENCE_S, wait_until
from tests.guard.standing import Peer, RawApplication

HIDDEN = "PUT /locked HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 0",
        "Content-Length: 4, 0",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: 4_0",
        "Content-Length: -1",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nContent-Length: 4",
        " folded: start",
        "X: y\r\n folded",
        "X\x00Y: z",
        "X: y\x00z",
        "No colon",
        ": no name",
        "X Y: z",
        "Host: other",
    ],
)
def test_what_two_could_read_in_two_ways_is_refused(guarding, application, head):
    guard = guarding(application)
    with guard.connect() as client:
        client.send(f"POST /free HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n")
        client.send(f"0\r\n\r\n{HIDDEN}")
        assert client.answer().status in {400, 501}
        assert client.is_closed_by_server()
    assert application.seen == []


@pytest.mark.parametrize(
    "chunks",
    [
        "0x4\r\nabcd\r\n0\r\n\r\n", "4;\nabcd\r\n0\r\n\r\n", "-4\r\nabcd\r\n0\r\n\r\n", "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "4\r\nabcdef\r\n0\r\n\r\n", "4 \nabcd\r\n0\r\n\r\n", "4\rabcd\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_a_chunk_that_is_none_ends_the_request_for_both_sides(guarding, application, chunks):
    guard = guarding(application)
    with guard.connect() as client:
        client.send("POST /free HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + HIDDEN)
        assert client.answer().status == 400
        assert client.is_closed_by_server()
    assert [line for line, _ in application.seen if "locked" in line] == []
    assert application.seen == []


def test_http_10_has_no_chunks(guarding, application):
    guard = guarding(application)
    with guard.connect() as client:
        client.send("POST /free HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN)
        assert client.answer().status == 400
    assert application.seen == []


def test_extensions_and_trailers_of_chunks_do_not_pass(guarding):
    """RFC 9110 section 6.5.1: a trailer may be dropped, and one that is taken for a field may not be passed on."""
    seen: list[bytes] = []

    def handle(peer: Peer) -> None:
        peer.raw_head()
        while (line := peer.file.readline()) not in {b"", b"\r\n"}:
            seen.append(line)
        peer.answer()

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            client.send("POST /free HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send("4;ext=1\r\nabcd\r\n0\r\nX-Remote-User: root\r\n\r\n")
            assert client.answer().status == 200
    assert seen == [b"4\r\n", b"abcd\r\n", b"0\r\n"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a?x=1&y=%2F%0a", "/a?x=1&y=%2F%0a"),
        ("/a%20b;v=1?", "/a%20b;v=1"),
        ("/%41", "/%41"),
        ("http://x/a?b", "/a?b"),
        ("http://x", "/"),
        ("/a//b/../c", "/a//b/../c"),
        ("*", "*"),
    ],
)
def test_the_target_that_was_checked_goes_on_as_it_came(guarding, application, target, expected):
    guard = guarding(application)
    method = "OPTIONS" if target == "*" else "GET"
    with guard.connect() as client:
        assert client.ask(method, target).status == 200
    assert [line for line, _ in application.seen] == [f"{method} {expected}"]


@pytest.mark.parametrize(("method", "target", "status"), [("CONNECT", "x:443", 501), ("TRACE", "/a", 405)])
def test_methods_that_are_not_for_an_application_behind_a_guard(guarding, application, method, target, status):
    guard = guarding(application)
    with guard.connect() as client:
        assert client.ask(method, target).status == status
    assert application.connections == 0


def test_a_websocket_is_refused_in_plain_words_where_that_is_wanted(guarding, application):
    guard = guarding(application, upgrades=Upgrades())
    with guard.connect() as client:
        answer = client.ask(
            "GET", "/ws", fields="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        )
        assert answer.status == 501
        assert b"WebSocket" in answer.body
    assert application.connections == 0


def test_another_upgrade_is_passed_over(guarding, application):
    """RFC 9110 section 7.8 lets a server go on as if it had not been asked: curl asks so for HTTP/2."""
    guard = guarding(application)
    with guard.connect() as client:
        fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
        assert client.ask("PUT", "/a", b"data", fields).body == b"from app"
    assert application.seen == [("PUT /a", b"data")]


def test_requests_in_one_write_are_answered_in_their_order(guarding, application):
    guard = guarding(application)
    with guard.connect() as client:
        client.send(
            "".join(f"PUT /{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{number}" for number in range(9))
        )
        for _ in range(9):
            assert client.answer().body == b"from app"
    assert application.seen == [(f"PUT /{number}", b"%d" % number) for number in range(9)]


def test_what_an_application_says_too_much_is_nobodys_answer(guarding):
    """A second answer to one request, or what comes unasked, is not taken for the answer to the next (response splitting)."""

    said_all = threading.Semaphore(0)

    def handle(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):  # the guard wants no more of it
            while peer.head()[0]:
                peer.answer(b"first")
                try:
                    peer.answer(b"poison")
                finally:
                    said_all.release()

    with RawApplication(handle) as application:
        guard = guarding(application)
        for number in range(3):
            with guard.connect() as client:
                assert client.ask("GET", "/").body == b"first"
            assert said_all.acquire(
                timeout=PATIENCE_S
            )  # what is said after the next request nobody could tell from its answer
            wait_until(lambda: application.connections > number)  # noqa: B023


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX Y: z\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nX: " + "y" * 100_000,
        "",
    ],
)
def test_what_is_no_answer_is_a_502(guarding, answer):
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with RawApplication(handle) as application:
        guard = guarding(application)
        with guard.connect() as client:
            found = client.ask("GET", "/")
            assert found.status == 502
            assert found.fields["content-type"] == "application/problem+json"
            assert client.ask("GET", "/").status == 502
