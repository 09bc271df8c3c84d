"""The graceful end: what is in flight is answered, what is idle is closed, what is unfinished leaves nothing."""

from __future__ import annotations

import logging
import threading

import pytest

from holdfast.wire.exchange import Response
from tests.edge.tiny import PATIENCE_S, Edge, TinyFace, Uploads, echo


def test_an_idle_connection_is_closed_at_once():
    with Edge(TinyFace(echo)) as edge, edge.connect() as fresh, edge.connect() as used:
        assert used.ask("GET", "/dav/x").status == 200
        edge.server.stop()
        assert used.rest() == b""
        assert fresh.is_closed_by_server()


def test_a_request_in_flight_is_answered_and_then_its_connection_closed():
    entered, release = threading.Event(), threading.Event()

    def answer(request):
        entered.set()
        assert release.wait(PATIENCE_S)
        return echo(request)

    face = TinyFace(answer, brief=False)
    with Edge(face) as edge, edge.connect() as client, edge.connect() as idle:
        client.request("GET", "/dav/x")
        assert entered.wait(PATIENCE_S)
        edge.server.stop()
        assert idle.is_closed_by_server()
        release.set()
        got = client.answer()
        assert got.status == 200
        assert got.fields["connection"] == "close"
        assert client.rest() == b""


@pytest.mark.parametrize("size", [10, -2])
def test_a_request_that_is_half_here_may_finish(size):
    data = b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    with Edge(TinyFace(echo)) as edge, edge.connect() as client, edge.connect() as idle:
        client.send(data[:size])
        with edge.connect() as other:
            assert other.ask("GET", "/dav/y").status == 200
        edge.server.stop()
        assert idle.is_closed_by_server()
        client.send(data[size:])
        got = client.answer()
        assert got.body.endswith(b"hello")
        assert got.fields["connection"] == "close"
        assert client.rest() == b""


def test_an_upload_that_does_not_end_in_time_is_discarded(caplog: pytest.LogCaptureFixture):
    """It is said at once that it is waited for; uvicorn's own words about it are not shown."""
    face = TinyFace(echo)
    uploads = Uploads()
    with Edge(face, uploads=uploads, graceful_s=0.2) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        client.send(b"x" * 3_000_000)
        edge.server.stop()
        assert client.is_cut_off()
    assert uploads.made[0].discarded.is_set()
    assert face.calls == []
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned == ["Waiting up to 0.2 s for 1 request under way; Ctrl-C again stops now."]


def test_an_iterator_that_does_not_end_in_time_is_closed():
    stopped = threading.Event()

    def endless():
        try:
            while True:
                yield b"x" * 1000
        finally:
            stopped.set()

    with Edge(TinyFace(lambda _: Response(200, [], endless())), graceful_s=0.2) as edge, edge.connect() as client:
        client.request("GET", "/dav/x")
        assert client.socket.recv(10)
        edge.server.stop()
        assert stopped.wait(PATIENCE_S)
