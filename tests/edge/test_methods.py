"""Any token is a method: whoever owns the target hears it as it was sent, and requests end where they end for any other."""

from __future__ import annotations

from collections.abc import Generator

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.edge.methods import MOST_BYTES, PARSED, open_request
from holdfast.edge.settings import Limits
from holdfast.wire.exchange import Response
from tests.edge.tiny import Client, Edge, TinyFace, echo

RTSP = ["FLUSH", "PLAY"]
"""In the parser's table, but not for HTTP."""
UNKNOWN = [
    *RTSP,
    "FROB",
    "QUERY",
    "get",
    "G",
    "GE",
    "GETX",
    "POSTAL",
    "X-y.z!#$%&'*+^_`|~0",
    "B" * MOST_BYTES,
]
"""Also a new one, a young one, case, prefixes and extensions of known ones, all characters, the longest."""


@pytest.fixture(params=[True, False], ids=["hot", "cold"])
def face(request: pytest.FixtureRequest) -> TinyFace:
    return TinyFace(echo, brief=request.param)


@pytest.fixture
def edge(face: TinyFace) -> Generator[Edge]:
    with Edge(face) as edge:
        yield edge


@pytest.fixture
def client(edge: Edge) -> Generator[Client]:
    with edge.connect() as client:
        yield client


def understood(method: str, body: bytes = b"") -> bytes:
    return f"{method}\n/dav/x\nq=1\nanonymous\n".encode() + body


@pytest.mark.parametrize("method", UNKNOWN)
def test_the_face_hears_the_method_as_it_was_sent(client: Client, method: str) -> None:
    assert client.ask(method, "/dav/x?q=1").body == understood(method)
    assert client.ask(method, "/dav/x?q=1", b"body").body == understood(method, b"body")
    chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    client.send(f"{method} /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n{chunks}")
    assert client.answer().body == understood(method, b"abc")
    assert client.ask("GET", "/dav/x?q=1").body == understood("GET")
    assert client.ask("POST", "/dav/x?q=1").body == understood("POST")


@pytest.mark.parametrize("method", ["FROB", "GETX", "GET", "HEADY"])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n\r\r\n"])
def test_it_may_come_byte_by_byte_and_behind_empty_lines(client: Client, method: str, before: bytes) -> None:
    for _ in range(2):
        for byte in before + f"{method} /dav/x?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab".encode():
            client.send(bytes([byte]))
        assert client.answer().body == understood(method, b"ab")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_it_may_come_in_two_parts(client: Client, size: int) -> None:
    data = b"FROB /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(data[:size])
    client.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.socket.recv(1)
    client.socket.setblocking(True)
    client.send(data[size:])
    assert client.answer().body == understood("FROB")


def test_requests_may_follow_it_in_the_same_packet(client: Client) -> None:
    rest = " /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(f"FROB{rest}GET{rest}QUERY{rest}PUT{rest}")
    assert [client.answer().body for _ in range(4)] == [understood(name) for name in ("FROB", "GET", "QUERY", "PUT")]
    assert client.ask("FROB", "/dav/x?q=1").body == understood("FROB")


def test_it_may_follow_one_that_is_not_answered_yet(face: TinyFace, client: Client) -> None:
    client.request("PUT", "/dav/x?q=1", fields="Authorization: Basic slow\r\n")
    client.request("FROB", "/dav/x?q=1", b"body")
    assert client.answer().status == 200
    assert client.answer().body == understood("FROB", b"body")


@pytest.mark.parametrize("method", [method for method in UNKNOWN if method not in RTSP])
def test_it_may_come_behind_others_in_one_packet(client: Client, method: str) -> None:
    def one(method: str, body: str = "") -> str:
        fields = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{method} /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}"

    inner = one("FROB")
    names = ["PUT", method, method, "GET", method]
    client.send("".join([one("PUT", inner), "\r\n", one(method, inner), one(method), one("GET", "\r\n"), one(method)]))
    bodies = [inner, inner, "", "\r\n", ""]
    for name, body in zip(names, bodies, strict=True):
        assert client.answer().body == understood(name, body.encode())
    client.send(one("PUT") + one(method)[:3])
    assert client.answer().body == understood("PUT")


def test_it_may_begin_at_the_end_of_a_packet(client: Client) -> None:
    rest = " /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(f"PUT{rest}\r\nFRO")
    assert client.answer().body == understood("PUT")
    client.send(f"B{rest}")
    assert client.answer().body == understood("FROB")


def test_where_its_beginning_is_not_known_it_is_refused_and_nothing_behind_it_is_read(
    face: TinyFace, client: Client
) -> None:
    rest = " /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n"
    client.send(f"PUT{rest}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    assert client.answer().status == 100
    client.send(f"bodyFROB{rest}\r\nPUT{rest}\r\n")
    assert client.answer().body == understood("PUT", b"body")
    assert client.answer().status == 501
    assert client.rest() == b""
    assert len(face.calls) == 1


def test_behind_what_was_refused_nothing_else_is_refused(client: Client) -> None:
    client.send("GET /dav/x HTTP/1.1\r\n\r\nFROB /dav/x HTTP/1.1\r\nHost: x\r\n\r\nr(bbish")
    assert client.answer().status == 400
    assert client.rest() == b""


def test_a_body_that_looks_like_a_request_is_a_body(face: TinyFace, client: Client) -> None:
    inner = b"FROB /dav/inner HTTP/1.1\r\nHost: x\r\n\r\n"
    for method in ("PUT", "FROB"):
        client.send(f"{method} /dav/x?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n")
        client.send(inner)
        assert client.answer().body == understood(method, inner)
    assert {call.target for call in face.calls} == {"/dav/x"}


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: -5\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Host : x\r\n",
        "Host: y\r\n",
    ],
)
def test_what_is_refused_for_a_known_method_is_refused_for_any(face: TinyFace, client: Client, fields: str) -> None:
    client.send(f"FROB /dav/x HTTP/1.1\r\nHost: x\r\n{fields}\r\nGET /dav/y HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer().status == 400
    assert client.rest() == b""
    assert face.calls == []


def test_an_upgrade_that_is_ignored_leaves_the_method(face: TinyFace, client: Client) -> None:
    fields = "Connection: upgrade\r\nUpgrade: other\r\n"
    assert client.ask("FROB", "/dav/x?q=1", b"body", fields).body == understood("FROB", b"body")
    assert client.ask("GET", "/dav/x?q=1", b"body", fields).body == understood("GET", b"body")
    assert client.ask("POST", "/dav/x?q=1").body == understood("POST")


def test_a_method_is_forgotten_with_a_request_that_is_refused(client: Client) -> None:
    client.send("FROB /dav/x HTTP/1.1\r\n\r\n")
    assert client.answer().status == 400
    assert client.is_closed_by_server()


def test_an_application_hears_the_true_method_too() -> None:
    async def app(scope, receive, send) -> None:
        body = scope["method"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    with Edge(TinyFace(echo), app=app) as edge, edge.connect() as client:
        for method in ("FROB", "GET", "get"):
            assert client.ask(method, "/elsewhere").body == method.encode()


def test_a_large_body_may_come_with_it(face: TinyFace, client: Client) -> None:
    face.answer = lambda request: Response(200, [], f"{request.method} {len_of(request.body)}".encode())
    assert client.ask("FROB", "/dav/x", b"x" * 300_000).body == b"FROB 300000"


def len_of(body) -> int:
    return len(body) if isinstance(body, bytes) else body.length


def test_a_method_that_never_ends_is_told_that_it_took_too_long(face: TinyFace) -> None:
    with Edge(face, limits=Limits(head_s=0.02, tick_s=0.005)) as edge, edge.connect() as client:
        client.send("FRO")
        assert client.answer().status == 408
        assert client.is_closed_by_server()


def test_a_method_that_is_arriving_is_answered_when_the_server_stops(face: TinyFace) -> None:
    with Edge(face) as edge, edge.connect() as client, edge.connect() as idle:
        client.send("\r\nFR")
        assert idle.ask("GET", "/dav/x").status == 200
        edge.server.stop()
        assert idle.is_closed_by_server()
        client.send("OB /dav/x?q=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = client.answer()
        assert (answer.body, answer.fields["connection"]) == (understood("FROB"), "close")


# What the parser is shown


class Ends:
    """Notes what the parser finds."""

    def __init__(self) -> None:
        self.found: list[object] = []

    def on_url(self, url: bytes) -> None:
        self.found.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.found.append(body)

    def on_message_complete(self) -> None:
        self.found.append("end")


def found_in(data: bytes) -> tuple[list[object], str]:
    ends = Ends()
    try:
        httptools.HttpRequestParser(ends).feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        return ends.found, type(error).__name__
    return ends.found, ""


KNOWN = sorted(PARSED - {b"CONNECT", b"PRI"})
RESTS = st.sampled_from(
    [
        b" /x HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b" /x HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b" /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
        b" /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b" /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b" /x HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc",
        b" * HTTP/1.1\r\n\r\n",
        b" /x\r\n\r\n",
        b"  /x HTTP/1.1\r\n\r\n",
    ]
)


@given(st.sampled_from(KNOWN), RESTS)
def test_what_stands_in_ends_where_any_other_method_does(method: bytes, rest: bytes) -> None:
    opening = open_request(b"FROB" + rest)
    assert opening.method == "FROB"
    assert found_in(opening.parsed) == found_in(method + rest)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=12))
def test_no_byte_is_lost_and_little_is_kept_whatever_comes(parts: list[bytes]) -> None:
    kept = b""
    for part in parts:
        opening = open_request(kept + part)
        assert len(opening.kept) <= MOST_BYTES
        seen = opening.parsed
        if opening.method:
            start = len(seen) - len(seen.lstrip(b"\r\n"))
            assert seen[start : start + 5] == b"POST "
            seen = seen[:start] + opening.method.encode() + seen[start + 4 :]
        assert seen + opening.kept == kept + part
        kept = opening.kept
        if opening.parsed.strip(b"\r\n"):
            break
