"""What is measured of a lock server: throughput, refreshes, hand-over, a long line, many listeners.

Owns: the scripts of the clients and what is made of their clocks. Knows servers by their few methods only (`Server`). All
clients of one measurement run on one thread with one clock, so an instant of one can be taken from that of another.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.api.servers import POLL_S, Held, HoldfastApi
from benchmarks.api.talk import LISTEN, Answer, Connection, Script, TalkError, talk
from benchmarks.instances import processes_of

__all__ = [
    "Line",
    "Listeners",
    "Server",
    "greeted",
    "hand_over",
    "many_listeners",
    "pairs",
    "queue_up",
    "refreshes",
    "worker_of",
]

_WAIT_S = 240.0


class Server(Protocol):
    """A lock server under measurement."""

    def connect(self) -> Connection: ...
    def acquire(self, name: str, number: int, *, wait: float = 0.0) -> bytes: ...
    def held(self, name: str, number: int, answer: Answer) -> Held | None: ...
    def release(self, lock: Held) -> bytes: ...
    def refresh(self, locks: list[Held]) -> bytes: ...
    def memory_mib(self) -> float: ...
    def cpu_seconds(self) -> float: ...


def _answer(answer: Answer | None) -> Answer:
    assert answer is not None
    return answer


def pairs(server: Server, connections: int, seconds: float) -> float:
    """Locks acquired and released again a second, each connection on a resource of its own."""
    counts = [0] * connections
    until = time.perf_counter() + seconds

    def script(number: int) -> Script:
        name = f"pair-{number}"
        while time.perf_counter() < until:
            held = server.held(name, number, _answer((yield server.acquire(name, number))))
            if held is None:
                raise TalkError("refused, though nobody else wants it")
            yield server.release(held)
            counts[number] += 1

    begun = time.perf_counter()
    _run(server, [script(number) for number in range(connections)], seconds + 30)
    return sum(counts) / (time.perf_counter() - begun)


def refreshes(server: Server, connections: int, seconds: float, *, at_once: int = 1) -> float:
    """Locks refreshed a second: each connection refreshes `at_once` locks of its own in a call."""
    counts = [0] * connections
    begun: list[float] = []

    def script(number: int) -> Script:
        locks: list[Held] = []
        for each in range(at_once):
            name = f"refresh-{number}-{each}"
            held = server.held(name, number, _answer((yield server.acquire(name, number))))
            assert held is not None
            locks.append(held)
        begun.append(time.perf_counter())
        while time.perf_counter() < begun[0] + seconds:
            answer = _answer((yield server.refresh(locks)))
            if answer.status not in {200, ord(":")} or answer.body == b"0":
                raise TalkError(f"{answer.status}: {answer.body[:300].decode()}")
            counts[number] += at_once
        for lock in locks:
            yield server.release(lock)

    _run(server, [script(number) for number in range(connections)], seconds + 60)
    return sum(counts) / seconds


def hand_over(server: Server, ends: Sequence[Connection], rounds: int, *, waits: bool, seed: int = 1) -> list[float]:
    """Seconds from sending a release until the other one, who waited for it, has the lock; the two take turns.

    `waits`: a request waits at the server; else the client asks again every 100 ms.
    """
    found: list[float] = []
    dice = random.Random(seed)
    released_at = [0.0]
    holder = [-1]

    def script(number: int) -> Script:
        for _ in range(rounds):
            while holder[0] == number:
                yield 0.002
            held: Held | None = None
            while held is None:
                answer = _answer((yield server.acquire("hand-over", number, wait=_WAIT_S if waits else 0.0)))
                held = server.held("hand-over", number, answer)
                if held is None:
                    yield POLL_S
                elif released_at[0]:
                    found.append(answer.at - released_at[0])
            holder[0] = number
            # Long enough for the other one to wait, and at no fixed place in the pace of either side.
            yield dice.uniform(0.03, 0.06) if waits else dice.uniform(0.1, 0.2)
            released_at[0] = time.perf_counter()
            yield server.release(held)

    talk([(end, script(number)) for number, end in enumerate(ends)], 60 + rounds)
    for end in ends:
        end.close()
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """A line of waiters on one lock: what each costs with its connection, how long all took, and how they came to their turn."""

    waiters: int
    kib_each: float
    idle_cpu_share: float
    served_s: float
    hand_overs: tuple[float, ...]
    passed: int
    """How many were served after somebody who had come later."""


def queue_up(server: Server, waiters: int, *, waits: bool, idle_s: float = 3.0) -> Line:
    """So many ask for one lock that is held; it is released, and so does each when his turn comes."""
    first = server.connect()
    held = _first_lock(server, first)
    before = server.memory_mib()
    ends = [server.connect() for _ in range(waiters)]
    served: list[int] = []
    hand_overs: list[float] = []
    released_at = [0.0]
    marks: dict[str, float] = {"asked": 0}

    def waiter(number: int) -> Script:
        yield number * 0.002  # one after the other, so that it is clear who came first
        marks["asked"] += 1
        lock: Held | None = None
        answer = None
        while lock is None:
            answer = _answer((yield server.acquire("line", number, wait=_WAIT_S if waits else 0.0)))
            lock = server.held("line", number, answer)
            if lock is None:
                if waits:
                    raise TalkError(f"waiter {number} was refused: {answer.body[:300].decode()}")
                yield POLL_S
        hand_overs.append(_answer(answer).at - released_at[0])
        served.append(number)
        released_at[0] = time.perf_counter()
        yield server.release(lock)

    def holder() -> Script:
        while marks["asked"] < waiters:
            yield 0.01
        yield idle_s  # all stand in line now, and what their coming costs is over
        marks["memory"] = server.memory_mib()
        used = server.cpu_seconds()
        yield idle_s
        marks["idle"] = (server.cpu_seconds() - used) / idle_s
        released_at[0] = marks["released"] = time.perf_counter()
        yield server.release(held)

    talk([(first, holder()), *((end, waiter(number)) for number, end in enumerate(ends))], 400)
    served_s = time.perf_counter() - marks["released"]
    for end in (first, *ends):
        end.close()
    return Line(
        waiters=waiters,
        kib_each=(marks["memory"] - before) * 1024 / waiters,
        idle_cpu_share=marks["idle"],
        served_s=served_s,
        hand_overs=tuple(hand_overs),
        passed=sum(number < max(served[:place], default=-1) for place, number in enumerate(served)),
    )


def _first_lock(server: Server, end: Connection) -> Held:
    found: list[Held | None] = []

    def script() -> Script:
        found.append(server.held("line", -1, _answer((yield server.acquire("line", -1)))))

    talk([(end, script())], 30)
    assert found[0] is not None
    return found[0]


@dataclass(frozen=True, slots=True)
class Listeners:
    """Readers of the stream of events: what each costs with its connection, and seconds from asking for a lock until they are told."""

    readers: int
    kib_each: float
    idle_cpu_share: float
    granted: tuple[float, ...]
    first: tuple[float, ...]
    last: tuple[float, ...]


def many_listeners(server: HoldfastApi, readers: int, rounds: int, *, idle_s: float = 3.0) -> Listeners:
    """So many read the stream while one lock is acquired and released again and again."""
    driving = greeted(server)
    before = server.memory_mib()
    ends = [server.connect() for _ in range(readers)]
    times: list[list[float]] = [[] for _ in range(2 * rounds)]
    marks: dict[str, float] = {"open": 0}
    asked: list[float] = []
    granted: list[float] = []

    def reader() -> Script:
        begun = _answer((yield server.listen()))
        if begun.status != 200:
            raise TalkError(f"{begun.status}: {begun.body[:300].decode()}")
        marks["open"] += 1
        for number in range(2 * rounds):
            times[number].append(_answer((yield LISTEN)).at)

    def driver() -> Script:
        while marks["open"] < readers:
            yield 0.01
        yield idle_s
        marks["memory"] = server.memory_mib()
        used = server.cpu_seconds()
        yield idle_s
        marks["idle"] = (server.cpu_seconds() - used) / idle_s
        for number in range(rounds):
            asked.append(time.perf_counter())
            answer = _answer((yield server.acquire("heard", number)))
            granted.append(answer.at - asked[-1])
            held = server.held("heard", number, answer)
            assert held is not None
            while len(times[2 * number]) < readers:
                yield 0.005
            yield server.release(held)
            while len(times[2 * number + 1]) < readers:
                yield 0.005
            yield 0.05

    talk([(driving, driver()), *((end, reader()) for end in ends)], 300)
    for end in (driving, *ends):
        end.close()
    heard = times[::2]
    return Listeners(
        readers=readers,
        kib_each=(marks["memory"] - before) * 1024 / readers,
        idle_cpu_share=marks["idle"],
        granted=tuple(granted),
        first=tuple(min(each) - at for each, at in zip(heard, asked, strict=True)),
        last=tuple(max(each) - at for each, at in zip(heard, asked, strict=True)),
    )


def greeted(server: Server) -> Connection:
    """A connection that the server has answered on, so that it is known which of its processes has it."""
    end = server.connect()

    def script() -> Script:
        held = server.held("greeting", 0, _answer((yield server.acquire("greeting", 0))))
        assert held is not None
        yield server.release(held)

    talk([(end, script())], 30)
    return end


def worker_of(session: int, end: Connection) -> int:
    """The process that serves a connection: the one that has the socket of its other side open."""
    port = end.socket.getsockname()[1]
    wanted = ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(f":{port:04X}") and fields[1].endswith(f":{end.socket.getpeername()[1]:04X}"):
            wanted = f"socket:[{fields[9]}]"
    for process in processes_of(session):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) == wanted:
                    return process
    raise TalkError("nobody serves this connection")


def _run(server: Server, scripts: list[Script], seconds: float) -> None:
    """Each script on a connection of its own, which is closed at the end."""
    ends = [server.connect() for _ in scripts]
    try:
        talk(zip(ends, scripts, strict=True), seconds)
    finally:
        for end in ends:
            end.close()
