"""LOCK with `Prefer: wait=N` (RFC 7240 section 4.3): a WebDAV client stands in the same line as everybody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.api.desk import Desk
from tests.serving import Answer, Client
from tests.webdav.rooms import Room, conditions, roots

HOLDFAST = "{urn:holdfast:dav}"


class Queue:
    """LOCK requests that wait, each on a thread of its own, in the order in which they were sent."""

    def __init__(self, room: Room) -> None:
        self.line = room.served.application.line
        self.threads = ThreadPoolExecutor(8)

    def lock(self, client: Client, target: str, wait: int = 60, **fields: str) -> Future[Answer]:
        """Send it; it waits when this returns."""
        before = len(self.line)
        future = self.threads.submit(client.lock, target, prefer=f"wait={wait}", **fields)
        until(lambda: len(self.line) > before or future.done())
        assert not future.done(), future.result().body
        return future


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)


@pytest.fixture
def queue(room: Room) -> Iterator[Queue]:
    queue = Queue(room)
    yield queue
    queue.threads.shutdown()
    assert queue.line.is_empty


def test_the_lock_is_handed_over_on_unlock(room: Room, queue: Queue) -> None:
    room.make("a.txt")
    token = room.alice.locked(room("a.txt"))
    future = queue.lock(room.bob, room("a.txt"))
    room.alice.unlock(room("a.txt"), token)
    answer = future.result(20)
    assert (answer.status, answer["Preference-Applied"]) == (200, "wait=60")
    assert room.bob.put(room("a.txt"), if_=f"(<{answer.token}>)").status == 204


def test_a_free_resource_is_locked_at_once(room: Room) -> None:
    answer = room.alice.lock(room("new.txt"), prefer="wait=5")
    assert (answer.status, answer["Preference-Applied"]) == (201, "wait=5")


def test_the_wait_ends_with_a_423_that_names_the_lock_and_the_line(room: Room, queue: Queue) -> None:
    room.make("a.txt")
    room.alice.locked(room("a.txt"))
    future = queue.lock(room.bob, room("a.txt"), wait=20)
    room.later(21)
    answer = future.result(20)
    assert (answer.status, answer["Preference-Applied"]) == (423, "wait=20")
    assert conditions(answer) == ["no-conflicting-lock"]
    assert answer.xml.findtext(f"{HOLDFAST}queue/{HOLDFAST}position") == "1"
    assert answer.xml.findtext(f"{HOLDFAST}queue/{HOLDFAST}length") == "1"


def test_without_the_preference_nobody_waits_and_nobody_is_passed(room: Room, queue: Queue) -> None:
    room.make("a.txt")
    token = room.alice.locked(room("a.txt"), "shared")
    future = queue.lock(room.bob, room("a.txt"))
    answer = room.alice.lock(room("a.txt"), "shared")
    assert answer.status == 423
    assert roots(answer) == [room("a.txt")]
    room.alice.unlock(room("a.txt"), token)
    assert future.result(20).status == 200


def test_an_unmapped_url_is_created_at_the_turn(room: Room, queue: Queue) -> None:
    """What was deleted meanwhile is unmapped then: the turn looks anew."""
    room.make("a.txt")
    token = room.alice.locked(room("a.txt"))
    future = queue.lock(room.bob, room("a.txt"))
    assert room.alice.request("DELETE", room("a.txt"), if_=f"(<{token}>)").status == 204
    assert future.result(20).status == 201
    assert (room.folder / "a.txt").exists()


def test_the_lock_of_the_parent_is_waited_for(room: Room, queue: Queue) -> None:
    room.make("sub/")
    token = room.alice.locked(room("sub/"))
    future = queue.lock(room.bob, room("sub/new.txt"))
    room.alice.unlock(room("sub/"), token)
    assert future.result(20).status == 201


def test_a_parent_that_is_gone_at_the_turn_is_409_and_the_place_is_given_up(room: Room, queue: Queue) -> None:
    room.make("sub/")
    token = room.alice.locked(room("sub/"), depth="infinity")
    future = queue.lock(room.bob, room("sub/new.txt"))
    assert room.alice.request("DELETE", room("sub/"), if_=f"<{room.at('sub/')}> (<{token}>)").status == 204
    assert future.result(20).status == 409
    room.make("sub/")
    assert room.alice.lock(room("sub/new.txt")).status == 201


def test_if_match_is_looked_at_again_at_the_turn(room: Room, queue: Queue) -> None:
    room.make("a.txt")
    token = room.alice.locked(room("a.txt"))
    tag = room.alice.get(room("a.txt"))["ETag"]
    future = queue.lock(room.bob, room("a.txt"), if_match=tag)
    assert room.alice.put(room("a.txt"), b"changed", if_=f"(<{token}>)").status == 204
    room.alice.unlock(room("a.txt"), token)
    assert future.result(20).status == 412
    assert room.alice.lock(room("a.txt")).status == 200


def test_the_if_header_is_looked_at_again_at_the_turn(room: Room, queue: Queue) -> None:
    room.make("a.txt", "b.txt")
    token = room.alice.locked(room("a.txt"))
    own = room.bob.locked(room("b.txt"))
    future = queue.lock(room.bob, room("a.txt"), if_=f"<{room.at('b.txt')}> (<{own}>)")
    room.bob.unlock(room("b.txt"), own)
    room.alice.unlock(room("a.txt"), token)
    assert future.result(20).status == 412


def test_a_refresh_does_not_wait(room: Room) -> None:
    room.make("a.txt")
    token = room.alice.locked(room("a.txt"))
    answer = room.alice.request("LOCK", room("a.txt"), if_=f"(<{token}>)", prefer="wait=60")
    assert answer.status == 200


def test_a_tree_waits_for_what_is_locked_within(room: Room, queue: Queue) -> None:
    room.make("sub/", "sub/a.txt")
    token = room.alice.locked(room("sub/a.txt"))
    future = queue.lock(room.bob, room("sub/"), depth="infinity")
    room.alice.unlock(room("sub/a.txt"), token)
    assert future.result(20).status == 200


def test_the_end_of_such_a_wait_is_a_207_that_names_it(room: Room, queue: Queue) -> None:
    room.make("sub/", "sub/a.txt")
    room.alice.locked(room("sub/a.txt"))
    future = queue.lock(room.bob, room("sub/"), wait=5, depth="infinity")
    room.later(6)
    answer = future.result(20)
    assert answer.statuses() == {room("sub/a.txt"): 423, room("sub/"): 424}


class TestOneLine:
    """All faces stand in one line."""

    def test_webdav_waits_for_a_lock_of_the_api(self, room: Room, queue: Queue) -> None:
        room.make("a.txt")
        desk = Desk(room.served)
        lock = desk.granted("alice", room("a.txt"))
        future = queue.lock(room.bob, room("a.txt"))
        desk.release("alice", lock)
        assert future.result(20).status == 200

    def test_the_api_waits_for_a_lock_of_webdav(self, room: Room, queue: Queue) -> None:
        room.make("a.txt")
        desk = Desk(room.served)
        token = room.alice.locked(room("a.txt"))
        future = queue.threads.submit(desk.acquire, "bob", room("a.txt"), {"Prefer": "wait=60"})
        until(lambda: len(queue.line) == 1)
        webdav = queue.lock(room.alice, room("a.txt"))
        room.alice.unlock(room("a.txt"), token)
        reply = future.result(20)
        assert reply.status == 201
        assert not webdav.done()
        desk.release("bob", reply.json)
        assert webdav.result(20).status == 200
