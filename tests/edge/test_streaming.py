"""Answers that come as things happen: sent at once, ended once, and never more than a client takes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from functools import partial

import pytest

from holdfast.edge.settings import Limits
from holdfast.wire.exchange import Request, Response
from tests.edge.tiny import PATIENCE_S, Beats, Broadcast, Client, Edge, TinyFace, wait_until

KIB = 1024


class Station:
    """A face that streams at /dav/live, and answers others with their target."""

    def __init__(self, *, brief: bool = True) -> None:
        self.face = TinyFace(self.answer, brief=brief)
        self.stream = Broadcast()
        self.awaits_sync = False

    def answer(self, request: Request) -> Response:
        if request.target != "/dav/live":
            return Response(200, [], request.target.encode())
        return Response(200, [("content-type", "text/event-stream")], self.stream, self.awaits_sync)


@pytest.fixture
def pulse() -> Beats:
    pulse = Beats()
    pulse.is_wanted = True
    return pulse


@pytest.fixture(params=[True, False], ids=["hot", "cold"])
def station(request: pytest.FixtureRequest) -> Station:
    return Station(brief=request.param)


@pytest.fixture
def edge(station: Station, pulse: Beats) -> Generator[Edge]:
    with Edge(station.face, pulse=pulse) as edge:
        yield edge


@pytest.fixture
def client(edge: Edge) -> Generator[Client]:
    with edge.connect() as client:
        yield client


def test_chunks_are_sent_when_they_come_and_the_connection_goes_on_after_the_end(
    station: Station, pulse: Beats, client: Client
) -> None:
    for _ in range(2):
        stream = station.stream = Broadcast(b"hello")
        client.request("GET", "/dav/live")
        fields = client.head()
        assert (fields["transfer-encoding"], fields["content-type"]) == ("chunked", "text/event-stream")
        assert "connection" not in fields
        assert client.chunk() == b"hello"
        for data in (b"one", b"two" * 1000):
            assert pulse.do(partial(stream.sink.send, data))
            assert client.chunk() == data
        assert pulse.do(partial(stream.sink.send, b""))  # nothing, and above all not the end
        assert pulse.do(partial(getattr, stream.sink, "has_room"))
        pulse.do(stream.sink.end)
        assert client.chunk() == b""
        assert client.ask("GET", "/dav/next").body == b"/dav/next"
        assert not pulse.do(partial(stream.sink.send, b"late"))
        pulse.do(stream.sink.end)
        assert client.ask("GET", "/dav/next").body == b"/dav/next"
        assert stream.calls == ["start"]


def test_it_may_end_while_it_is_started_and_requests_behind_it_come_after(station: Station, client: Client) -> None:
    station.stream = Broadcast(b"all", ends=True)
    client.send("".join(f"GET /dav/{name} HTTP/1.1\r\nHost: x\r\n\r\n" for name in ("a", "live", "b")))
    assert [client.answer().body for _ in range(3)] == [b"/dav/a", b"all", b"/dav/b"]
    assert station.stream.calls == ["start"]


def test_over_http_1_0_it_lasts_until_the_connection_is_closed(station: Station, pulse: Beats, client: Client) -> None:
    client.send("GET /dav/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    fields = client.head()
    assert "transfer-encoding" not in fields
    assert fields["connection"] == "close"
    assert station.stream.started.wait(PATIENCE_S)
    pulse.do(partial(station.stream.sink.send, b"one"))
    pulse.do(partial(station.stream.sink.send, b"two"))
    pulse.do(station.stream.sink.end)
    assert client.rest() == b"onetwo"


def test_head_gets_the_head_and_nothing_is_started(station: Station, client: Client) -> None:
    client.request("HEAD", "/dav/live")
    assert client.answer("HEAD").fields["content-type"] == "text/event-stream"
    assert client.ask("GET", "/dav/next").body == b"/dav/next"
    assert station.stream.calls == []


def test_a_stream_that_promises_something_begins_like_any_other(station: Station, client: Client) -> None:
    station.awaits_sync = True
    station.stream = Broadcast(b"all", ends=True)
    assert client.ask("GET", "/dav/live").body == b"all"


def test_a_client_that_goes_stops_it_once(station: Station, pulse: Beats, edge: Edge) -> None:
    with edge.connect() as client:
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
    assert station.stream.stopped.wait(PATIENCE_S)
    assert not pulse.do(partial(station.stream.sink.send, b"x"))
    pulse.do(station.stream.sink.end)
    assert station.stream.calls == ["start", "stop"]


def test_a_client_that_takes_too_little_is_cut_off(station: Station, pulse: Beats) -> None:
    limits = Limits(stream_unsent_bytes=64 * KIB)
    with Edge(station.face, pulse=pulse, limits=limits) as edge, edge.connect() as client:
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
        sink = station.stream.sink
        wait_until(lambda: not pulse.do(lambda: sink.has_room) or not pulse.do(lambda: sink.send(b"x" * 8 * KIB)))
        wait_until(lambda: not pulse.do(lambda: sink.send(b"x" * 8 * KIB)))
        assert station.stream.stopped.wait(PATIENCE_S)
        assert client.is_cut_off()
    assert station.stream.calls == ["start", "stop"]


def test_a_client_that_reads_slowly_may_take_very_much_from_who_asks_for_room(station: Station, pulse: Beats) -> None:
    data = b"x" * 16 * KIB
    count = 1000
    left = [count]

    def more() -> bool:
        sink = station.stream.sink
        while left[0] and sink.has_room:
            assert sink.send(data)
            left[0] -= 1
        if not left[0]:
            sink.end()
        return not left[0]

    with Edge(station.face, pulse=pulse) as edge, edge.connect() as client:
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
        client.head()
        taken = 0
        while taken < count:
            if left[0]:
                pulse.do(more)
            while taken < count - left[0]:
                assert client.chunk() == data
                taken += 1
        assert client.chunk() == b""
    assert station.stream.calls == ["start"]


def test_no_time_limit_ends_it_while_the_client_takes_what_comes(station: Station, pulse: Beats) -> None:
    limits = Limits(idle_s=0.05, stall_s=0.05, tick_s=0.01)
    with Edge(station.face, pulse=pulse, limits=limits) as edge, edge.connect() as client:
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
        for _ in range(3):
            with edge.connect() as idle:
                assert idle.is_closed_by_server()
        assert pulse.do(partial(station.stream.sink.send, b"still here"))
        client.head()
        assert client.chunk() == b"still here"


@pytest.mark.parametrize("error", [ValueError("no feed")])
def test_a_start_that_raises_cuts_the_client_off(
    station: Station, edge: Edge, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    station.stream = Broadcast(b"hello", error=error)
    with edge.connect() as client:
        client.request("GET", "/dav/live")
        assert client.is_cut_off()
    assert station.stream.stopped.wait(PATIENCE_S)
    assert station.stream.calls == ["start", "stop"]
    assert "no feed" in caplog.text


def test_a_head_that_cannot_be_sent_becomes_500_and_nothing_is_started(
    station: Station, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = station.face.answer
    station.face.answer = lambda request: Response(200, [("x", "a\nb")], answer(request).body)
    client.request("GET", "/dav/live")
    assert client.answer().status == 500
    assert station.stream.calls == []
    assert "could not be sent" in caplog.text


def test_a_server_that_stops_ends_all_as_they_should_end(station: Station, pulse: Beats) -> None:
    with Edge(station.face, pulse=pulse) as edge, edge.connect() as client, edge.connect() as old:
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
        first, station.stream = station.stream, Broadcast(b"bye")
        old.send("GET /dav/live HTTP/1.0\r\n\r\n")
        assert station.stream.started.wait(PATIENCE_S)
        edge.server.stop()
        client.head()
        assert client.chunk() == b""
        assert client.rest() == b""
        assert old.answer().body == b"bye"
    assert first.calls == station.stream.calls == ["start", "stop"]


def test_a_stop_that_raises_harms_nobody(station: Station, pulse: Beats, caplog: pytest.LogCaptureFixture) -> None:
    def stop() -> None:
        raise ValueError("still on air")

    with Edge(station.face, pulse=pulse) as edge, edge.connect() as client:
        station.stream.stop = stop
        client.request("GET", "/dav/live")
        assert station.stream.started.wait(PATIENCE_S)
        edge.server.stop()
        client.head()
        assert client.chunk() == b""
    assert "still on air" in caplog.text


def test_an_open_stream_has_no_task(station: Station, pulse: Beats) -> None:
    with Edge(station.face, pulse=pulse) as edge:
        with edge.connect() as client:
            client.request("GET", "/dav/live")
            assert station.stream.started.wait(PATIENCE_S)
            before = pulse.do(lambda: len(asyncio.all_tasks()))
            clients = [edge.connect() for _ in range(20)]
            for one in clients:
                station.stream = Broadcast()
                one.request("GET", "/dav/live")
                assert station.stream.started.wait(PATIENCE_S)
            wait_until(lambda: pulse.do(lambda: len(asyncio.all_tasks())) <= before)
        for one in clients:
            one.socket.close()
