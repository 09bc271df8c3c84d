"""Many connections on one thread: each is driven by a script, a generator that yields what to do next.

Owns: sockets, the framing of HTTP/1.1 and of Redis' protocol, and the time of each answer. Knows no server and no
measurement. A script yields octets to send, and is resumed with the answer; or LISTEN, for one more answer without a
request; or seconds to pause. What is sent is sent whole at once: requests here are small.

The thread costs some 15 microseconds a request, so it is no match for a server that takes less.
"""

from __future__ import annotations

import heapq
import itertools
import re
import select
import socket
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

__all__ = ["LISTEN", "Answer", "Connection", "Listen", "Script", "TalkError", "frame_http", "frame_redis", "talk"]


class TalkError(Exception):
    """A server hung up, or did not answer in time."""


class Listen:
    """The wish for one more answer."""


LISTEN = Listen()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or one event of a stream: its status (0 for an event), its body, and when it was read (seconds)."""

    status: int
    body: bytes
    at: float


Script = Generator[bytes | Listen | float, Answer | None, None]
Frame = Callable[["Connection"], tuple[int, bytes] | None]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Connection:
    """A kept connection to a port of the loopback. `stream` is true within an answer that has no end."""

    def __init__(self, port: int, frame: Frame) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.decoded = bytearray()
        self.stream = False
        self.frame = frame
        self.script: Script | None = None

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def frame_http(connection: Connection) -> tuple[int, bytes] | None:
    """The next whole answer in the buffer, or the next event of a stream that has begun; an event's status is 0."""
    if connection.stream:
        return _event(connection)
    buffer = connection.buffer
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    status = int(head[9:12])
    if _CHUNKED.search(head):
        del buffer[: end + 4]
        connection.stream = True
        return status, b""
    found = _LENGTH.search(head)
    size = end + 4 + (int(found[1]) if found else 0)
    if len(buffer) < size:
        return None
    body = bytes(buffer[end + 4 : size])
    del buffer[:size]
    return status, body


def _event(connection: Connection) -> tuple[int, bytes] | None:
    buffer, decoded = connection.buffer, connection.decoded
    while (line := buffer.find(b"\r\n")) >= 0:
        size = int(bytes(buffer[:line]), 16)
        if len(buffer) < line + size + 4:
            break
        decoded += buffer[line + 2 : line + 2 + size]
        del buffer[: line + size + 4]
    while (end := decoded.find(b"\n\n")) >= 0:
        event = bytes(decoded[:end])
        del decoded[: end + 2]
        if b"data:" in event:  # else a comment that keeps the connection alive, or a pace to come back in
            return 0, event
    return None


def frame_redis(connection: Connection) -> tuple[int, bytes] | None:
    """The next reply: its first octet as the status, and its text; a null's text is empty."""
    buffer = connection.buffer
    line = buffer.find(b"\r\n")
    if line < 0:
        return None
    kind, text = buffer[0], bytes(buffer[1:line])
    size = line + 2
    if kind == ord("$") and text != b"-1":
        size += int(text) + 2
        if len(buffer) < size:
            return None
        text = bytes(buffer[line + 2 : size - 2])
    del buffer[:size]
    return kind, b"" if text == b"-1" else text


class _Loop:
    def __init__(self) -> None:
        self.poll = select.epoll()
        self.by_number: dict[int, Connection] = {}
        self.pauses: list[tuple[float, int, Connection]] = []
        self.numbers = itertools.count()
        self.open = 0

    def begin(self, connection: Connection, script: Script) -> None:
        connection.script = script
        connection.socket.setblocking(False)
        self.by_number[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, select.EPOLLIN)
        self.open += 1
        self.step(connection, None)

    def step(self, connection: Connection, answer: Answer | None) -> None:
        """Give the script what came, and do what it wants, until it has to wait."""
        script = connection.script
        while script is not None:
            try:
                wanted = script.send(answer)
            except StopIteration:
                connection.script = script = None
                self.open -= 1
                return
            if isinstance(wanted, float):
                heapq.heappush(self.pauses, (time.perf_counter() + wanted, next(self.numbers), connection))
                return
            if isinstance(wanted, bytes):
                connection.socket.send(wanted)
            framed = connection.frame(connection)
            if framed is None:
                return
            answer = Answer(*framed, time.perf_counter())

    def turn(self, patience: float) -> None:
        """Wait for the next thing to happen, and see to all that has."""
        now = time.perf_counter()
        while self.pauses and self.pauses[0][0] <= now:
            self.step(heapq.heappop(self.pauses)[2], None)
        if not self.open:
            return
        if self.pauses:
            patience = min(patience, max(0.0, self.pauses[0][0] - now))
        for number, _ in self.poll.poll(patience):
            connection = self.by_number[number]
            data = connection.socket.recv(65536)
            at = time.perf_counter()
            if not data:
                raise TalkError("the server hung up")
            connection.buffer += data
            if connection.script is not None:
                framed = connection.frame(connection)
                if framed is not None:
                    self.step(connection, Answer(*framed, at))


def talk(scripts: Iterable[tuple[Connection, Script]], seconds: float) -> None:
    """Run scripts until all have ended. Raises TalkError when that takes longer than so many seconds.

    Connections stay open; what comes for one whose script has ended is kept for its next.
    """
    loop = _Loop()
    try:
        until = time.perf_counter() + seconds
        for connection, script in scripts:
            loop.begin(connection, script)
        while loop.open:
            left = until - time.perf_counter()
            if left <= 0:
                raise TalkError(f"{loop.open} conversations did not end in {seconds:g} s")
            loop.turn(left)
    finally:
        loop.poll.close()
