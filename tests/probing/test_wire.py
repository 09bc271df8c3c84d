"""The probes' own HTTP client: it sends what it is told, and sees what comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from holdfast.inspector.exchange import SentRequest
from holdfast.inspector.probing.wire import HttpTransport, NoAnswerError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOCKED = b"HTTP/1.1 423 Locked\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket, int], None], connections: int = 1) -> Iterator[str]:
    """A server for so many connections, each of which `serve` is given; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for number in range(connections):
                accepted, _ = listener.accept()
                with accepted:
                    serve(accepted, number)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


def head(connection: socket.socket) -> bytes:
    """What comes up to the empty line."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(1)
    return found


@contextlib.contextmanager
def sending(url: str) -> Iterator[HttpTransport]:
    transport = HttpTransport(url)
    try:
        yield transport
    finally:
        transport.release()


def test_the_target_goes_as_it_is_written():
    seen: list[bytes] = []

    def serve(connection, number):
        seen.append(head(connection))
        connection.sendall(OK)

    with listening(serve) as url, sending(url) as transport:
        exchange = transport.exchange(
            SentRequest(method="LOCK", url=url + "/a/../b/./%2e//c", fields=(("If", "(<x:y>)"),)), 10
        )
    assert seen[0].startswith(b"LOCK /a/../b/./%2e//c HTTP/1.1\r\n")
    assert b"\r\nIf: (<x:y>)\r\n" in seen[0]
    assert (exchange.response.status, exchange.response.body) == (200, b"ok")


def test_a_refusal_before_the_body_leaves_the_body_unsent():
    def serve(connection, number):
        head(connection)
        connection.sendall(LOCKED)

    fields = (("Expect", "100-continue"),)
    with listening(serve) as url, sending(url) as transport:
        exchange = transport.exchange(SentRequest(method="PUT", url=url + "/x", fields=fields, body=b"x" * 100_000), 10)
    assert exchange.response.status == 423
    assert exchange.body_was_sent is False
    assert exchange.interim == ()


def test_a_body_is_sent_when_it_is_asked_for():
    bodies: list[bytes] = []

    def serve(connection, number):
        head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(connection.recv(5, socket.MSG_WAITALL))
        connection.sendall(LOCKED)

    fields = (("Expect", "100-continue"),)
    with listening(serve) as url, sending(url) as transport:
        exchange = transport.exchange(SentRequest(method="PUT", url=url + "/x", fields=fields, body=b"12345"), 10)
    assert bodies == [b"12345"]
    assert exchange.body_was_sent is True
    assert [one.status for one in exchange.interim] == [100]


def test_something_can_be_done_while_a_body_is_half_sent():
    order: list[str] = []

    def serve(connection, number):
        head(connection)
        order.append(connection.recv(2, socket.MSG_WAITALL).decode())
        halfway.set()
        order.append(connection.recv(2, socket.MSG_WAITALL).decode())
        connection.sendall(OK)

    halfway = threading.Event()

    def midway() -> None:
        assert halfway.wait(10)
        order.append("midway")

    with listening(serve) as url, sending(url) as transport:
        transport.exchange(SentRequest(method="PUT", url=url + "/x", body=b"abcd"), 10, midway)
    assert order == ["ab", "midway", "cd"]


def test_a_kept_connection_that_the_server_has_closed_is_no_failure():
    def serve(connection, number):
        head(connection)
        connection.sendall(OK)

    request = "GET"
    with listening(serve, 2) as url, sending(url) as transport:
        for _ in range(2):
            assert transport.exchange(SentRequest(method=request, url=url + "/"), 10).response.status == 200


def test_a_connection_is_kept_and_a_body_known_to_be_whole():
    def serve(connection, number):
        for _ in range(2):
            head(connection)
            connection.sendall(OK)
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")

    with listening(serve) as url, sending(url) as transport:
        replies = [transport.exchange(SentRequest(method="GET", url=url + "/"), 10).response for _ in range(3)]
        assert [(one.body, one.body_is_whole) for one in replies] == [(b"ok", True)] * 3
        cut = transport.exchange(SentRequest(method="GET", url=url + "/"), 10).response
        assert (cut.body, cut.body_is_whole) == (b"ok", False)


def test_no_answer_is_told_with_what_was_asked():
    def serve(connection, number):
        head(connection)

    with listening(serve) as url, sending(url) as transport, pytest.raises(NoAnswerError, match="LOCK /x: no answer"):
        transport.exchange(SentRequest(method="LOCK", url=url + "/x"), 10)


def test_an_answer_that_does_not_come_is_not_waited_for_longer_than_allowed():
    gone = threading.Event()

    def serve(connection, number):
        head(connection)
        assert gone.wait(20)

    with listening(serve) as url, sending(url) as transport:
        with pytest.raises(NoAnswerError, match="no answer in time"):
            transport.exchange(SentRequest(method="LOCK", url=url + "/x"), 0.2)
        gone.set()
