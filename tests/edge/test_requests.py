"""What a face is given, and what a client gets back, over one connection."""

from __future__ import annotations

import threading

import pytest

from holdfast.wire.exchange import Response
from tests.edge.tiny import PATIENCE_S, Edge, TinyFace, echo


@pytest.fixture(params=["hot", "cold"])
def face(request):
    """The same promises hold for brief faces, answered at once, and for others, answered from a thread."""
    return TinyFace(echo, brief=request.param == "hot")


def test_a_face_sees_method_target_query_and_body(face):
    with Edge(face) as edge, edge.connect() as client:
        got = client.ask("PROPFIND", "/dav/a%20b?x=1?y", b"hello", "Depth: 1\r\n")
        assert got.status == 200
        assert got.body == b"PROPFIND\n/dav/a%20b\nx=1?y\nanonymous\nhello"
    assert face.calls[0].headers.get(b"depth") == "1"
    assert face.calls[0].client == "127.0.0.1"
    assert face.calls[0].scheme == "http"


def test_every_answer_has_a_date_and_says_no_more_than_holdfast(face):
    with Edge(face) as edge, edge.connect() as client:
        fields = client.ask("GET", "/dav").fields
    assert fields["date"].endswith(" GMT")
    assert fields["server"] == "holdfast"


def test_brief_requests_are_answered_in_the_loop_and_others_on_a_thread(face):
    with Edge(face) as edge, edge.connect() as client:
        client.ask("GET", "/dav/x")
    assert (face.threads == ["edge"]) is face.brief


def test_a_request_whose_answer_takes_long_is_refused_in_the_loop_all_the_same():
    asked: list[str] = []

    def refuse(head):
        asked.append(threading.current_thread().name)
        return Response(423, [], b"locked") if head.target == "/dav/locked" else None

    face = TinyFace(echo, brief=False, refuse=refuse)
    with Edge(face) as edge, edge.connect() as client:
        assert client.ask("PUT", "/dav/locked", b"small").status == 423
        assert face.threads == []
        assert client.ask("PUT", "/dav/free", b"small").status == 200
    assert asked == ["edge", "edge"]
    assert face.threads[0].startswith("holdfast")


def test_a_connection_serves_many_requests(face):
    with Edge(face) as edge, edge.connect() as client:
        for number in range(20):
            assert client.ask("PUT", f"/dav/{number}", b"x" * number).body.endswith(b"anonymous\n" + b"x" * number)


def test_pipelined_requests_are_answered_in_order(face):
    with Edge(face) as edge, edge.connect() as client:
        client.send(b"".join(b"PUT /dav/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" % n for n in range(30)))
        for number in range(30):
            assert client.answer().body == b"PUT\n/dav/%d\n\nanonymous\nhi" % number


def test_a_brief_request_waits_for_a_long_one_before_it():
    release = threading.Event()
    entered = threading.Event()

    class Mixed(TinyFace):
        def is_brief(self, request):
            return request.target != "/dav/long"

    def answer(request):
        if request.target == "/dav/long":
            entered.set()
            assert release.wait(PATIENCE_S)
        return echo(request)

    mixed = Mixed(answer)
    with Edge(mixed) as edge, edge.connect() as client:
        client.request("GET", "/dav/long")
        assert entered.wait(PATIENCE_S)
        client.request("GET", "/dav/short")
        client.request("GET", "/asgi")
        release.set()
        assert b"/dav/long" in client.answer().body
        assert b"/dav/short" in client.answer().body
        assert client.answer().body == b"asgi /asgi 0"


def test_requests_of_faces_and_of_the_application_mix_on_one_connection(face):
    with Edge(face) as edge, edge.connect() as client:
        client.send(
            b"GET /dav/1 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /dav/2 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /dav/3 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert b"/dav/1" in client.answer().body
        assert client.answer().body == b"asgi /api 3"
        assert b"/dav/2" in client.answer().body
        assert client.answer().body == b"asgi /early 0"
        assert b"/dav/3" in client.answer().body


def test_a_request_may_come_byte_by_byte(face):
    with Edge(face) as edge, edge.connect() as client:
        for byte in b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello":
            client.send(bytes([byte]))
        assert client.answer().body == b"PUT\n/dav/x\n\nanonymous\nhello"


def test_http10_closes_unless_asked_to_stay(face):
    with Edge(face) as edge:
        with edge.connect() as client:
            client.send("GET /dav/x HTTP/1.0\r\n\r\n")
            got = client.answer()
            assert got.fields["connection"] == "close"
            assert client.rest() == b""
        with edge.connect() as client:
            for _ in range(2):
                client.send("GET /dav/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert client.answer().fields["connection"] == "keep-alive"


def test_connection_close_is_obeyed_and_what_follows_is_ignored(face):
    with Edge(face) as edge, edge.connect() as client:
        client.send("GET /dav/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /dav/2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().fields["connection"] == "close"
        assert client.is_closed_by_server()
    assert [call.target for call in face.calls] == ["/dav/1"]


def test_head_has_the_length_and_not_the_body(face):
    with Edge(face) as edge, edge.connect() as client:
        length = len(client.ask("GET", "/dav/x").body)
        got = client.ask("HEAD", "/dav/x")
        assert int(got.fields["content-length"]) == length + 1
        assert client.ask("GET", "/dav/x").status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_no_length(face, status):
    face.answer = lambda _: Response(status, [("etag", '"x"')], b"dropped")
    with Edge(face) as edge, edge.connect() as client:
        for _ in range(2):
            got = client.ask("GET", "/dav/x")
            assert got.status == status
            assert "content-length" not in got.fields
            assert "transfer-encoding" not in got.fields


def test_absolute_and_asterisk_targets_reach_the_face(face):
    with Edge(face) as edge, edge.connect() as client:
        assert client.ask("GET", "http://x/dav/a?b").body.startswith(b"GET\n/dav/a\nb\n")
        assert client.ask("OPTIONS", "*").body.startswith(b"OPTIONS\n*\n")
        assert client.ask("OPTIONS", "/").body.startswith(b"OPTIONS\n/\n")
        assert client.ask("GET", "/").body == b"asgi / 0"
        assert client.ask("GET", "/davit").body == b"asgi /davit 0"


def test_an_upgrade_that_is_not_supported_is_ignored(face):
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with Edge(face) as edge, edge.connect() as client:
        client.request("GET", "/dav/1", fields=upgrade)
        client.request("PUT", "/dav/2", b"body", fields=upgrade)
        client.request("GET", "/dav/3")
        assert [client.answer().body.split(b"\n")[1] for _ in range(3)] == [b"/dav/1", b"/dav/2", b"/dav/3"]


def test_thousands_of_pipelined_requests_that_ask_for_an_upgrade_are_requests_as_any_other():
    one = b"PUT /dav/%d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
    with Edge(TinyFace(echo)) as edge, edge.connect() as client:
        client.send(b"".join(one % number for number in range(3000)))
        for number in range(3000):
            assert client.answer().body == b"PUT\n/dav/%d\n\nanonymous\nhi" % number


def test_slow_credentials_are_checked_on_a_thread(face):
    with Edge(face) as edge, edge.connect() as client:
        got = client.ask("PUT", "/dav/x", b"body", "Authorization: Basic slow\r\n")
        assert got.body == b"PUT\n/dav/x\n\nslow-holdfast\nbody"


def test_wrong_credentials_are_the_faces_to_refuse(face):
    with Edge(face) as edge, edge.connect() as client:
        assert client.ask("GET", "/dav/x", fields="Authorization: Basic wrong\r\n").body.endswith(b"\nnobody\n")


def test_a_face_that_raises_is_answered_500_without_a_traceback(face, caplog):
    def explode(_):
        message = "kaboom"
        raise ValueError(message)

    face.answer = explode
    with Edge(face) as edge, edge.connect() as client:
        got = client.ask("GET", "/dav/x", fields="Authorization: Basic secret\r\n")
        assert got.status == 500
        assert b"kaboom" not in got.body
        face.answer = echo
        assert client.ask("GET", "/dav/x").status == 200
    assert "kaboom" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u20ac"])
def test_a_field_that_cannot_be_sent_becomes_500_and_never_a_line(face, value, caplog):
    face.answer = lambda _: Response(200, [("x-name", value)], b"")
    with Edge(face) as edge, edge.connect() as client:
        got = client.ask("GET", "/dav/x")
        assert got.status == 500
        assert "x-evil" not in got.fields
    assert "HeadError" in caplog.text
