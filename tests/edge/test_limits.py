"""Hostile and broken input: a clear refusal or a closed connection, and the server well afterwards."""

from __future__ import annotations

import threading

import pytest

from holdfast.edge.settings import Limits
from tests.edge.test_bodies import resident_kib
from tests.edge.tiny import Edge, TinyFace, echo, wait_until

KIB = 1024
TICK_S = 0.02


@pytest.fixture
def face():
    return TinyFace(echo)


def is_well(edge: Edge) -> bool:
    with edge.connect() as client:
        client.request("GET", "/dav/well")
        return client.answer().status == 200


BROKEN = {
    "no request at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400, 501}),
    "a method that is no token": (b"BR(W /dav/x HTTP/1.1\r\nHost: x\r\n\r\n", {400, 501}),
    "a method that is too long": (b"B" * 33 + b" /dav/x HTTP/1.1\r\nHost: x\r\n\r\n", {400, 501}),
    "HTTP/0.9": (b"GET /dav/x\r\n\r\n", {400}),
    "HTTP/2 without a preface": (b"GET /dav/x HTTP/2.0\r\n\r\n", {400}),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501}),
    "a version nobody knows": (b"GET /dav/x HTTP/3.7\r\nHost: x\r\n\r\n", {400}),
    "length and chunked": (
        b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "two lengths": (
        b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        {400},
    ),
    "the same length twice": (
        b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        {400},
    ),
    "a list of lengths": (b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", {400}),
    "a negative length": (b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", {400}),
    "a length beyond 64 bits": (
        b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        {400},
    ),
    "an unknown coding": (b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", {400}),
    "chunked not last": (b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", {400}),
    "a bad chunk size": (b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
    "a chunk that is too long": (
        b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcdef\r\n0\r\n\r\n",
        {400},
    ),
    "bytes outside ASCII in the target": ("PUT /dav/\u00e4 HTTP/1.1\r\nHost: x\r\n\r\n".encode(), {400}),
    "NUL in the target": (b"PUT /dav/\0 HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "a fragment": (b"GET /dav/x#y HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "no Host": (b"GET /dav/x HTTP/1.1\r\n\r\n", {400}),
    "two Hosts": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", {400}),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", {501}),
    "an asterisk for another method": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "another scheme": (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "a space before the colon": (b"GET /dav/x HTTP/1.1\r\nHost : x\r\n\r\n", {400}),
    "a bare line feed in a value": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: b\n c\r\n\r\n", {400}),
    "NUL in a value": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", {400}),
    "a folded field": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", {200, 400}),
    "201 fields": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", {431}),
    "a head over 64 KiB": (b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 66_000 + b"\r\n\r\n", {431}),
    "a target over 64 KiB": (b"GET /dav/" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431}),
}


@pytest.mark.parametrize("data, statuses", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_request_gets_a_short_answer_and_reaches_no_face(face, data, statuses):
    with Edge(face) as edge:
        with edge.connect() as client:
            client.send(data)
            got = client.answer()
            assert got.status in statuses
            if got.status != 200:
                assert got.fields["connection"] == "close"
                assert got.fields["content-type"] == "application/problem+json"
                assert len(got.body) < 300
                assert b"Traceback" not in got.body
                assert [call.target for call in face.calls] == []
                assert client.rest() == b""
        assert is_well(edge)


def test_a_broken_request_is_answered_after_those_before_it(face):
    face.brief = False
    with Edge(face) as edge, edge.connect() as client:
        client.send(b"GET /dav/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /dav/2 HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n")
        assert b"/dav/1" in client.answer().body
        assert b"/dav/2" in client.answer().body
        assert client.answer().status in {400, 501}
        assert client.rest() == b""


def test_a_10_mb_header_is_431_and_costs_no_memory(face):
    with Edge(face) as edge:
        before = resident_kib()
        with edge.connect() as client:
            try:
                client.send(b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: ")
                client.send(b"x" * 10_000_000)
            except ConnectionError:
                pass  # the answer may be there before all is sent
            else:
                assert client.answer().status == 431
        assert resident_kib() - before < 8 * KIB
        assert is_well(edge)


def test_a_header_that_never_ends_is_431(face):
    with Edge(face) as edge, edge.connect() as client:
        client.send(b"GET /dav/x HTTP/1.1\r\nHost: x\r\n")
        for _ in range(70):
            client.send(b"A: " + b"b" * 1000 + b"\r\n")
        assert client.answer().status == 431


def test_trailers_that_never_end_are_431(face):
    with Edge(face) as edge, edge.connect() as client:
        client.send(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        for _ in range(400):
            client.send(b"A: " + b"b" * 1000 + b"\r\n")
        assert client.answer().status == 431
    assert face.calls == []


def test_64_kib_of_fields_are_still_fine(face):
    with Edge(face) as edge, edge.connect() as client:
        assert client.ask("GET", "/dav/x", fields="A: " + "b" * 60_000 + "\r\n").status == 200


def test_many_requests_in_few_packets_are_not_taken_for_a_large_head(face):
    request = b"GET /dav/x HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1000 + b"\r\n\r\n"
    with Edge(face) as edge, edge.connect() as client:
        client.send(request * 500)
        assert {client.answer().status for _ in range(500)} == {200}


def test_a_head_that_comes_too_slowly_is_408(face):
    with Edge(face, limits=Limits(head_s=0.2, tick_s=TICK_S)) as edge:
        with edge.connect() as client:
            client.send(b"GET /dav/x HTTP/1.1\r\nHost:")
            assert client.answer().status == 408
            assert client.rest() == b""
        assert is_well(edge)


@pytest.mark.parametrize("head", ["Content-Length: 10", "Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_that_comes_too_slowly_is_408_and_no_face_is_called(face, head):
    with Edge(face, limits=Limits(body_window_s=0.2, tick_s=TICK_S)) as edge:
        with edge.connect() as client:
            client.send(f"PUT /dav/x HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n")
            assert client.answer().status == 408
            assert client.rest() == b""
        assert is_well(edge)
    assert [call.target for call in face.calls] == ["/dav/well"]


def test_a_body_for_the_application_that_does_not_come_ends_the_connection(face):
    with Edge(face, limits=Limits(body_window_s=0.2, tick_s=TICK_S)) as edge, edge.connect() as client:
        client.send("PUT /asgi HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert client.is_closed_by_server()


def test_an_idle_connection_is_closed_without_a_word(face):
    with Edge(face, limits=Limits(idle_s=0.5, tick_s=TICK_S)) as edge, edge.connect() as fresh, edge.connect() as used:
        assert used.ask("GET", "/dav/x").status == 200
        assert used.rest() == b""
        assert fresh.rest() == b""


def test_a_face_may_take_longer_than_any_limit_for_clients(face):
    def slowly(request):
        never.wait(0.6)
        return echo(request)

    never = threading.Event()
    face.answer = slowly
    face.brief = False
    with (
        Edge(face, limits=Limits(head_s=0.2, body_window_s=0.2, idle_s=0.3, stall_s=0.2, tick_s=TICK_S)) as edge,
        edge.connect() as client,
    ):
        assert client.ask("GET", "/dav/x").status == 200


def test_a_client_that_goes_on_sending_after_a_refusal_is_cut_off(face):
    with Edge(face, limits=Limits(linger_s=0.2, tick_s=TICK_S)) as edge, edge.connect() as client:
        client.send(b"rubbish\r\n\r\n")
        with pytest.raises(ConnectionError):
            client.send(b"x" * 100_000_000)


def test_one_connection_too_many_is_503(face):
    with Edge(face, limits=Limits(connections=2)) as edge:
        with edge.connect() as one, edge.connect() as two:
            assert one.ask("GET", "/dav/x").status == 200
            assert two.ask("GET", "/dav/x").status == 200
            with edge.connect() as three:
                got = three.answer()
                assert (got.status, got.fields["retry-after"]) == (503, "2")
            assert one.ask("GET", "/dav/x").status == 200
        wait_until(lambda: is_well(edge))


def test_too_many_requests_behind_a_long_one_end_the_connection_in_order(face):
    face.brief = False
    with Edge(face, limits=Limits(pipelined=5)) as edge, edge.connect() as client:
        client.send(b"".join(b"GET /dav/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(200)))
        answers = []
        while not answers or answers[-1].fields.get("connection") != "close":
            answers.append(client.answer())
        targets = [answer.body.split(b"\n")[1] for answer in answers]
        assert targets == [b"/dav/%d" % number for number in range(len(targets))]
        assert client.is_closed_by_server()
