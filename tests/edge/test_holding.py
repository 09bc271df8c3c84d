"""Requests that one turn of the loop brings share a commit; none is answered before it, and each in its place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Self

import pytest

from holdfast.config import Durability
from holdfast.core.paths import ROOT
from holdfast.edge import holding
from holdfast.edge.settings import Limits
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore
from holdfast.testing.store_cases import lock_on
from holdfast.wire.exchange import FileRegion, Request, Response
from tests.edge.tiny import PATIENCE_S, Client, Edge, Settled, TinyFace, wait_until


class Ledger(Settled):
    """Holds what faces enter, notes each commit, and fails or waits where it is told to."""

    def __init__(self) -> None:
        self.holds = False
        self.held: list[str] = []
        self.commits: list[list[str]] = []
        self.fails = False
        self.needs_sync = False
        self.may_sync = threading.Event()
        self.entered_sync = threading.Event()

    @contextlib.contextmanager
    def hold(self) -> Generator[None]:
        self.holds = True
        try:
            yield
        finally:
            self.holds = False

    def enter(self, change: str) -> None:
        """As a face's write transaction does."""
        self.held.append(change)
        if not self.holds:
            self.commit_held()

    @property
    def has_held(self) -> bool:
        return bool(self.held)

    @property
    def has_unsynced(self) -> bool:
        return self.needs_sync

    def commit_held(self) -> None:
        held, self.held = self.held, []
        if held and self.fails:
            raise StoreError("the disk is full")
        if held:
            self.commits.append(held)

    def sync(self) -> None:
        self.entered_sync.set()
        assert self.may_sync.wait(PATIENCE_S)


class Crowd(Edge):
    """An edge with one more connection, for the sake of which changes are held."""

    def __enter__(self) -> Self:
        self.idle = self.connect()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.idle.socket.close()


class Gate:
    """A face that enters each request but GETs in the ledger; a request to /dav/wait keeps the loop from going on."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.arrived = threading.Event()
        self.open = threading.Event()
        self.face = TinyFace(self.answer)

    def answer(self, request: Request) -> Response:
        if request.target == "/dav/wait":
            self.arrived.set()
            assert self.open.wait(PATIENCE_S)
            return Response(200, [], b"waited")
        if request.method == "GET":
            return Response(200, [], b"read")
        self.ledger.enter(request.target)
        if request.target == "/dav/raise":
            raise ValueError
        return Response(201, [], f"granted {request.target}".encode(), awaits_sync=True)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(ledger)


def in_one_turn(edge: Edge, gate: Gate, sends: list[Callable[[Client], None]]) -> list[Client]:
    """A connection for each of `sends`, all of whose bytes are there when the loop looks."""
    with edge.connect() as blocker:
        clients = [edge.connect() for _ in sends]
        for client in clients:
            assert client.ask("GET", "/dav/x").status == 200
        blocker.request("GET", "/dav/wait")
        assert gate.arrived.wait(PATIENCE_S)
        for client, send in zip(clients, sends, strict=True):
            send(client)
        gate.open.set()
        assert blocker.answer().body == b"waited"
    return clients


def refuses_connections(edge: Edge) -> bool:
    try:
        edge.connect().socket.close()
    except ConnectionError:
        return True
    return False


def lock(target: str, fields: str = "") -> Callable[[Client], None]:
    return lambda client: client.request("LOCK", target, b"", fields)


def test_requests_that_come_together_share_one_commit(ledger: Ledger, gate: Gate) -> None:
    with Crowd(gate.face, settle=ledger) as edge:
        clients = in_one_turn(edge, gate, [lock(f"/dav/{number}") for number in range(16)])
        for number, client in enumerate(clients):
            assert client.answer().body == f"granted /dav/{number}".encode()
            client.socket.close()
    assert [sorted(commit) for commit in ledger.commits] == [sorted(f"/dav/{number}" for number in range(16))]


def test_a_connection_that_is_alone_is_answered_at_once(ledger: Ledger, gate: Gate) -> None:
    with Edge(gate.face, settle=ledger) as edge, edge.connect() as client:
        for number in range(3):
            client.send(b"LOCK /dav/1 HTTP/1.1\r\nHost: x\r\n\r\nLOCK /dav/2 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.answer().body == b"granted /dav/1"
            assert client.answer().body == b"granted /dav/2"
            assert ledger.commits == [["/dav/1"], ["/dav/2"]] * (number + 1)


def test_a_turn_with_very_many_requests_is_committed_in_parts(ledger: Ledger, gate: Gate) -> None:
    count = 3 * holding._MOST_CALLS
    with Crowd(gate.face, settle=ledger) as edge:
        for client in in_one_turn(edge, gate, [lock(f"/dav/{number}") for number in range(count)]):
            assert client.answer().status == 201
            client.socket.close()
    assert sum(map(len, ledger.commits)) == count
    assert max(map(len, ledger.commits)) <= holding._MOST_CALLS


def test_requests_that_only_read_do_not_keep_a_commit_waiting_for_ever(ledger: Ledger, gate: Gate) -> None:
    reads = b"GET /dav/x HTTP/1.1\r\nHost: x\r\n\r\n" * (2 * holding._MOST_CALLS)
    seen: list[int] = []

    def answer(request: Request) -> Response:
        if request.target == "/dav/x" and ledger.commits:
            seen.append(1)
        return gate.answer(request)

    gate.face.answer = answer
    with Crowd(gate.face, settle=ledger) as edge:
        locker, reader = in_one_turn(edge, gate, [lock("/dav/a"), lambda client: client.send(reads)])
        assert locker.answer().status == 201
        for _ in range(2 * holding._MOST_CALLS):
            assert reader.answer().status == 200
        locker.socket.close()
        reader.socket.close()
    assert len(seen) >= holding._MOST_CALLS


def test_a_failed_commit_is_answered_503_to_all_who_waited_and_their_connections_go_on(
    ledger: Ledger, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.fails = True
    with Crowd(gate.face, settle=ledger) as edge:
        clients = in_one_turn(edge, gate, [lock(f"/dav/{number}") for number in range(8)])
        for client in clients:
            answer = client.answer()
            assert answer.status == 503
            assert "retry-after" in answer.fields
            assert b"granted" not in answer.body
        ledger.fails = False
        for client in clients:
            assert client.ask("LOCK", "/dav/again").status == 201
            client.socket.close()
    assert [record.getMessage() for record in caplog.records if "committed" in record.getMessage()]
    assert "the disk is full" in caplog.text


def test_a_request_that_reads_is_answered_though_a_commit_fails_in_its_turn(ledger: Ledger, gate: Gate) -> None:
    ledger.fails = True
    with Crowd(gate.face, settle=ledger) as edge:
        sends = [lock("/dav/a"), lambda client: client.request("GET", "/dav/x")]
        locker, reader = in_one_turn(edge, gate, sends)
        assert reader.answer().body == b"read"
        assert locker.answer().status == 503
        locker.socket.close()
        reader.socket.close()


@pytest.mark.parametrize("needs_sync", [False, True])
def test_pipelined_requests_are_answered_in_order_behind_a_held_answer(
    ledger: Ledger, gate: Gate, needs_sync: bool
) -> None:
    ledger.needs_sync = needs_sync
    ledger.may_sync.set()
    lines = ["LOCK /dav/1", "GET /dav/2", "GET /asgi", "LOCK /dav/3", "HEAD /asgi", "LOCK /dav/4", "GET /dav/5"]
    with Crowd(gate.face, settle=ledger) as edge, edge.connect() as client:
        for _ in range(3):
            client.send("".join(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n" for line in lines))
            bodies = [client.answer(line.split()[0]).body for line in lines]
            assert bodies == [
                b"granted /dav/1", b"read", b"asgi /asgi 0", b"granted /dav/3", b"", b"granted /dav/4", b"read",
            ]  # fmt: skip
        client.send(
            "LOCK /dav/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /dav/2 HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"
        )
        first, second = client.answer(), client.answer()
        assert "connection" not in first.fields
        assert second.fields["connection"] == "close"
        assert client.rest() == b""


def test_bytes_that_are_no_request_are_refused_behind_a_held_answer(ledger: Ledger, gate: Gate) -> None:
    with Crowd(gate.face, settle=ledger) as edge, edge.connect() as client:
        client.send("LOCK /dav/1 HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        assert client.answer().status == 201
        assert client.answer().status in {400, 501}
        assert client.rest() == b""


@pytest.mark.parametrize(
    ("version", "fields", "connection", "stays"),
    [("1.1", "Connection: close\r\n", "close", False), ("1.0", "", "close", False),
     ("1.0", "Connection: keep-alive\r\n", "keep-alive", True)],
)  # fmt: skip
def test_a_held_answer_keeps_or_closes_its_connection_as_any_other(
    ledger: Ledger, gate: Gate, version: str, fields: str, connection: str, stays: bool
) -> None:
    with Crowd(gate.face, settle=ledger) as edge, edge.connect() as client:
        client.send(f"LOCK /dav/1 HTTP/{version}\r\nHost: x\r\n{fields}\r\n")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (201, connection)
        if stays:
            assert client.ask("LOCK", "/dav/2").status == 201
        else:
            assert client.rest() == b""


def test_clients_that_vanish_while_their_answers_are_held_do_no_harm(
    ledger: Ledger, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.needs_sync = True
    with Crowd(gate.face, settle=ledger) as edge:
        clients = in_one_turn(edge, gate, [lock(f"/dav/{number}") for number in range(4)])
        assert ledger.entered_sync.wait(PATIENCE_S)
        for client in clients[1:]:
            client.request("GET", "/dav/x")  # queues behind, and dies with it
            client.socket.close()
        with edge.connect() as other:
            assert other.ask("GET", "/dav/x").status == 200
        ledger.may_sync.set()
        assert clients[0].answer().status == 201
        assert clients[0].ask("LOCK", "/dav/more").status == 201
        clients[0].socket.close()
    assert not caplog.records


def test_a_face_that_raises_after_a_change_holds_nobody_up(
    ledger: Ledger, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with Crowd(gate.face, settle=ledger) as edge, edge.connect() as client:
        assert client.ask("LOCK", "/dav/raise").status == 500
        wait_until(lambda: ledger.commits)
        assert client.ask("LOCK", "/dav/next").status == 201
    assert ledger.commits == [["/dav/raise"], ["/dav/next"]]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["file", "iterator"])
def test_an_answer_that_is_no_bytes_is_sent_after_its_commit_too(
    ledger: Ledger, gate: Gate, kind: str, fails: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    ledger.fails = fails

    def answer(request: Request) -> Response:
        ledger.enter(request.target)
        body = [FileRegion(path.open("rb"), 0, 200_000)] if kind == "file" else iter([b"x" * 200_000])
        return Response(200, [], body, awaits_sync=True)

    with Crowd(TinyFace(answer), settle=ledger) as edge, edge.connect() as client:
        got = client.ask("LOCK", "/dav/x")
        assert (got.status, len(got.body) == 200_000) == ((503, False) if fails else (200, True))
    assert bool(ledger.commits) is not fails


def test_a_held_answer_of_small_parts_is_joined(ledger: Ledger) -> None:
    def answer(request: Request) -> Response:
        ledger.enter(request.target)
        return Response(200, [], [b"hello ", b"world"], awaits_sync=True)

    with Crowd(TinyFace(answer), settle=ledger) as edge, edge.connect() as client:
        assert client.ask("LOCK", "/dav/x").body == b"hello world"


@pytest.mark.parametrize("idle_s", [75.0, 0.02])
def test_the_graceful_end_commits_syncs_and_answers_what_is_held(ledger: Ledger, gate: Gate, idle_s: float) -> None:
    """Nor is a connection idle while its answer is held."""
    ledger.needs_sync = True
    with Crowd(gate.face, settle=ledger, limits=Limits(idle_s=idle_s, tick_s=0.01)) as edge, edge.connect() as client:
        client.request("LOCK", "/dav/a")
        assert ledger.entered_sync.wait(PATIENCE_S)
        edge.server.stop()
        wait_until(lambda: refuses_connections(edge))
        ledger.may_sync.set()
        answer = client.answer()
        assert answer.body == b"granted /dav/a"
        assert answer.fields["connection"] == "close"
        assert client.rest() == b""


def test_a_grant_is_on_record_for_others_when_it_is_told_and_threads_write_beside_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "locks.sqlite"
    store = SqliteStore(path, durability=Durability.CRASH)

    def answer(request: Request) -> Response:
        name = request.target
        with store.write() as tx:
            if tx.lock_with_id(name) is not None:
                return Response(423, [])
            tx.insert(lock_on(tx, name, lock_id=name, fencing_token=tx.mint_fencing_token()))
        return Response(201, [], b"", awaits_sync=True)

    class Mixed(TinyFace):
        def is_brief(self, request: Request) -> bool:
            return request.method == "LOCK"

    rounds, wrong = 40, []

    def work(edge: Edge, number: int) -> None:
        with edge.connect() as client:
            for step in range(rounds):
                name = f"/dav/{number}/{step}"
                if client.ask("LOCK" if (number + step) % 3 else "PUT", name).status != 201:
                    wrong.append(name)
                if not other.peek([name]):
                    wrong.append(f"told too early: {name}")
                if client.ask("LOCK", name).status != 423:
                    wrong.append(f"granted twice: {name}")

    with store, SqliteStore(path, durability=Durability.CRASH) as other, Edge(Mixed(answer), settle=store) as edge:
        threads = [threading.Thread(target=work, args=(edge, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not wrong
        with other.read() as tx:
            assert len(tx.locks_below(ROOT)) == tx.count_locks() == 8 * rounds
