"""SIGKILL at any instant: what was answered is kept, and what was under way is old or new, never half."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.edge.tiny import wait_until
from tests.serving import DAV, Answer, serving
from tests.survival.processes import KeptClient, ServerProcess, events_of, wait_for_end

MARK = "{urn:x-survival}mark"
EMPTY = hashlib.sha256(b"").hexdigest()
ABSENT = ""
PEOPLE = ("alice", "bob", "carol")
NAMES = tuple("abcdef")

pytestmark = [pytest.mark.process]


def document(rng: random.Random) -> bytes:
    """Bytes that tell whether they are whole: their digest stands at their end. Some are larger than what is kept in memory."""
    body = rng.randbytes(rng.choice([0, 10, 1000, 60_000, 300_000]))
    return body + hashlib.sha256(body).hexdigest().encode()


def is_whole(body: bytes) -> bool:
    return not body or body[-64:] == hashlib.sha256(body[:-64]).hexdigest().encode()


class Person:
    """A client at work in a collection of its own, who knows after every answer what must be there.

    `bodies` and `marks` are, per name, all that may be found: one value once an answer came, two or more
    while a request is under way. `ending` are those whose end is under way, `held` the locks whose grant was answered and whose end nobody asked for.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = random.Random(seed)
        self.bodies = {name: {ABSENT} for name in NAMES}
        self.marks: dict[str, set[str]] = {name: {ABSENT} for name in NAMES}
        self.held: dict[str, str] = {}
        self.ending: dict[str, str] = {}
        self.answered = 0
        self.faults: list[tuple[str, str, int]] = []

    def path(self, name: str) -> str:
        return f"/dav/{self.name}/{name}"

    def work(self, client: KeptClient, noted: threading.Semaphore) -> None:
        """Until the connection is lost."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                self.step(client)
                self.answered += 1
                noted.release()

    def step(self, client: KeptClient) -> None:
        name = self.rng.choice(NAMES)
        work = self.rng.choice([self.lock, self.lock, self.refresh, self.unlock, self.put, self.put, self.mark])
        if self.rng.random() < 0.25:
            work = self.rng.choice([self.move, self.delete])
        work(client, name)

    def condition(self, *names: str) -> dict[str, str]:
        lists = [f"<{self.path(name)}> (<{self.held[name]}>)" for name in names if name in self.held]
        return {"if": " ".join(lists)} if lists else {}

    def expect(self, answer: Answer, *statuses: int) -> bool:
        if answer.status not in statuses:
            self.faults.append((self.name, answer.body.decode("utf-8", "replace")[:300], answer.status))
        return answer.status in statuses

    def lock(self, client: KeptClient, name: str) -> None:
        if name in self.held:
            return
        before = set(self.bodies[name])
        if ABSENT in before:
            self.bodies[name] = before | {EMPTY}
        answer = client.lock(self.path(name))
        if self.expect(answer, 200, 201):
            self.held[name] = answer.token
            self.bodies[name] = {EMPTY} if answer.status == 201 else before - {ABSENT}
            if answer.status == 201:
                self.marks[name] = {ABSENT}

    def refresh(self, client: KeptClient, name: str) -> None:
        if name in self.held:
            token = self.held[name]
            self.expect(client.request("LOCK", self.path(name), if_=f"(<{token}>)", timeout="Second-3600"), 200)

    def unlock(self, client: KeptClient, name: str) -> None:
        if name in self.held:
            token = self.ending[name] = self.held.pop(name)
            status = client.unlock(self.path(name), token)
            del self.ending[name]
            if status != 204:
                self.faults.append((self.name, "UNLOCK", status))

    def put(self, client: KeptClient, name: str) -> None:
        body = document(self.rng)
        digest = hashlib.sha256(body).hexdigest()
        was_absent = self.bodies[name] == {ABSENT}
        self.bodies[name] = self.bodies[name] | {digest}
        answer = client.request("PUT", self.path(name), body, **self.condition(name))
        if self.expect(answer, 201, 204):
            self.bodies[name] = {digest}
            if was_absent:
                self.marks[name] = {ABSENT}

    def mark(self, client: KeptClient, name: str) -> None:
        if self.bodies[name] == {ABSENT}:
            return
        value = f"{self.name}-{self.rng.randrange(10**9)}"
        before = self.marks[name]
        self.marks[name] = before | {value}
        answer = client.request("PROPPATCH", self.path(name), marking(value), **self.condition(name))
        if self.expect(answer, 207):
            self.marks[name] = {value}

    def delete(self, client: KeptClient, name: str) -> None:
        if self.bodies[name] == {ABSENT}:
            return
        condition = self.condition(name)
        self.end(name)
        self.bodies[name] = self.bodies[name] | {ABSENT}
        if self.expect(client.request("DELETE", self.path(name), **condition), 204):
            self.bodies[name] = {ABSENT}
            self.marks[name] = {ABSENT}
            self.ending.clear()

    def end(self, name: str) -> None:
        if name in self.held:
            self.ending[name] = self.held.pop(name)

    def move(self, client: KeptClient, name: str) -> None:
        other = self.rng.choice(NAMES)
        if other == name or self.bodies[name] == {ABSENT}:
            return
        condition = self.condition(name, other)
        for each in (name, other):
            self.end(each)
        body, mark = self.bodies[name], self.marks[name]
        self.bodies[name] = body | {ABSENT}
        self.bodies[other] = self.bodies[other] | body
        # A kill between the rename and the commit leaves a mark behind; no other mark may ever appear.
        self.marks[other] = self.marks[other] | mark | {ABSENT}
        if self.expect(client.request("MOVE", self.path(name), destination=self.path(other), **condition), 201, 204):
            self.bodies[name], self.bodies[other] = {ABSENT}, body
            self.marks[name], self.marks[other] = {ABSENT}, mark
            self.ending.clear()

    def check(self, server: ServerProcess) -> None:
        """Find all that was answered, and settle what was under way."""
        assert self.faults == []
        client = server.kept(self.name)
        other = server.kept("bob" if self.name != "bob" else "alice")
        for name, token in self.ending.items():
            # Killed between the rename and the commit, a MOVE or DELETE leaves the lock without its document.
            assert client.unlock(self.path(name), token) in {204, 409}
        self.ending.clear()
        for name in NAMES:
            self.check_document(client, name)
            found = tokens(client, self.path(name))
            if name in self.held:
                assert found == {self.held[name]}, f"the lock on {name} is lost"
                assert other.request("PUT", self.path(name), b"stolen").status == 423
                assert other.lock(self.path(name)).status == 423
            else:
                for token in found:  # its grant, or its end, was under way
                    assert client.unlock(self.path(name), token) == 204
        client.close()
        other.close()

    def check_document(self, client: KeptClient, name: str) -> None:
        answer = client.request("GET", self.path(name))
        if answer.status == 404:
            assert ABSENT in self.bodies[name], f"{name} is lost"
            self.bodies[name], self.marks[name] = {ABSENT}, {ABSENT}
            return
        assert is_whole(answer.body), f"{name} is half written"
        digest = hashlib.sha256(answer.body).hexdigest()
        assert digest in self.bodies[name], f"{name} holds something else than was sent to it"
        self.bodies[name] = {digest}
        mark = mark_of(client, self.path(name))
        assert mark in self.marks[name], f"{name} has a property that it never had, or lost one"
        self.marks[name] = {mark}


def marking(value: str) -> bytes:
    return (
        f'<D:propertyupdate xmlns:D="DAV:" xmlns:s="urn:x-survival"><D:set><D:prop><s:mark>{value}</s:mark></D:prop>'
        "</D:set></D:propertyupdate>"
    ).encode()


def mark_of(client: KeptClient, path: str) -> str:
    body = b'<D:propfind xmlns:D="DAV:"><D:prop><s:mark xmlns:s="urn:x-survival"/></D:prop></D:propfind>'
    answer = client.request("PROPFIND", path, body, depth="0")
    assert answer.status == 207
    found = [item for item in ET.fromstring(answer.body).iter(f"{DAV}propstat") if "200" in (item[-1].text or "")]
    return "".join(item.findtext(f".//{MARK}") or "" for item in found)


def tokens(client: KeptClient, path: str) -> set[str]:
    """The tokens of the locks on a resource, as PROPFIND shows them to their creator."""
    body = b'<D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'
    answer = client.request("PROPFIND", path, body, depth="0")
    if answer.status == 404:
        return set()
    assert answer.status == 207
    return {href.text or "" for href in ET.fromstring(answer.body).iterfind(f".//{DAV}locktoken/{DAV}href")}


def leftovers(folder: Path) -> list[str]:
    """What lies in the served folder or in staging and is none of the documents."""
    found = [str(path) for path in folder.glob("*") if path.name not in {*PEOPLE, ".holdfast"}]
    found += [str(path) for person in PEOPLE for path in (folder / person).iterdir() if path.name not in NAMES]
    return found + [str(path) for path in (folder / ".holdfast" / "staging").glob("*/*")]


def staging_folders(folder: Path) -> int:
    return sum(path.is_dir() for path in (folder / ".holdfast" / "staging").iterdir())


def under_load(server: ServerProcess, people: Iterable[Person], requests: int, strike: Callable[[], object]) -> None:
    """Let everyone work; call `strike` once so many requests were answered, while others are under way.

    Each works until its connection is lost.
    """
    noted = threading.Semaphore(0)
    clients = [server.kept(person.name) for person in people]
    with ThreadPoolExecutor(len(clients)) as pool:
        working = [pool.submit(person.work, client, noted) for person, client in zip(people, clients, strict=True)]
        for _ in range(requests):
            assert noted.acquire(timeout=60)
        strike()
        for work in working:
            work.result(60)
    for client in clients:
        client.close()


def at_work(folder: Path, seed: int) -> list[Person]:
    """Three people, each with an empty collection."""
    rng = random.Random(seed)
    people = [Person(name, rng.randrange(10**9)) for name in PEOPLE]
    for person in people:
        (folder / person.name).mkdir(parents=True)
    return people


@pytest.mark.parametrize(
    ("durability", "workers", "rounds", "seed"), [("crash", 1, 10, 11), ("power", 1, 10, 12), ("power", 2, 5, 13)]
)
def test_what_was_answered_survives_kill_9_of_everything(
    tmp_path: Path, durability: str, workers: int, rounds: int, seed: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "served"
    people = at_work(folder, seed)
    flags = ("--durability", durability, "--workers", str(workers))
    for _ in range(rounds):
        with ServerProcess.start(folder, tmp_path / "log", *flags, users=PEOPLE) as server:
            for person in people:
                person.check(server)
            assert leftovers(folder) == []
            assert staging_folders(folder) == workers
            under_load(server, people, rng.randrange(20, 150), server.crash)
        assert all(event.holder in PEOPLE for event in events_of(server.state))
    with ServerProcess.start(folder, tmp_path / "log", *flags, users=PEOPLE) as server:
        for person in people:
            person.check(server)
        assert leftovers(folder) == []
        assert server.stop() == 0
    assert sum(person.answered for person in people) > 10 * rounds
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_killed_worker_is_replaced_and_nothing_answered_is_lost(tmp_path: Path) -> None:
    """Its staging folder goes with it, as soon as its successor starts."""
    rng = random.Random(14)
    folder = tmp_path / "served"
    people = at_work(folder, 14)
    with ServerProcess.start(folder, tmp_path / "log", "--workers", "2", users=PEOPLE) as server:
        for _ in range(2):  # a server gives up when workers keep ending soon after their start
            former = server.workers
            assert len(former) == 2

            def strike(victims: list[int] = former) -> None:
                # One by one: whose connection a worker has is the system's choice, so both go in the end.
                for victim in victims:
                    os.kill(victim, signal.SIGKILL)
                    wait_for_end(victim)

            under_load(server, people, rng.randrange(20, 60), strike)
            wait_until(lambda former=former: len(set(server.workers) - set(former)) == 2)
            for person in people:
                person.check(server)
            wait_until(lambda: staging_folders(folder) == 2)
            assert leftovers(folder) == []
        assert server.stop() == 0
    assert events_of(server.state)


def test_a_server_whose_workers_keep_dying_gives_up_and_says_so(tmp_path: Path) -> None:
    """Neither a busy loop of restarts nor an exit code of success."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ServerProcess.start(folder, tmp_path / "log", "--workers", "2", users=()) as server:
        killed: set[int] = set()
        while server.process.poll() is None:
            for victim in set(server.workers) - killed:
                killed.add(victim)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        assert server.stop() == 2
        assert len(killed) < 20
    assert "kept failing" in (tmp_path / "log").read_text()


def test_workers_end_with_their_parent_and_a_new_server_takes_over_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    people = at_work(folder, 15)
    with ServerProcess.start(folder, tmp_path / "log", "--workers", "2", users=PEOPLE) as server:
        orphans = server.workers

        def strike() -> None:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(30)

        under_load(server, people, 40, strike)
        with ServerProcess.start(folder, tmp_path / "log", users=PEOPLE) as successor:
            for person in people:
                person.check(successor)
            for orphan in orphans:
                wait_for_end(orphan)
            assert successor.stop() == 0
    with ServerProcess.start(folder, tmp_path / "log", users=PEOPLE) as server:
        assert staging_folders(folder) == 1
        assert leftovers(folder) == []
    assert events_of(server.state)


def begin_waiting(server: ServerProcess, name: str, **members: object) -> socket.socket:
    """Ask for a lock that somebody holds; returns once it stands in line."""
    server_line = in_line(server)
    client = socket.create_connection(server.address, timeout=30)
    body = json.dumps({"wait": 60, **members})
    head = f"POST /api/locks HTTP/1.1\r\nHost: x\r\nAuthorization: {server.client(name).authorization}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall((head + body).encode())
    wait_until(lambda: in_line(server) > server_line)
    return client


def in_line(server: ServerProcess) -> int:
    """How many wait, for whatever lock."""
    found = server.client().request("GET", "/api/locks")
    return sum(lock["queue_length"] for lock in json.loads(found.body)["locks"])


def acquire(server: ServerProcess, name: str, **members: object) -> Answer:
    body = json.dumps(members).encode()
    return server.client(name).request("POST", "/api/locks", body, {"Content-Type": "application/json"})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_kill_9_nobody_waits_for_those_whose_connections_ended_with_the_server(
    tmp_path: Path, workers: str
) -> None:
    """A place with an id is kept, since its client can come back for it."""
    folder = tmp_path / "served"
    folder.mkdir()
    flags = ("--workers", workers)
    with ServerProcess.start(folder, tmp_path / "log", *flags, users=PEOPLE) as server:
        held = [json.loads(acquire(server, "alice", resource=resource).body) for resource in ("/x", "/y")]
        lost = begin_waiting(server, "bob", resource="/x")
        named = begin_waiting(server, "bob", resource="/y", id="bob-comes-back")
        server.crash()
        lost.close()
        named.close()
    with ServerProcess.start(folder, tmp_path / "log", *flags, users=PEOPLE) as server:
        for lock in held:
            token = f"<{lock['token']}>"
            assert server.client("alice").request("DELETE", lock["url"], lock_token=token).status == 204
        assert acquire(server, "carol", resource="/x").status == 201
        assert acquire(server, "carol", resource="/y").status == 423
        assert acquire(server, "bob", resource="/y", id="bob-comes-back").status == 201
        assert server.stop() == 0


def test_a_lock_of_a_name_that_a_kill_left_properties_behind_for_makes_a_document_without_any(tmp_path: Path) -> None:
    """DELETE takes the document out and then commits: killed in between, it leaves the properties without their document."""
    with serving(tmp_path) as served:
        alice = served.as_("alice")
        for number, create in enumerate((alice.lock, alice.put)):
            path = f"/dav/{number}"
            assert alice.put(path).status == 201
            assert alice.request("PROPPATCH", path, marking("old")).status == 207
            (tmp_path / str(number)).unlink()
            assert create(path).status == 201
            assert b"old" not in alice.propfind(path).body
            assert b"mark" not in alice.propfind(path).body


def begin_upload(server: ServerProcess, path: str, body: bytes) -> socket.socket:
    """A PUT of which half has been sent, and taken by the server."""
    connection = socket.create_connection(server.address, timeout=30)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.client().authorization}\r\n"
    head += f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(body[: len(body) // 2])
    return connection


def begin_download(server: ServerProcess, path: str) -> http.client.HTTPResponse:
    """A GET of which nothing but the head has been read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(30)
    connection.connect(server.address)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.client().authorization}\r\n\r\n"
    connection.sendall(head.encode())
    response = http.client.HTTPResponse(connection)
    connection.close()  # the response keeps the socket open until it is read
    response.begin()
    return response


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_lets_uploads_and_downloads_end(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    large = random.Random(1).randbytes(20_000_000)
    (folder / "large").write_bytes(large)
    with ServerProcess.start(folder, tmp_path / "log", "--workers", workers) as server:
        uploads = [begin_upload(server, f"/dav/{number}", large) for number in range(2)]
        downloads = [begin_download(server, "/dav/large") for _ in range(2)]
        server.process.send_signal(signal.SIGTERM)
        for upload in uploads:
            upload.sendall(large[len(large) // 2 :])
        for upload in uploads:
            assert upload.recv(100).startswith(b"HTTP/1.1 201")
            upload.close()
        assert all(download.read() == large for download in downloads)
        assert server.stop() == 0
    assert all((folder / str(number)).read_bytes() == large for number in range(2))
    assert list((server.state / "staging").glob("*/*")) == []
    assert "Traceback" not in server.log.read_text()


def test_sigterm_ends_the_server_cleanly_though_clients_stand_still(tmp_path: Path) -> None:
    """What never arrived whole is not kept, and the end takes no longer than the time that is given to clients."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "old").write_text("old")
    with ServerProcess.start(folder, tmp_path / "log") as server:
        (folder / "large").write_bytes(bytes(20_000_000))
        stuck = [begin_upload(server, path, bytes(1_000_000)) for path in ("/dav/old", "/dav/new")]
        reader = begin_download(server, "/dav/large")
        assert server.stop() == 0
        for connection in stuck:
            connection.close()
        reader.close()
    assert (folder / "old").read_text() == "old"
    assert not (folder / "new").exists()
    assert list((server.state / "staging").glob("*/*")) == []
    assert "Traceback" not in server.log.read_text()
