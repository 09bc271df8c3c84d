"""The load generator counts what a server really answered, and sends what its templates say."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from benchmarks.load import Cycle, GeneratorError, Step, run_load

pytestmark = pytest.mark.tool("cc")

Answer = Callable[[str, bytes], bytes]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Server(socketserver.ThreadingTCPServer):
    """Answers each request with what a function makes of its head and body, and keeps every request it got."""

    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.answer = answer
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()


class _Connection(socketserver.StreamRequestHandler):
    """One connection, until the generator closes it or an answer ends it. Nothing is sent late (no Nagle)."""

    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        # The generator may go in the middle of a request or of an answer: its time is over then.
        with contextlib.suppress(ConnectionError):
            while self._answer_one():
                pass

    def _answer_one(self) -> bool:
        head = ""
        while not head.endswith("\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return False
            head += line.decode("ascii")
        length = int(next((line.split(":")[1] for line in head.split("\r\n") if "Content-Length" in line), "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            return False
        self.server.requests.append((head, body))
        answer = self.server.answer(head, body)
        # In two writes, so that an answer is met in pieces as well as whole.
        self.wfile.write(answer[:9])
        self.wfile.write(answer[9:])
        return bool(answer) and b"Connection: close" not in answer


@contextlib.contextmanager
def _serving(answer: Answer) -> Generator[tuple[_Server, int]]:
    """A server whose every thread and socket is gone at the end: `server_close` waits for all connections."""
    with _Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _get(path: str, *expect: int) -> Step:
    return Step("GET", path, expect or (200,))


def test_each_item_is_asked_for_once_and_every_status_is_counted() -> None:
    """A third of the items is refused: these are the wrong ones, and no item is left out or asked for twice."""

    def answer(head: str, body: bytes) -> bytes:
        del body
        item = int(head.split("/")[2].split(" ", maxsplit=1)[0])
        return b"HTTP/1.1 423 Locked\r\nContent-Length: 0\r\n\r\n" if item % 3 == 0 else _OK

    with _serving(answer) as (server, port):
        result = run_load(port, Cycle((_get("/@D@/@I@"),), 4, "once", 900, 1200), 5)
    assert (result.good, result.wrong, result.statuses) == (200, 100, ({"200": 200, "423": 100},))
    asked = sorted(head.split(" ")[1] for head, _ in server.requests)
    assert asked == [f"/{item // 1000:03d}/{item:06d}" for item in range(900, 1200)]
    assert server.connections == 4


def test_the_token_of_a_lock_is_used_by_the_steps_after_it_on_the_same_connection() -> None:
    """Every LOCK gets a token of its own, whose UNLOCK must carry it unchanged."""

    def answer(head: str, body: bytes) -> bytes:
        del body
        resource = head.split(" ")[1]
        token = f"<urn:x:{resource}>"
        if head.startswith("LOCK"):
            return f"HTTP/1.1 200 OK\r\nlock-token: {token}\r\nContent-Length: 3\r\n\r\nabc".encode()
        status = "204 No Content" if f"If: ({token})" in head else "412 Wrong"
        return (
            f"HTTP/1.1 {status}\r\n\r\n".encode() if "204" in status else b"HTTP/1.1 412 W\r\nContent-Length: 0\r\n\r\n"
        )

    steps = (Step("LOCK", "/@I@", (200,), (), b"<x/>"), Step("UNLOCK", "/@I@", (204,), (("If", "(@T@)"),)))
    with _serving(answer) as (server, port):
        result = run_load(port, Cycle(steps, 8, "once", 0, 200), 5)
    assert (result.good, result.wrong) == (200, 0)
    assert result.statuses == ({"200": 200}, {"204": 200})
    assert {body for head, body in server.requests if head.startswith("LOCK")} == {b"<x/>"}


def test_a_cycle_whose_lock_was_refused_is_wrong_and_goes_no_further() -> None:
    """Without a token there is nothing to unlock with."""
    steps = (Step("LOCK", "/", (200,)), Step("UNLOCK", "/", (204,), (("Lock-Token", "@T@"),)))
    with _serving(lambda head, body: b"HTTP/1.1 423 Locked\r\nContent-Length: 0\r\n\r\n") as (server, port):
        result = run_load(port, Cycle(steps, 2, "once", 0, 10), 5)
    assert (result.good, result.wrong, result.statuses) == (0, 10, ({"423": 10}, {}))
    assert len(server.requests) == 10


def test_connections_that_take_turns_never_share_an_item() -> None:
    """Items are dealt out by connection, so that parallel cycles do not meet on one resource."""
    with _serving(lambda head, body: _OK) as (server, port):
        result = run_load(port, Cycle((_get("/@C@/@I@"),), 4, "wrap", 0, 11), 0.2)
    assert result.wrong == 0
    owners: dict[str, set[str]] = {}
    for head, _ in server.requests:
        _, connection, item = head.split(" ")[1].split("/")
        owners.setdefault(item, set()).add(connection)
    assert len(owners) <= 8
    assert all(len(connections) == 1 for connections in owners.values())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n",
            id="chunked, with an extension and a trailer",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + _OK, id="after 100 Continue"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000), id="too large to look at"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", id="until the connection closes"),
    ],
)
def test_every_framing_of_an_answer_is_followed_to_its_end(answer: bytes) -> None:
    """The next request goes out only when the answer was read whole; otherwise it would be taken for the next one."""
    with _serving(lambda head, body: answer) as (server, port):
        result = run_load(port, Cycle((_get("/@I@"),), 2, "once", 0, 20), 5)
    assert (result.good, result.wrong, len(server.requests)) == (20, 0, 20)


def test_a_large_body_is_sent_whole() -> None:
    """Bodies that are not copied with the head arrive octet by octet as given."""
    body = bytes(range(256)) * 4096
    with _serving(lambda head, received: _OK if received == body else b"") as (_, port):
        result = run_load(port, Cycle((Step("PUT", "/@I@", (200,), (), body),), 2, "once", 0, 6), 5)
    assert (result.good, result.wrong) == (6, 0)


def test_a_connection_that_breaks_in_an_answer_is_a_wrong_operation_with_status_0() -> None:
    """Half an answer is never counted as one."""
    broken = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf"
    with _serving(lambda head, body: broken if "/000003" in head else _OK) as (_, port):
        result = run_load(port, Cycle((_get("/@I@"),), 1, "once", 0, 10), 5)
    assert (result.good, result.wrong, result.statuses) == (9, 1, ({"200": 9, "0": 1},))


def test_a_server_that_is_not_there_is_an_error_and_not_a_slow_one() -> None:
    """Port 1 of the loopback refuses; the generator gives up instead of reporting zero operations."""
    with pytest.raises(GeneratorError, match="breaks every connection"):
        run_load(1, Cycle((_get("/"),)), 5)
