"""Waiting in line over the API, on a real server: parked, handed over, polled for, given up."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from pathlib import Path

import pytest

from tests.api.desk import Desk, Reply
from tests.api.queueing import WAIT, Queue, until
from tests.serving import serving


@pytest.fixture
def queue(desk: Desk):
    queue = Queue(desk)
    yield queue
    queue.threads.shutdown()
    assert queue.line.is_empty


def test_the_lock_is_handed_over_on_release_in_the_order_of_asking(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    waiting = [queue.ask(name, resource, reason=f"{number}") for number, name in enumerate(["bob", "alice", "bob"])]
    for number, future in enumerate(waiting):
        assert desk.release("alice" if number in {0, 2} else "bob", lock).status == 204
        reply = future.result(20)
        assert reply.status == 201
        assert reply["reason"] == str(number)
        assert reply.answer["Preference-Applied"] == "wait=60"
        assert reply.answer["Location"] == reply["url"]
        assert not any(other.done() for other in waiting[number + 1 :])
        lock = reply.json
    desk.release("bob", lock)


def test_the_member_wait_parks_as_the_field_does(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    future = queue.ask("bob", resource, {}, wait=30.5)
    desk.release("alice", lock)
    assert future.result(20).status == 201
    assert future.result().answer.headers["Preference-Applied"] is None


def test_a_lock_that_is_free_is_granted_at_once(desk: Desk, resource: str) -> None:
    reply = desk.acquire("alice", resource, WAIT)
    assert (reply.status, reply.answer["Preference-Applied"]) == (201, "wait=60")


def test_no_reader_passes_a_waiting_writer_and_readers_go_together(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource, scope="shared")
    writer = queue.ask("bob", resource)
    readers = [queue.ask("alice", resource, scope="shared") for _ in range(3)]
    assert desk.acquire("root", resource, scope="shared").status == 423
    desk.release("alice", lock)
    desk.release("bob", writer.result(20).json)
    assert [reader.result(20).status for reader in readers] == [201] * 3


def test_a_newcomer_that_does_not_wait_is_told_of_the_line(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    future = queue.ask("bob", resource)
    problem = desk.acquire("root", resource).problem
    assert (problem["queue_length"], problem["locks"][0]["queue_length"]) == (1, 1)
    assert "position" not in problem
    assert "1 request waits" in problem["detail"]
    assert desk.ask("root", "GET", lock["url"])["queue_length"] == 1
    assert desk.ask("root", "GET", f"/api/locks?resource={resource}")["locks"][0]["queue_length"] == 1
    assert desk.ask("root", "POST", "/api/check", {"resource": resource}).problem["locks"][0]["queue_length"] == 1
    desk.release("alice", lock)
    assert future.result(20).status == 201


def test_the_wait_ends_with_a_423_that_tells_the_place(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    first = queue.ask("bob", resource)
    second = queue.ask("root", resource, {"Prefer": "wait=20"})
    desk.later(21)
    reply = second.result(20)
    assert reply.status == 423
    assert reply.answer["Preference-Applied"] == "wait=20"
    assert (reply.problem["position"], reply.problem["queue_length"]) == (2, 2)
    desk.release("alice", lock)
    assert first.result(20).status == 201


def test_a_lock_that_expires_is_handed_over(desk: Desk, queue: Queue, resource: str) -> None:
    desk.granted("alice", resource, ttl=10)
    future = queue.ask("bob", resource)
    desk.later(10)
    assert future.result(20).status == 201


def test_a_lock_that_is_broken_is_handed_over(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    future = queue.ask("bob", resource)
    assert desk.break_("root", lock).status == 200
    assert future.result(20).status == 201


def test_a_break_with_grace_hands_over_when_the_grace_is_over(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource)
    future = queue.ask("bob", resource)
    assert desk.break_("root", lock, after=5).status == 202
    desk.later(6)
    assert future.result(20).status == 201


def test_a_lock_in_depth_is_waited_for_below_it(desk: Desk, queue: Queue, resource: str) -> None:
    lock = desk.granted("alice", resource, depth="infinity")
    future = queue.ask("bob", f"{resource}/lines/1")
    assert desk.ask("root", "GET", lock["url"])["queue_length"] == 1
    desk.release("alice", lock)
    assert future.result(20).status == 201


def test_no_wait_is_longer_than_the_setting(desk: Desk, queue: Queue, resource: str) -> None:
    desk.granted("alice", resource, ttl=3600)
    future = queue.ask("bob", resource, {"Prefer": "wait=100000"})
    desk.later(301)
    assert future.result(20).answer["Preference-Applied"] == "wait=300"


@pytest.mark.parametrize("bad", [-1, 86_401, "5", None])
def test_a_wait_that_is_none_is_422(desk: Desk, resource: str, bad: object) -> None:
    assert desk.acquire("alice", resource, wait=bad).status == 422


def test_what_is_no_preference_to_wait_is_passed_over(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource)
    for text in ("wait=soon", "wait", "respond-async", "wait=-1"):
        reply = desk.acquire("bob", resource, {"Prefer": text})
        assert reply.status == 423
        assert reply.answer.headers["Preference-Applied"] is None


def test_wait_0_answers_at_once_and_takes_no_place(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource)
    reply = desk.acquire("bob", resource, {"Prefer": "wait=0"})
    assert (reply.status, reply.answer["Preference-Applied"]) == (423, "wait=0")
    assert "queue_length" not in reply.problem


class TestPolling:
    """An id of its own keeps a client's place while it comes back in time."""

    def test_it_is_told_its_place_and_keeps_it(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        for _ in range(3):
            reply = desk.acquire("bob", resource, wait=0, id=name)
            assert reply.status == 423
            assert (reply.problem["position"], reply.problem["queue_length"]) == (1, 1)
            assert int(reply.answer["Retry-After"]) <= 10
            desk.later(15)
        desk.release("alice", lock)
        held = desk.acquire("alice", resource)
        assert held.status == 423
        assert held.problem["locks"] == []
        assert "bob is next" in held.problem["detail"]
        assert int(held.answer["Retry-After"]) <= 2
        assert desk.acquire("bob", resource, id=name).status == 201

    @pytest.mark.parametrize(("accept", "said"), [("application/xml", "<D:href>%s</D:href>"), ("text/html", "is next")])
    def test_that_others_are_next_is_said_in_each_form(self, desk: Desk, resource: str, accept: str, said: str) -> None:
        lock = desk.granted("alice", resource)
        desk.acquire("bob", resource, wait=0, id=resource.replace("/", "_"))
        desk.release("alice", lock)
        reply = desk.acquire("root", resource, {"Accept": accept})
        assert reply.status == 423
        assert (said % resource if "%" in said else said) in reply.answer.body.decode()

    def test_it_loses_its_place_when_it_comes_late(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        desk.acquire("bob", resource, wait=0, id=name)
        desk.release("alice", lock)
        desk.later(20)
        assert desk.acquire("alice", resource).status == 201

    def test_a_wait_that_ends_keeps_its_place_too(self, desk: Desk, queue: Queue, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        future = queue.ask("bob", resource, {}, wait=5, id=name)
        desk.later(6)
        assert future.result(20).problem["position"] == 1
        desk.release("alice", lock)
        assert desk.acquire("root", resource).status == 423
        assert desk.acquire("bob", resource, id=name).status == 201

    def test_the_key_of_a_request_keeps_its_place(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        key = {"Idempotency-Key": f'"{resource}"', "Prefer": "wait=0"}
        assert desk.acquire("bob", resource, key).problem["position"] == 1
        desk.release("alice", lock)
        assert desk.acquire("root", resource).status == 423
        assert desk.acquire("bob", resource, key).status == 201

    def test_its_id_is_taken_for_others(self, desk: Desk, resource: str) -> None:
        desk.granted("alice", resource)
        name = resource.replace("/", "_")
        desk.acquire("bob", resource, wait=0, id=name)
        assert desk.acquire("alice", resource + "x", id=name).status == 409
        assert desk.acquire("bob", resource + "x", id=name).status == 409

    def test_the_same_request_from_two_connections_gets_one_lock(self, desk: Desk, queue: Queue, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        both = [queue.ask("bob", resource, id=name) for _ in range(2)]
        assert desk.acquire("root", resource).problem["queue_length"] == 1
        desk.release("alice", lock)
        replies = [future.result(20) for future in both]
        assert sorted(reply.status for reply in replies) == [200, 201]
        assert len({reply["token"] for reply in replies}) == 1


class TestGivingUp:
    """A place is left early with its id alone, by the principal that waits."""

    def test_of_a_polling_client(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        assert desk.acquire("bob", resource, wait=0, id=name).problem["position"] == 1
        reply = desk.ask("bob", "DELETE", f"/api/locks/{name}")
        assert (reply.status, reply.answer.body, reply.answer["Cache-Control"]) == (204, b"", "no-store")
        [*_, left] = desk.ask("root", "GET", f"/api/history?under={resource}")["events"]
        assert (left["kind"], left["lock_id"], left["actor"]) == ("left", name, "bob")
        desk.release("alice", lock)
        assert desk.acquire("root", resource).status == 201

    def test_of_a_request_that_waits_which_is_told_and_lets_others_by(
        self, desk: Desk, queue: Queue, resource: str
    ) -> None:
        lock = desk.granted("alice", resource, scope="shared")
        name = resource.replace("/", "_")
        writers = [queue.ask("bob", resource, id=name) for _ in range(2)]
        reader = queue.ask("root", resource, scope="shared")
        assert desk.ask("bob", "DELETE", f"/api/locks/{name}").status == 204
        for writer in writers:
            assert writer.result(20).status == 409
            assert "given up" in writer.result().problem["detail"]
        assert reader.result(20).status == 201
        assert desk.acquire("bob", resource, wait=0, id=name).problem["position"] == 1
        assert desk.ask("bob", "DELETE", f"/api/locks/{name}").status == 204
        desk.release("alice", lock)

    def test_of_a_lock_request_of_webdav(self, desk: Desk, queue: Queue) -> None:
        alice, bob = desk.client("alice"), desk.client("bob")
        assert alice.put("/dav/given-up").status == 201
        alice.locked("/dav/given-up")
        future = queue.threads.submit(bob.lock, "/dav/given-up", prefer="wait=60")
        until(lambda: len(queue.line) == 1)
        [queued] = desk.ask("bob", "GET", "/api/history?under=/dav/given-up&kind=queued")["events"]
        assert desk.ask("bob", "DELETE", f"/api/locks/{queued['lock_id']}").status == 204
        assert future.result(20).status == 409
        assert b"given up" in future.result().body

    def test_of_somebody_else_or_of_nobody_is_refused(self, desk: Desk, resource: str) -> None:
        desk.granted("alice", resource)
        name = resource.replace("/", "_")
        desk.acquire("bob", resource, wait=0, id=name)
        for who in ("alice", "root"):
            assert desk.ask(who, "DELETE", f"/api/locks/{name}").problem["status"] == 403
        assert desk.acquire("bob", resource, wait=0, id=name).problem["position"] == 1
        assert desk.ask("bob", "DELETE", f"/api/locks/{name}-other").problem["status"] == 400


class TestClients:
    """A waiter lives as long as its connection."""

    def send(self, desk: Desk, who: str, resource: str, **members: object) -> http.client.HTTPConnection:
        """A waiting request on a connection of its own."""
        line = desk.served.application.line
        before = len(line)
        client = desk.client(who)
        connection = http.client.HTTPConnection(client.host, client.port, timeout=30)
        body = json.dumps({"resource": resource, **members}).encode()
        assert client.authorization is not None
        fields = {"Authorization": client.authorization, "Content-Type": "application/json", **WAIT}
        connection.request("POST", "/api/locks", body, fields)
        until(lambda: len(line) > before)
        return connection

    def test_one_that_goes_leaves_the_line(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        self.send(desk, "bob", resource).close()
        until(lambda: desk.served.application.line.is_empty)
        desk.release("alice", lock)
        assert desk.acquire("root", resource).status == 201

    def test_one_that_goes_lets_others_by(self, desk: Desk, resource: str) -> None:
        desk.granted("alice", resource, scope="shared")
        writer = self.send(desk, "bob", resource)
        with contextlib.closing(self.send(desk, "bob", resource, scope="shared")) as reader:
            writer.close()
            assert reader.getresponse().status == 201

    def test_one_with_an_id_comes_back_to_its_place(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        self.send(desk, "bob", resource, id=name).close()
        until(lambda: desk.served.application.line.is_empty)
        desk.release("alice", lock)
        assert desk.acquire("root", resource).status == 423
        assert desk.acquire("bob", resource, id=name).status == 201

    def test_an_answer_that_found_nobody_is_given_again_to_the_same_id(self, desk: Desk, resource: str) -> None:
        """Granted and lost on the way: the lock stays until its time is over, or its client asks again."""
        lock = desk.granted("alice", resource)
        name = resource.replace("/", "_")
        with contextlib.closing(self.send(desk, "bob", resource, id=name)) as connection:
            assert isinstance(connection.sock, socket.socket)
            desk.release("alice", lock)
            until(lambda: desk.served.application.line.is_empty)
        assert desk.acquire("bob", resource, id=name).status == 200


def test_a_full_line_is_a_423_that_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, max_waiters=1) as served:
        desk = Desk(served)
        lock = desk.granted("alice", "/a")
        queue = Queue(desk)
        with queue.threads:
            future = queue.ask("bob", "/a")
            problem = desk.acquire("root", "/a", WAIT).problem
            assert problem["status"] == 423
            assert "full" in problem["detail"]
            desk.release("alice", lock)
            assert future.result(20).status == 201


def test_a_server_that_stops_answers_who_waits(tmp_path: Path) -> None:
    answers: list[Reply] = []
    with serving(tmp_path) as served:
        desk = Desk(served)
        desk.granted("alice", "/a")
        waiting = threading.Thread(target=lambda: answers.append(desk.acquire("bob", "/a", WAIT)))
        waiting.start()
        until(lambda: len(served.application.line) == 1)
    waiting.join(20)
    assert [answer.status for answer in answers] == [423]


def test_no_member_of_a_423_is_one_that_terraform_reads(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource)
    problem = desk.acquire("bob", resource, wait=0, id=resource.replace("/", "_")).problem
    assert set(problem).isdisjoint({"id", "operation", "info", "who", "version", "created", "path"})
