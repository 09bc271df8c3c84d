"""Requests that are parked: answered once, when it is time, and by the ordinary rules; given up when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.edge.settings import Limits
from holdfast.wire.exchange import FileRegion, Request, Response
from tests.edge.test_holding import Crowd, Ledger
from tests.edge.tiny import PATIENCE_S, Beats, Broadcast, Client, Edge, Ticket, TinyFace, wait_until

DONE = Response(201, [("etag", '"1"')], b"granted")


class Counter:
    """A face that parks requests to /dav/park..., a ticket each, and answers others with their target."""

    def __init__(self, *, brief: bool = True) -> None:
        self.face = TinyFace(self.answer, brief=brief)
        self.tickets: dict[str, Ticket] = {}

    def ticket(self, target: str = "/dav/park", **how: Response | Exception) -> Ticket:
        self.tickets[target] = Ticket(**how)
        return self.tickets[target]

    def answer(self, request: Request) -> Response:
        ticket = self.tickets.get(request.target)
        return Response(200, [], request.target.encode()) if ticket is None else Response(0, [], ticket)


@pytest.fixture
def pulse() -> Beats:
    pulse = Beats()
    pulse.is_wanted = True
    return pulse


@pytest.fixture(params=[True, False], ids=["hot", "cold"])
def counter(request: pytest.FixtureRequest) -> Counter:
    return Counter(brief=request.param)


@pytest.fixture
def edge(counter: Counter, pulse: Beats) -> Generator[Edge]:
    with Edge(counter.face, pulse=pulse) as edge:
        yield edge


@pytest.fixture
def client(edge: Edge) -> Generator[Client]:
    with edge.connect() as client:
        yield client


def test_a_parked_request_is_answered_later_and_its_connection_goes_on(
    counter: Counter, pulse: Beats, client: Client
) -> None:
    for number in range(3):
        ticket = counter.ticket(at_hasten=DONE)
        client.request("POST", "/dav/park", b"please")
        assert ticket.started.wait(PATIENCE_S)
        pulse.do(lambda ticket=ticket: ticket.answer(DONE))
        got = client.answer()
        assert (got.status, got.fields["etag"], got.body) == (201, '"1"', b"granted")
        assert "date" in got.fields
        assert "connection" not in got.fields
        assert client.ask("GET", f"/dav/{number}").body == f"/dav/{number}".encode()
        assert ticket.calls == ["start"]


def test_it_may_be_answered_while_it_is_started(counter: Counter, client: Client) -> None:
    ticket = counter.ticket(at_start=DONE)
    client.send("POST /dav/park HTTP/1.1\r\nHost: x\r\n\r\nGET /dav/next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer().status == 201
    assert client.answer().body == b"/dav/next"
    assert ticket.calls == ["start"]


def test_the_answer_to_head_has_no_body(counter: Counter, client: Client) -> None:
    counter.ticket(at_start=DONE)
    client.request("HEAD", "/dav/park")
    got = client.answer("HEAD")
    assert (got.status, got.fields["content-length"]) == (201, "7")
    assert client.ask("GET", "/dav/next").body == b"/dav/next"


@pytest.mark.parametrize("keep", [False, True])
def test_http_1_0_is_answered_as_it_asked(counter: Counter, pulse: Beats, client: Client, keep: bool) -> None:
    ticket = counter.ticket()
    client.send(f"POST /dav/park HTTP/1.0\r\n{'Connection: keep-alive' if keep else 'X: y'}\r\n\r\n")
    assert ticket.started.wait(PATIENCE_S)
    pulse.do(lambda: ticket.answer(DONE))
    got = client.answer()
    assert got.fields["connection"] == ("keep-alive" if keep else "close")
    if keep:
        assert client.ask("GET", "/dav/next").status == 200
    else:
        assert client.rest() == b""


def test_requests_behind_it_wait_and_are_answered_in_order(counter: Counter, pulse: Beats, client: Client) -> None:
    first, second = counter.ticket("/dav/park/1"), counter.ticket("/dav/park/2")
    targets = ["/dav/a", "/dav/park/1", "/dav/b", "/asgi", "/dav/park/2", "/dav/c"]
    client.send("".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets))
    assert client.answer().body == b"/dav/a"
    assert first.started.wait(PATIENCE_S)
    assert not second.started.is_set()
    assert [call.target for call in counter.face.calls] == ["/dav/a", "/dav/park/1"]
    pulse.do(lambda: first.answer(Response(200, [], b"one")))
    assert [client.answer().body for _ in range(3)] == [b"one", b"/dav/b", b"asgi /asgi 0"]
    assert second.started.wait(PATIENCE_S)
    pulse.do(lambda: second.answer(Response(200, [], b"two")))
    assert [client.answer().body for _ in range(2)] == [b"two", b"/dav/c"]


@pytest.mark.parametrize("kind", ["small file", "large file", "iterator", "stream"])
def test_the_answer_may_have_a_body_of_any_kind_and_what_queued_comes_after_it(
    counter: Counter, pulse: Beats, client: Client, tmp_path: Path, kind: str
) -> None:
    data = bytes(range(256)) * (4000 if kind == "large file" else 40)
    (tmp_path / "document").write_bytes(data)
    file = (tmp_path / "document").open("rb")
    bodies = {
        "iterator": iter([data[:5], data[5:]]),
        "stream": Broadcast(data, ends=True),
    }
    body = bodies.get(kind, [b"", FileRegion(file, 0, len(data))])
    ticket = counter.ticket()
    client.send("GET /dav/park HTTP/1.1\r\nHost: x\r\n\r\nGET /dav/next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ticket.started.wait(PATIENCE_S)
    pulse.do(lambda: ticket.answer(Response(200, [], body)))
    assert client.answer().body == data
    assert client.answer().body == b"/dav/next"
    if "file" in kind:
        wait_until(lambda: file.closed)
    file.close()


# Whoever is gone is waited for no more.


@pytest.mark.parametrize("behind", [0, 1, 7])
def test_a_client_that_goes_has_its_request_abandoned_at_once(
    counter: Counter, pulse: Beats, edge: Edge, behind: int
) -> None:
    ticket = counter.ticket()
    with edge.connect() as client:
        client.request("POST", "/dav/park")
        for _ in range(behind):
            client.request("GET", "/dav/next")
        client.request("GET", "/asgi")
        assert ticket.started.wait(PATIENCE_S)
    assert ticket.abandoned.wait(PATIENCE_S)
    pulse.do(lambda: ticket.answer(DONE))  # harmless, though it should not be called
    assert ticket.calls == ["start", "abandon"]
    with edge.connect() as other:
        assert other.ask("GET", "/dav/other").status == 200


def test_a_client_that_goes_while_the_face_is_at_work_has_its_request_abandoned_unstarted() -> None:
    entered, release = threading.Event(), threading.Event()
    ticket = Ticket()

    def answer(request: Request) -> Response:
        if request.method == "GET":
            return Response(200, [], b"")
        entered.set()
        assert release.wait(PATIENCE_S)
        return Response(0, [], ticket)

    with Edge(TinyFace(answer, brief=False)) as edge:
        with edge.connect() as client:
            client.request("POST", "/dav/park")
            assert entered.wait(PATIENCE_S)
        wait_until(lambda: len(edge.server._uvicorn.server_state.connections) == 0)
        release.set()
        assert ticket.abandoned.wait(PATIENCE_S)
    assert ticket.calls == ["abandon"]


def test_no_time_limit_ends_it_but_the_next_request_has_to_come_in_time(counter: Counter, pulse: Beats) -> None:
    ticket = counter.ticket()
    limits = Limits(idle_s=0.05, stall_s=0.05, head_s=0.05, body_window_s=0.05, tick_s=0.01)
    with Edge(counter.face, pulse=pulse, limits=limits) as edge, edge.connect() as client:
        client.request("POST", "/dav/park")
        assert ticket.started.wait(PATIENCE_S)
        for _ in range(4):
            with edge.connect() as idle:
                assert idle.is_closed_by_server()
        assert ticket.calls == ["start"]
        pulse.do(lambda: ticket.answer(DONE))
        assert client.answer().status == 201
        assert client.is_closed_by_server()


# What is promised is kept.


def test_an_answer_that_promises_something_waits_for_commit_and_sync(counter: Counter, pulse: Beats) -> None:
    """What a beat changes is committed in one go, and told once it is on disk."""
    ledger = Ledger()
    first, second = counter.ticket("/dav/park/1"), counter.ticket("/dav/park/2")

    def grant() -> None:
        for name, ticket in (("first", first), ("second", second)):
            ledger.enter(name)
            ticket.answer(Response(201, [], name.encode(), awaits_sync=True))

    with Crowd(counter.face, pulse=pulse, settle=ledger) as edge, edge.connect() as one, edge.connect() as two:
        one.request("POST", "/dav/park/1")
        two.request("POST", "/dav/park/2")
        assert first.started.wait(PATIENCE_S)
        assert second.started.wait(PATIENCE_S)
        ledger.needs_sync = True
        pulse.do(grant)
        assert ledger.entered_sync.wait(PATIENCE_S)
        assert ledger.commits == [["first", "second"]]
        for client in (one, two):
            client.socket.settimeout(0.01)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(PATIENCE_S)
        ledger.needs_sync = False
        ledger.may_sync.set()
        assert (one.answer().body, two.answer().body) == (b"first", b"second")
        assert one.ask("GET", "/dav/next").status == 200


def test_what_is_undone_is_not_told(counter: Counter, pulse: Beats, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    ticket = counter.ticket()

    def grant() -> None:
        ledger.fails = True
        ledger.enter("granted")
        ticket.answer(Response(201, [], b"granted", awaits_sync=True))

    with Crowd(counter.face, pulse=pulse, settle=ledger) as edge, edge.connect() as client:
        client.request("POST", "/dav/park")
        assert ticket.started.wait(PATIENCE_S)
        pulse.do(grant)
        assert client.answer().status == 503
        ledger.fails = False
        assert client.ask("GET", "/dav/next").status == 200
    assert "could not be committed" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
def test_it_starts_once_what_its_face_changed_is_committed(
    pulse: Beats, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    """A place in the line is not waited in before it is there, and not at all where it is undone.

    It is given up then: a face on another thread may have committed it before, and what is undone is of others.
    """
    ledger = Ledger()
    ledger.fails = fails
    ticket = Ticket(at_hasten=DONE)
    seen: list[list[str]] = []

    def answer(request: Request) -> Response:
        ledger.enter("place")
        assert not ticket.calls
        return Response(0, [], ticket)

    start = ticket.start
    ticket.start = lambda answer: (seen.extend(ledger.commits), start(answer))[1]
    with Crowd(TinyFace(answer), pulse=pulse, settle=ledger) as edge, edge.connect() as client:
        client.request("POST", "/dav/park")
        if fails:
            assert client.answer().status == 503
            assert ticket.abandoned.wait(PATIENCE_S)
        else:
            assert ticket.started.wait(PATIENCE_S)
            pulse.do(lambda: ticket.answer(DONE))
            assert client.answer().status == 201
    assert seen == ([] if fails else [["place"]])
    assert ticket.calls == (["abandon"] if fails else ["start"])
    assert ("could not be committed" in caplog.text) is fails


# What goes wrong is answered, and logged.


@pytest.mark.parametrize(
    "wrong", [Response(200, [("x", "a\r\nb")], b"x"), Response(99, [], b"x"), Response(0, [], Ticket())]
)
def test_an_answer_that_cannot_be_sent_becomes_500(
    counter: Counter, pulse: Beats, client: Client, caplog: pytest.LogCaptureFixture, wrong: Response
) -> None:
    ticket = counter.ticket()
    client.request("POST", "/dav/park")
    assert ticket.started.wait(PATIENCE_S)
    pulse.do(lambda: ticket.answer(wrong))
    assert client.answer().status == 500
    assert client.ask("GET", "/dav/next").status == 200
    assert "could not be sent" in caplog.text


def test_a_start_that_raises_is_answered_500_and_abandoned(
    counter: Counter, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = counter.ticket(at_start=ValueError("no line"))
    client.request("POST", "/dav/park")
    assert client.answer().status == 500
    assert client.ask("GET", "/dav/next").status == 200
    assert ticket.calls == ["start", "abandon"]
    assert "no line" in caplog.text


def test_an_abandon_that_raises_harms_nobody(counter: Counter, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    ticket = counter.ticket()
    raised = threading.Event()

    def abandon() -> None:
        raised.set()
        raise ValueError("still here")

    ticket.abandon = abandon
    with edge.connect() as client:
        client.request("POST", "/dav/park")
        assert ticket.started.wait(PATIENCE_S)
    assert raised.wait(PATIENCE_S)
    with edge.connect() as other:
        assert other.ask("GET", "/dav/other").status == 200
    assert "still here" in caplog.text


def test_a_refusal_before_the_body_cannot_be_parked(caplog: pytest.LogCaptureFixture) -> None:
    ticket = Ticket()
    face = TinyFace(lambda _: DONE, refuse=lambda _: Response(0, [], ticket), brief=False)
    with Edge(face) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 500
    assert ticket.calls == []
    assert "comes later" in caplog.text


# The end of the server.


def test_a_server_that_stops_hastens_all_and_waits_for_none(counter: Counter, pulse: Beats) -> None:
    tickets = [counter.ticket(f"/dav/park/{number}", at_hasten=Response(423, [], b"later")) for number in range(20)]
    with Edge(counter.face, pulse=pulse) as edge:
        clients = [edge.connect() for _ in tickets]
        for client, target in zip(clients, counter.tickets, strict=True):
            client.request("POST", target)
        for ticket in tickets:
            assert ticket.started.wait(PATIENCE_S)
        edge.server.stop()
        for client in clients:
            got = client.answer()
            assert (got.status, got.fields["connection"], got.body) == (423, "close", b"later")
            assert client.rest() == b""
            client.socket.close()
    assert all(ticket.calls == ["start", "hasten"] for ticket in tickets)


@pytest.mark.parametrize(("at_hasten", "status"), [(None, 503), (ValueError("what now"), 500)])
def test_what_does_not_hasten_is_answered_all_the_same(
    counter: Counter, pulse: Beats, caplog: pytest.LogCaptureFixture, at_hasten: Exception | None, status: int
) -> None:
    ticket = counter.ticket(**({} if at_hasten is None else {"at_hasten": at_hasten}))
    with Edge(counter.face, pulse=pulse) as edge, edge.connect() as client:
        client.request("POST", "/dav/park")
        assert ticket.started.wait(PATIENCE_S)
        edge.server.stop()
        got = client.answer()
        assert (got.status, got.fields["connection"]) == (status, "close")
        assert client.rest() == b""
    assert ticket.calls == ["start", "hasten", "abandon"]
    assert ("what now" in caplog.text) is (at_hasten is not None)


def test_requests_that_queue_behind_it_are_answered_before_the_end(counter: Counter, pulse: Beats) -> None:
    first = counter.ticket("/dav/park/1", at_hasten=Response(423, [], b"one"))
    second = counter.ticket("/dav/park/2", at_hasten=Response(423, [], b"two"))
    targets = ["/dav/park/1", "/dav/a", "/dav/park/2"]
    with Edge(counter.face, pulse=pulse) as edge, edge.connect() as client:
        client.send("".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets))
        assert first.started.wait(PATIENCE_S)
        edge.server.stop()
        assert [client.answer().body for _ in targets] == [b"one", b"/dav/a", b"two"]
        assert client.rest() == b""
    assert second.calls == ["start", "hasten"]


@pytest.mark.parametrize("kind", ["parked", "streamed"])
def test_what_begins_after_the_end_began_ends_at_once(kind: str) -> None:
    entered, release = threading.Event(), threading.Event()
    ticket, stream = Ticket(at_hasten=Response(423, [], b"later")), Broadcast(b"hello")

    def answer(_: Request) -> Response:
        entered.set()
        assert release.wait(PATIENCE_S)
        return Response(200, [], ticket if kind == "parked" else stream)

    with Edge(TinyFace(answer, brief=False)) as edge, edge.connect() as client, edge.connect() as idle:
        client.request("GET", "/dav/x")
        assert entered.wait(PATIENCE_S)
        edge.server.stop()
        assert idle.is_closed_by_server()
        release.set()
        assert client.answer().body == (b"later" if kind == "parked" else b"hello")
        assert client.rest() == b""
    assert (ticket.calls or stream.calls) == ["start", "hasten" if kind == "parked" else "stop"]


# What it costs.


def test_a_parked_request_has_no_task(counter: Counter, pulse: Beats) -> None:
    with Edge(counter.face, pulse=pulse) as edge:
        with edge.connect() as client:
            assert client.ask("GET", "/dav/x").status == 200
            ticket = counter.ticket("/dav/park/first", at_hasten=DONE)
            client.request("POST", "/dav/park/first")
            assert ticket.started.wait(PATIENCE_S)
            before = pulse.do(lambda: len(asyncio.all_tasks()))
            clients = [edge.connect() for _ in range(50)]
            tickets = [counter.ticket(f"/dav/park/{number}", at_hasten=DONE) for number in range(50)]
            for number, one in enumerate(clients):
                one.request("POST", f"/dav/park/{number}")
            for one in tickets:
                assert one.started.wait(PATIENCE_S)
            wait_until(lambda: pulse.do(lambda: len(asyncio.all_tasks())) <= before)
        for one in clients:
            one.socket.close()
