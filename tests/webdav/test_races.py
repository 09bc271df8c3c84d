"""What changes between the check and the change: the lock of the moment counts, however late it was granted.

Another's transaction is held open from the test while a request waits for it; nothing here depends on luck to pass.
"""

from __future__ import annotations

import contextlib
import http.client
import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier

import msgspec
import pytest

from holdfast.core.model import Depth, Lock
from holdfast.core.paths import ResourcePath
from tests.core.sample import lock as sample_lock
from tests.serving import Answer, Client
from tests.webdav.rooms import Room, activelocks, discovered


def held_by_alice(room: Room, name: str, depth: Depth = Depth.ZERO) -> Lock:
    """A lock as one of the store's transactions can insert it."""
    sample = sample_lock(room(name).rstrip("/"), "alice", depth=depth, ttl_s=None)
    now = room.served.application.store.clock.now()
    token = sample.token.replace("/", ":")
    return msgspec.structs.replace(sample, id=token.replace(":", "-"), token=token, created_at=now, refreshed_at=now)


@pytest.mark.parametrize("method", ["PUT", "COPY"])
def test_a_document_deleted_meanwhile_makes_of_its_overwriting_a_new_member(room: Room, method: str) -> None:
    """RFC 4918 section 7.4: bob saves what alice has just deleted from the collection that she has locked."""
    room.make("coll/", "coll/doc", "source")
    store = room.served.application.store

    def save() -> Answer:
        if method == "PUT":
            return room.bob.put(room("coll/doc"), b"from bob")
        return room.bob.request("COPY", room("source"), destination=room.at("coll/doc"))

    with ThreadPoolExecutor(1) as pool:
        with store.write() as tx:
            answer: Future[Answer] = pool.submit(save)
            # Once the upload is staged (or was found to need none) only the transaction is left to wait for.
            with contextlib.suppress(TimeoutError):
                answer.result(0.3)
            (room.folder / "coll" / "doc").unlink()
            tx.insert(held_by_alice(room, "coll"))
        assert answer.result(20).status == 423
    assert room.alice.get(room("coll/doc")).status == 404


def test_a_lock_granted_while_the_body_was_on_its_way_wins(room: Room) -> None:
    """The upload was welcome when it began; check and rename happen together at its end."""
    room.make("doc")
    connection = http.client.HTTPConnection(room.served.host, room.served.port, timeout=30)
    with contextlib.closing(connection):
        half = os.urandom(2_000_000)
        connection.putrequest("PUT", room("doc"))
        connection.putheader("Authorization", room.bob.authorization or "")
        connection.putheader("Content-Length", str(2 * len(half)))
        connection.endheaders()
        connection.send(half)
        token = room.alice.locked(room("doc"))
        connection.send(half)
        response = connection.getresponse()
        assert response.status == 423
        response.read()
    assert room.alice.get(room("doc")).body == b"text"
    assert room.alice.put(room("doc"), if_=f"(<{token}>)").status == 204


def test_of_eight_parallel_exclusive_locks_one_is_granted_in_every_round(room: Room) -> None:
    """Apache 2.4.71 let 2 of 8 win (fault 12); WsgiDAV's workers each had their own idea (fault 7)."""
    barrier = Barrier(8)

    def attempt(client: Client, target: str, depth: str) -> Answer:
        barrier.wait(20)
        return client.lock(target, depth=depth)

    room.make(*(f"coll-{number}/" for number in range(12)), *(f"coll-{number}/doc" for number in range(12)))
    with ThreadPoolExecutor(8) as pool:
        for number in range(12):
            # Four ask for the document, four for the collection above it in depth: all of them exclude each other.
            asked = [(f"coll-{number}/doc", "0"), (f"coll-{number}", "infinity")] * 4
            clients = [room.alice, room.alice, room.bob, room.bob] * 2
            answers = [
                pool.submit(attempt, client, room(name), depth)
                for client, (name, depth) in zip(clients, asked, strict=True)
            ]
            granted = [answer for answer in (item.result(30) for item in answers) if answer.status == 200]
            assert len(granted) == 1, f"round {number}"
            assert len(activelocks(granted[0])) == 1
            assert len(discovered(room.rita, room(f"coll-{number}/doc"))) == 1


def test_a_delete_of_a_tree_and_a_lock_in_it_never_both_succeed(room: Room) -> None:
    """No check-then-act: either the lock was there first and all stays, or the tree is gone and the lock is new."""
    barrier = Barrier(2)

    def delete(target: str) -> int:
        barrier.wait(20)
        return room.bob.request("DELETE", target).status

    def lock(target: str) -> int:
        barrier.wait(20)
        return room.alice.lock(target).status

    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            room.make(f"tree-{number}/", f"tree-{number}/doc")
            deleted = pool.submit(delete, room(f"tree-{number}/"))
            locked = pool.submit(lock, room(f"tree-{number}/doc"))
            outcome = (deleted.result(30), locked.result(30))
            assert outcome in {(207, 200), (204, 409)}, f"round {number}"
            exists = room.alice.get(room(f"tree-{number}/doc")).status
            assert exists == (200 if outcome[0] == 207 else 404)


def test_writers_of_one_unlocked_document_never_meet_a_423(room: Room) -> None:
    """golang.org/x/net/webdav locked it for the moment of each PUT, so that 3 of 16 were refused (fault 24)."""
    room.make("doc", "new/")
    bodies = [str(number).encode() * 5000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        puts = [
            pool.submit((room.alice, room.bob)[number % 2].put, room("doc"), body) for number, body in enumerate(bodies)
        ]
        fresh = [pool.submit(room.bob.put, room(f"new/{number}"), body) for number, body in enumerate(bodies)]
        assert {put.result(30).status for put in puts} == {204}
        assert {put.result(30).status for put in fresh} == {201}
    assert room.alice.get(room("doc")).body in bodies


def test_a_write_and_the_expiry_of_anothers_lock_agree_on_who_holds_it(room: Room) -> None:
    """Expired locks are tidied while others are read (WsgiDAV answered 500, fault 6)."""
    for number in range(30):
        room.bob.locked(room(f"doc-{number}"), timeout="Second-60")
    room.later(61)
    store = room.served.application.store
    with ThreadPoolExecutor(8) as pool:
        locks = [pool.submit(room.alice.lock, room(f"doc-{number}")) for number in range(30)]
        looks = [pool.submit(room.rita.propfind, room(), "lockdiscovery", depth="1") for _ in range(8)]
        sweeps = [pool.submit(room.served.application.service.sweep) for _ in range(4)]
        assert {lock.result(30).status for lock in locks} == {200}
        assert {look.result(30).status for look in looks} == {207}
        assert all(sweep.result(30) >= 0 for sweep in sweeps)
    with store.read() as tx:
        assert len(tx.locks_below(ResourcePath(room.path), -1)) == 30
